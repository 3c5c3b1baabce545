"""Generator and discriminator of Karras et al. 2018, table 2: mirror images that grow from 4 px.

Both hold the blocks of every resolution from the start; `px` and `alpha` say how much of them takes part.
Images are float [N, C, H, W], nominally in [-1, 1]; latents float [N, Z], of which only the direction matters. Both
compute in the `dtype` they are called with, float32 or bfloat16, and answer in float32.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xrarchive.gan.layers import (
    DownsampleConv2d,
    EqualConv2d,
    EqualLinear,
    UpsampleConv2d,
    leaky_pixel_norm,
    leaky_relu,
    minibatch_stddev,
    pixel_norm,
)
from xrarchive.gan.settings import BASE_PX, GeneratorSettings


def level_of(px: int) -> int:
    """Block index of a resolution: 4 px -> 0, 8 px -> 1, ..."""
    return int(math.log2(px // BASE_PX))


def _widths(settings: GeneratorSettings) -> list[int]:
    return [settings.width(BASE_PX << level) for level in range(level_of(settings.resolution) + 1)]


class GeneratorBlock(nn.Module):
    """Two 3x3 convolutions with pixel norm; the first one doubles the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = UpsampleConv2d(inputs, outputs, 3)
        self.second = EqualConv2d(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, 2H, 2W]."""
        x = leaky_pixel_norm(self.first(x))
        return leaky_pixel_norm(self.second(x))


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
        self.to_image = nn.ModuleList(EqualConv2d(width, settings.channels, 1, gain=1) for width in widths)

    def forward(
        self, latents: Tensor, px: int | None = None, alpha: float = 1.0, *, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """[N, Z] -> float32 [N, C, px, px]; `alpha` < 1 fades the last block in over the one below."""
        level = level_of(px or self.settings.resolution)
        dtype = torch.promote_types(dtype, latents.dtype) if latents.dtype == torch.float64 else dtype
        x = self.dense(pixel_norm(latents).to(dtype)).view(-1, self.conv.bias.shape[0], BASE_PX, BASE_PX)
        x = x.contiguous(memory_format=torch.channels_last)
        x = leaky_pixel_norm(x) if self.settings.dense_norm else leaky_relu(x)
        x = leaky_pixel_norm(self.conv(x))
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
        return leaky_relu(self.second(leaky_relu(self.first(x))))


class Discriminator(nn.Module):
    """Images to one unbounded score each, higher = taken for a radiograph."""

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        widths = _widths(settings)
        self.settings = settings
        self.from_image = nn.ModuleList(EqualConv2d(settings.channels, width, 1) for width in widths)
        self.blocks = nn.ModuleList(DiscriminatorBlock(b, a) for a, b in itertools.pairwise(widths))
        self.conv = EqualConv2d(widths[0] + 1, widths[0], 3)
        self.dense = EqualLinear(widths[0] * BASE_PX**2, widths[0])
        self.score = EqualLinear(widths[0], 1, gain=1)

    def forward(
        self,
        images: Tensor,
        alpha: float = 1.0,
        *,
        group: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Float [N, C, px, px] -> float32 [N]; the resolution is read off the images.

        Args:
            images: The images, in runs of `group`.
            alpha: Fade weight; below 1 the first block fades in.
            group: Images per minibatch standard deviation; None = the settings' group.
            dtype: What to compute in.
        """
        level = level_of(images.shape[-1])
        images = images if images.dtype == torch.float64 else images.to(dtype)
        x = leaky_relu(self.from_image[level](images))
        for depth in range(level, 0, -1):
            x = self.blocks[depth - 1](x)
            if depth == level and alpha < 1:
                x = torch.lerp(leaky_relu(self.from_image[level - 1](F.avg_pool2d(images, 2))), x, alpha)
        x = leaky_relu(self.conv(minibatch_stddev(x, group or self.settings.group)))
        x = leaky_relu(self.dense(x.flatten(1)))
        score: Tensor = self.score(x)
        return score.float().squeeze(1)
