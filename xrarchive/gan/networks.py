"""Generator and discriminator of Karras et al. 2018, table 2: mirror images that grow from 4 px.

Both hold the blocks of every resolution from the start; `px` and `alpha` say how much of them takes part.
Images are float [N, 1, H, W], nominally in [-1, 1]; latents float [N, Z], of which only the direction matters.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xrarchive.gan.layers import (
    LEAK,
    DownsampleConv2d,
    EqualConv2d,
    EqualLinear,
    UpsampleConv2d,
    minibatch_stddev,
    pixel_norm,
)
from xrarchive.gan.settings import BASE_PX, GeneratorSettings


def level_of(px: int) -> int:
    """Block index of a resolution: 4 px -> 0, 8 px -> 1, ..."""
    return int(math.log2(px // BASE_PX))


def _widths(settings: GeneratorSettings) -> list[int]:
    return [settings.width(BASE_PX << level) for level in range(level_of(settings.resolution) + 1)]


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAK)


class GeneratorBlock(nn.Module):
    """Two 3x3 convolutions with pixel norm; the first one doubles the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = UpsampleConv2d(inputs, outputs, 3)
        self.second = EqualConv2d(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, 2H, 2W]."""
        x = pixel_norm(_activate(self.first(x)))
        return pixel_norm(_activate(self.second(x)))


class Generator(nn.Module):
    """Latents to images."""

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        widths = _widths(settings)
        self.settings = settings
        # The published gain: sqrt(2) / 4 makes the dense layer match the official initialisation.
        self.dense = EqualLinear(settings.latent_size, widths[0] * BASE_PX**2, gain=math.sqrt(2) / 4)
        self.conv = EqualConv2d(widths[0], widths[0], 3)
        self.blocks = nn.ModuleList(GeneratorBlock(a, b) for a, b in itertools.pairwise(widths))
        self.to_image = nn.ModuleList(EqualConv2d(width, 1, 1, gain=1) for width in widths)

    def forward(self, latents: Tensor, px: int | None = None, alpha: float = 1.0) -> Tensor:
        """[N, Z] -> float32 [N, 1, px, px]; `alpha` < 1 fades the last block in over the one below."""
        level = level_of(px or self.settings.resolution)
        x = self.dense(pixel_norm(latents)).view(len(latents), -1, BASE_PX, BASE_PX)
        x = x.contiguous(memory_format=torch.channels_last)
        x = pixel_norm(_activate(self.conv(pixel_norm(_activate(x)))))
        below = x
        for block in self.blocks[:level]:
            below, x = x, block(x)
        image: Tensor = self.to_image[level](x).float()
        if alpha < 1 and level:
            coarse = F.interpolate(self.to_image[level - 1](below).float(), scale_factor=2, mode="nearest")
            image = torch.lerp(coarse, image, alpha)
        return image


class DiscriminatorBlock(nn.Module):
    """Two 3x3 convolutions; the second one halves the resolution by averaging, before its activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv2d(inputs, inputs, 3)
        self.second = DownsampleConv2d(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H/2, W/2]."""
        return _activate(self.second(_activate(self.first(x))))


class Discriminator(nn.Module):
    """Images to one unbounded score each, higher = taken for a radiograph."""

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        widths = _widths(settings)
        self.settings = settings
        self.from_image = nn.ModuleList(EqualConv2d(1, width, 1) for width in widths)
        self.blocks = nn.ModuleList(DiscriminatorBlock(b, a) for a, b in itertools.pairwise(widths))
        self.conv = EqualConv2d(widths[0] + 1, widths[0], 3)
        self.dense = EqualLinear(widths[0] * BASE_PX**2, widths[0])
        self.score = EqualLinear(widths[0], 1, gain=1)

    def forward(self, images: Tensor, alpha: float = 1.0) -> Tensor:
        """Float [N, 1, px, px] -> float32 [N]; the resolution is read off the images."""
        level = level_of(images.shape[-1])
        x = _activate(self.from_image[level](images))
        for depth in range(level, 0, -1):
            x = self.blocks[depth - 1](x)
            if depth == level and alpha < 1:
                x = torch.lerp(_activate(self.from_image[level - 1](F.avg_pool2d(images, 2))).to(x.dtype), x, alpha)
        x = _activate(self.conv(minibatch_stddev(x, self.settings.group)))
        x = _activate(self.dense(x.flatten(1)))
        score: Tensor = self.score(x)
        return score.float().squeeze(1)
