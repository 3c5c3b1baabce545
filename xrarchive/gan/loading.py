"""Radiographs as the discriminator sees them at one stage. No decoding: pixels are read at the stage's resolution.

No horizontal flips: a mirrored heart is a finding (situs inversus).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xrarchive.gan.draws import Indices
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.pixels import Pixels, to_planes
from xrarchive.radiographs import RadiographSet


def load_batch(radiographs: RadiographSet, rows: Indices, px: int, alpha: float, settings: GeneratorSettings) -> Tensor:
    """float32 [N, C, px, px] in [black, 1] of the radiographs `rows`, fading in as the generator's images do."""
    return as_shown(radiographs.read(rows, px), alpha, settings)


def as_shown(pixels: Pixels, alpha: float, settings: GeneratorSettings) -> Tensor:
    """uint8 [N, px, px] -> float32 [N, C, px, px] in [black, 1]; `alpha` < 1 mixes in the next coarser resolution."""
    planes = torch.from_numpy(to_planes(pixels))
    if alpha < 1:
        coarse = F.interpolate(F.avg_pool2d(planes, 2), scale_factor=2, mode="nearest")
        planes = torch.lerp(coarse, planes, alpha)
    if settings.black == 0:
        planes = (planes + 1) / 2
    return planes.expand(-1, settings.channels, -1, -1).contiguous(memory_format=torch.channels_last)
