"""Generators trained by other people's code, turned into snapshots of ours.

In: a checkpoint (a pickle) of BradSegal/CXR_PGGAN, facebookresearch/pytorch_GAN_zoo or pro-gan-pth. Out: a snapshot
that gives the same images. In the order a file goes through:

    child.py       the only code that opens a pickle, in a process of its own that can do little else
    pickles.py     starts that process and takes its tensors
    layouts.py     their names and scaling -> each layer's weights as the operation takes them
    adopting.py    those -> our layers, settings that fit, a snapshot
"""
