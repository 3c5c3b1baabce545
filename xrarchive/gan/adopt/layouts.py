"""Where other code keeps the layers of a generator, and how it scales them.

In: tensors by their names there. Out: a `PlainGenerator`, each layer with the weight and bias that the operation
takes, nothing scaled at run time. Every layout was read off the code it names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from xrarchive.errors import InputDataError
from xrarchive.gan.settings import BASE_PX

Kind = Literal["segal2020", "gan-zoo", "pro-gan-pth"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names and scaling of one code's generator. `{}` in a name stands for the level, from 0.

    Attributes:
        dense: From the latent to 4 px.
        conv: The convolution at 4 px.
        first: The first convolution of a block; block 0 works at 8 px.
        second: The second one.
        first_block: Number of the block at 8 px.
        image: From features to an image; level 0 works at 4 px.
        scales_bias: Whether He's constant multiplies the bias too, as it does where it is applied to the result.
        transposed: Whether the dense layer is a transposed 4x4 convolution of a 1x1 image, with a bias per channel.
        dense_norm: Whether its features are pixel-normalised.
        black: What black is in its images, white being 1.
        equalised: The entry that says whether He's constant is applied at run time.
        expected: Entries that decide what the layers compute, and the values for which ours compute the same.
    """

    dense: str
    conv: str
    first: str
    second: str
    first_block: int
    image: str
    scales_bias: bool
    transposed: bool
    dense_norm: bool
    black: float
    equalised: str
    expected: Mapping[str, tuple[object, ...]]


# In tensors' names `.module` is left out: wrappers put it in, older versions do without.
LAYOUTS: Mapping[Kind, Layout] = MappingProxyType(
    {
        # BradSegal/CXR_PGGAN, PGGAN/network.py and custom_layers.py; its images are those of ToTensor.
        "segal2020": Layout(
            dense="latent_linear.0",
            conv="init_conv.0",
            first="ScaleBlocks.{}.convolv.0",
            second="ScaleBlocks.{}.convolv.3",
            first_block=0,
            image="toRGB.{}",
            scales_bias=True,
            transposed=False,
            dense_norm=False,
            black=0.0,
            equalised="equalize",
            expected={"leakiness": (0.2,), "norm_layers": (True,), "mode": ("nearest",)},
        ),
        # facebookresearch/pytorch_GAN_zoo, models/networks/progressive_conv_net.py. MSE and DCGAN end in a tanh.
        "gan-zoo": Layout(
            dense="formatLayer",
            conv="groupScale0.0",
            first="scaleLayers.{}.0",
            second="scaleLayers.{}.1",
            first_block=0,
            image="toRGBLayers.{}",
            scales_bias=True,
            transposed=False,
            dense_norm=True,
            black=-1.0,
            equalised="equalizedlR",
            expected={
                "leakyReluLeak": (0.2,),
                "perChannelNormalization": (True,),
                "lossCriterion": ("WGANGP", "Logistic"),
                "categoryVectorDim": (0,),
            },
        ),
        # pro-gan-pth 3.4, networks.py, modules.py and custom_layers.py.
        "pro-gan-pth": Layout(
            dense="layers.0.conv_1",
            conv="layers.0.conv_2",
            first="layers.{}.conv_1",
            second="layers.{}.conv_2",
            first_block=1,
            image="rgb_converters.{}",
            scales_bias=False,
            transposed=True,
            dense_norm=False,
            black=-1.0,
            equalised="use_eql",
            expected={},
        ),
    }
)


@dataclass(frozen=True)
class PlainLayer:
    """A layer as the operation takes it.

    Attributes:
        weight: float64 [O, I] or [O, I, k, k].
        bias: float64 [O].
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class PlainGenerator:
    """The layers of a generator, in the order the data flows.

    Attributes:
        dense: [16 W, Z]: channel by channel, row by row.
        conv: [W, W, 3, 3], at 4 px.
        blocks: Two 3x3 convolutions for each resolution from 8 px.
        to_image: A 1x1 convolution for each resolution from 4 px.
    """

    dense: PlainLayer
    conv: PlainLayer
    blocks: list[tuple[PlainLayer, PlainLayer]]
    to_image: list[PlainLayer]

    @property
    def widths(self) -> list[int]:
        """Channels at 4, 8, 16 ... px."""
        return [self.conv.weight.shape[0], *(second.weight.shape[0] for _, second in self.blocks)]


def read_generator(tensors: Mapping[str, Tensor], layout: Layout, *, equalised: bool, path: Path) -> PlainGenerator:
    """The layers among `tensors`, which must be all there is.

    Args:
        tensors: float32, by their names in the checkpoint.
        layout: Where to find them.
        equalised: Whether He's constant is applied at run time.
        path: The checkpoint, for messages.

    Raises:
        InputDataError: Naming the first tensor that is missing, left over or of another shape.
    """
    waiting = {re.sub(r"(^|\.)module\.", r"\1", name): tensor for name, tensor in tensors.items()}

    def take(name: str, *shape: int | None) -> PlainLayer:
        weight, bias = (waiting.pop(f"{name}.{part}", None) for part in ("weight", "bias"))
        if weight is None or bias is None:
            raise _misfit(path, f"expected the tensors {name}.weight and {name}.bias, found one or none of them")
        if len(weight.shape) != len(shape) or any(b not in (None, a) for a, b in zip(weight.shape, shape, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise _misfit(path, f"expected {name}.weight as [{wanted}], found {list(weight.shape)}")
        channels = weight.shape[1] if name == layout.dense and layout.transposed else weight.shape[0]
        if bias.shape != (channels,):
            raise _misfit(path, f"expected {name}.bias as [{channels}], found {list(bias.shape)}")
        return PlainLayer(weight.double(), bias.double())

    def scaled(layer: PlainLayer) -> PlainLayer:
        constant = math.sqrt(2 / layer.weight[0].numel()) if equalised else 1.0
        return PlainLayer(layer.weight * constant, layer.bias * (constant if layout.scales_bias else 1.0))

    levels = sum(f"{layout.image.format(level)}.weight" in waiting for level in range(len(waiting)))
    dense = take(layout.dense, None, None, BASE_PX, BASE_PX) if layout.transposed else take(layout.dense, None, None)
    dense = _untransposed(dense) if layout.transposed else dense
    width = dense.weight.shape[0] // BASE_PX**2
    conv = take(layout.conv, width, width, 3, 3)
    blocks, to_image = [], [take(layout.image.format(0), None, width, 1, 1)]
    for level in range(1, levels):
        number = level - 1 + layout.first_block
        first = take(layout.first.format(number), None, width, 3, 3)
        width = first.weight.shape[0]
        blocks.append((scaled(first), scaled(take(layout.second.format(number), width, width, 3, 3))))
        to_image.append(take(layout.image.format(level), to_image[0].weight.shape[0], width, 1, 1))
    if waiting:
        raise _misfit(path, f"found {len(waiting)} tensors too many, the first of them {min(waiting)}")
    return PlainGenerator(scaled(dense), scaled(conv), blocks, [scaled(layer) for layer in to_image])


def trained_part(plain: PlainGenerator) -> PlainGenerator:
    """Without the resolutions that training never reached: all their biases are still exactly 0.

    pro-gan-pth makes every resolution at the start and does not write down how far it grew. Weights without any bias
    at all are left whole: nothing can be told of them.
    """
    reached = [bool(plain.conv.bias.any() or plain.dense.bias.any())]
    for (first, second), image in zip(plain.blocks, plain.to_image[1:], strict=True):
        reached.append(any(bool(layer.bias.any()) for layer in (first, second, image)))
    count = max((level for level, found in enumerate(reached) if found), default=len(reached) - 1)
    return PlainGenerator(plain.dense, plain.conv, plain.blocks[:count], plain.to_image[: count + 1])


def _untransposed(layer: PlainLayer) -> PlainLayer:
    """[Z, W, 4, 4] and [W] -> [16 W, Z] and [16 W]: a transposed convolution of one pixel is a dense layer."""
    weight = layer.weight.permute(1, 2, 3, 0).reshape(-1, layer.weight.shape[0])
    return PlainLayer(weight, torch.repeat_interleave(layer.bias, BASE_PX**2))


def _misfit(path: Path, difference: str) -> InputDataError:
    return InputDataError(
        f"{path} does not hold the generator that --kind promises: {difference}.",
        fix="Check --kind; only the unchanged networks of that code can be imported.",
        path=path,
    )
