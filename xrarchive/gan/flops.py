"""FLOPs and memory of a training step, counted on the shapes of the real networks.

Networks come from torch's meta device, which knows shapes and holds no numbers. FLOPs are those of
`torch.utils.flop_counter`: two for each multiplication of a convolution, a dense layer or the folding of a kernel, none
for anything elementwise. Called by `xrarchive.gan.cost`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from xrarchive.gan.layers import DownsampleConv2d, EqualConv2d, EqualLinear, UpsampleConv2d
from xrarchive.gan.networks import Discriminator, Generator, level_of
from xrarchive.gan.settings import BASE_PX, GeneratorSettings

FLOAT_BYTES = 4
# Folding a 3x3 kernel into 4x4 multiplies its nine taps with a 16x9 matrix.
_FOLD_FLOPS = 2 * 16 * 9
_FOLD_GROWTH = 16 / 9
# Results of a backward pass beside what its graph keeps: gradients in and out, and one of them in another layout.
_WORKING_COPIES = 3

Role = Literal["entry", "body", "last"]


@dataclass(frozen=True)
class Networks:
    """Both networks on the meta device."""

    generator: Generator
    discriminator: Discriminator


@dataclass(frozen=True)
class LayerCost:
    """One layer at work.

    Attributes:
        flops: Of one pass of one image, the same forward, to its input and to its weight.
        outputs: Numbers it gives for one image.
        fold_flops: Of making its kernel once.
        parameters: Weights and biases.
        role: `entry` takes pixels or latents, `last` gives the score.
    """

    flops: int
    outputs: int
    fold_flops: int
    parameters: int
    role: Role


def meta_networks(settings: GeneratorSettings) -> Networks:
    """The networks of `settings` without memory, whatever their size."""
    with torch.device("meta"):
        return Networks(Generator(settings), Discriminator(settings))


def count_parameters(network: nn.Module) -> int:
    """Weights and biases."""
    return sum(parameter.numel() for parameter in network.parameters())


def generator_layers(generator: Generator, px: int, *, fading: bool) -> list[LayerCost]:
    """The layers that take part at `px`, in order."""
    level = level_of(px)
    found = [_dense(generator.dense, "entry"), _conv(generator.conv, BASE_PX, "body")]
    for block, side in zip(generator.blocks, _sides(level), strict=False):
        found += [_conv(block.first, side, "body"), _conv(block.second, side, "body")]  # type: ignore[arg-type]
    images = [(level, px)] + ([(level - 1, px // 2)] if fading and level else [])
    return found + [_conv(generator.to_image[at], side, "body") for at, side in images]  # type: ignore[arg-type]


def discriminator_layers(discriminator: Discriminator, px: int, *, fading: bool) -> list[LayerCost]:
    """The layers that take part at `px`: those that take pixels first, the smallest blocks next."""
    level = level_of(px)
    images = [(level, px)] + ([(level - 1, px // 2)] if fading and level else [])
    found = [_conv(discriminator.from_image[at], side, "entry") for at, side in images]  # type: ignore[arg-type]
    for block, side in zip(discriminator.blocks, _sides(level), strict=False):
        found += [_conv(block.first, side, "body"), _conv(block.second, side // 2, "body")]  # type: ignore[arg-type]
    head = [_conv(discriminator.conv, BASE_PX, "body"), _dense(discriminator.dense, "body")]
    return [*found, *head, _dense(discriminator.score, "last")]


def step_flops(networks: Networks, px: int, batch: int, *, fading: bool, penalty: bool) -> int:
    """FLOPs of one `train_step` of `batch` images at `px`, with or without a gradient penalty."""
    made = generator_layers(networks.generator, px, fading=fading)
    judged = discriminator_layers(networks.discriminator, px, fading=fading)
    generator, latents = _sum(made), _sum(made, "entry")
    critic, pixels = _sum(judged), _sum(judged, "entry")
    total = batch * (3 * generator - latents)  # forward, to weights, to inputs; latents want no gradient
    total += 2 * batch * (3 * critic - pixels)  # real and generated images, neither of which wants a gradient
    total += 2 * batch * critic  # the generator's way through: forward, to inputs
    if penalty:  # forward, to pixels, and the way back of both: of the second to weights and gradients, of the first to
        # weights and features, but for the score, which is linear
        total += batch * (6 * critic - 3 * _sum(judged, "last"))
    folds = _all_folds(networks.generator) + 2 * _all_folds(networks.discriminator)
    return total + folds + sum(layer.fold_flops for layer in (*made, *judged))


def memory_bytes(networks: Networks, px: int, batch: int, dtype: torch.dtype) -> int:
    """Weights, moments, averages, gradients, kernels, and activations of a step with a gradient penalty."""
    made = generator_layers(networks.generator, px, fading=False)
    judged = discriminator_layers(networks.discriminator, px, fading=False)
    generator, discriminator = count_parameters(networks.generator), count_parameters(networks.discriminator)
    kept = FLOAT_BYTES * (5 * generator + 4 * discriminator)
    kernels = int(dtype.itemsize * _FOLD_GROWTH * (generator + discriminator))
    # Of the discriminator: real and generated images, and where the penalty is taken features and their gradients.
    graph = sum(layer.outputs for layer in made) + (2 + 2) * sum(layer.outputs for layer in judged)
    working = _WORKING_COPIES * 2 * max(layer.outputs for layer in (*made, *judged))
    return kept + kernels + dtype.itemsize * batch * (graph + working)


def gradient_bytes(networks: Networks, px: int, *, fading: bool) -> int:
    """Gradients of both networks in a step at `px`, which devices exchange."""
    layers = generator_layers(networks.generator, px, fading=fading)
    layers += discriminator_layers(networks.discriminator, px, fading=fading)
    return FLOAT_BYTES * sum(layer.parameters for layer in layers)


def _sides(level: int) -> list[int]:
    """Larger side of each block, smallest block first."""
    return [BASE_PX << (index + 1) for index in range(level)]


def _conv(layer: EqualConv2d, side: int, role: Role) -> LayerCost:
    """A convolution whose output has this side."""
    outputs, inputs, kernel, _ = layer.weight.shape
    folded = isinstance(layer, UpsampleConv2d | DownsampleConv2d)
    taps = 16 if folded else kernel * kernel
    # A transposed convolution multiplies at every place of its input, which has half the side.
    places = (side // 2) ** 2 if isinstance(layer, UpsampleConv2d) else side * side
    return LayerCost(
        flops=2 * places * taps * inputs * outputs,
        outputs=outputs * side * side,
        fold_flops=_FOLD_FLOPS * inputs * outputs if folded else 0,
        parameters=count_parameters(layer),
        role=role,
    )


def _dense(layer: EqualLinear, role: Role) -> LayerCost:
    outputs = len(layer.weight)
    return LayerCost(2 * math.prod(layer.weight.shape), outputs, 0, count_parameters(layer), role)


def _sum(layers: list[LayerCost], role: Role | None = None) -> int:
    return sum(layer.flops for layer in layers if role in (None, layer.role))


def _all_folds(network: nn.Module) -> int:
    """Kernels of all blocks are made for each update, of those above the stage, too."""
    folded = [layer for layer in network.modules() if isinstance(layer, UpsampleConv2d | DownsampleConv2d)]
    return sum(_FOLD_FLOPS * math.prod(layer.weight.shape[:2]) for layer in folded)
