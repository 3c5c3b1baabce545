"""PGGAN's forward pass written down from Karras et al. 2018 and the official code, slowly and without our layers.

Weights come as a state dict of ours (its names are all that is shared); everything is float64, each operation on its
own: upsample, then convolve; convolve, then average, then activate (the order of the official fused layers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def leaky(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, 0.2 * x)


def upsample(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def halve(x: Tensor) -> Tensor:
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def pixel_norm(x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    for index in range(len(x)):
        out[index] = x[index] / ((x[index] ** 2).sum(dim=0) / x.shape[1] + 1e-8) ** 0.5
    return out


def scaled(weight: Tensor, gain: float = math.sqrt(2)) -> Tensor:
    """He's scaling at run time: gain / sqrt(fan-in)."""
    fan_in = math.prod(weight.shape[1:])
    return weight.double() * gain / math.sqrt(fan_in)


def convolve(x: Tensor, state: State, name: str, gain: float = math.sqrt(2)) -> Tensor:
    weight = scaled(state[f"{name}.weight"], gain)
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2) + state[f"{name}.bias"].double()[:, None, None]


def dense(x: Tensor, state: State, name: str, gain: float = math.sqrt(2)) -> Tensor:
    return x @ scaled(state[f"{name}.weight"], gain).T + state[f"{name}.bias"].double()


def minibatch_stddev(x: Tensor, group: int) -> Tensor:
    count, channels, height, width = x.shape
    planes = torch.empty(count, 1, height, width, dtype=x.dtype)
    for first in range(0, count, group):
        total = 0.0
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    values = [float(x[n, c, i, j]) for n in range(first, first + group)]
                    mean = sum(values) / group
                    total += math.sqrt(sum((value - mean) ** 2 for value in values) / group + 1e-8)
        planes[first : first + group] = total / (channels * height * width)
    return torch.cat([x, planes], dim=1)


def generate(state: State, latents: Tensor, px: int, alpha: float) -> Tensor:
    x = dense(pixel_norm(latents.double()), state, "dense", math.sqrt(2) / 4)
    x = pixel_norm(leaky(x.reshape(len(latents), -1, 4, 4)))
    x = pixel_norm(leaky(convolve(x, state, "conv")))
    level, size, below = 0, 4, x
    while size < px:
        below = x
        x = pixel_norm(leaky(convolve(upsample(x), state, f"blocks.{level}.first")))
        x = pixel_norm(leaky(convolve(x, state, f"blocks.{level}.second")))
        level, size = level + 1, size * 2
    image = convolve(x, state, f"to_image.{level}", 1.0)
    if level == 0:
        return image
    return alpha * image + (1 - alpha) * upsample(convolve(below, state, f"to_image.{level - 1}", 1.0))


def discriminate(state: State, images: Tensor, alpha: float, group: int) -> Tensor:
    images = images.double()
    level = int(math.log2(images.shape[-1])) - 2
    x = leaky(convolve(images, state, f"from_image.{level}"))
    for depth in range(level, 0, -1):
        x = leaky(convolve(x, state, f"blocks.{depth - 1}.first"))
        x = leaky(halve(convolve(x, state, f"blocks.{depth - 1}.second")))
        if depth == level:
            x = alpha * x + (1 - alpha) * leaky(convolve(halve(images), state, f"from_image.{level - 1}"))
    x = leaky(convolve(minibatch_stddev(x, group), state, "conv"))
    x = leaky(dense(x.reshape(len(x), -1), state, "dense"))
    return dense(x, state, "score", 1.0)[:, 0]
