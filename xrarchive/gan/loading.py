"""Radiographs as the discriminator sees them at one stage. No decoding: pixels are read at the stage's resolution.

No horizontal flips: a mirrored heart is a finding (situs inversus). Small shifts and changes of contrast are settings.
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


def augment(planes: Tensor, spread: Tensor, settings: GeneratorSettings) -> Tensor:
    """Shift by whole pixels with the edge repeated, then change contrast around middle grey; same shape and range.

    Args:
        planes: float32 [N, C, px, px] in [black, 1].
        spread: float32 [N, 3] in [-1, 1): shift down, shift right, change of contrast, each times its largest.
        settings: Say how much; with `shift` and `contrast` 0 the planes come back as they are.
    """
    if settings.shift:
        planes = _shifted(planes, spread[:, :2], settings.shift)
    if settings.contrast:
        middle = (settings.black + 1) / 2
        gain = 1 + settings.contrast * spread[:, 2].view(-1, 1, 1, 1)
        planes = ((planes - middle) * gain + middle).clamp(settings.black, 1)
    return planes.contiguous(memory_format=torch.channels_last)


def _shifted(planes: Tensor, spread: Tensor, largest: float) -> Tensor:
    px = planes.shape[-1]
    reach = round(largest * px)
    if not reach:
        return planes
    padded = F.pad(planes, (reach,) * 4, mode="replicate")
    starts = (reach + torch.round(spread * reach)).long().tolist()
    return torch.stack([image[:, y : y + px, x : x + px] for image, (y, x) in zip(padded, starts, strict=True)])
