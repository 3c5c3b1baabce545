"""Radiographs made worse by known amounts: the truth that a measure of fidelity must follow.

Pixels in, pixels out, torch-free. Strengths are for a side of 64 px and grow with the side where they are lengths, so
that a defect looks alike at every size.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from xrarchive.bootstrap import make_rng
from xrarchive.pixels import Pixels

LEVELS = 5
_SIDE_PX = 64
_BLUR_SIGMA_PX = (0.4, 0.6, 0.8, 1.2, 1.6)
_NOISE_SD = (4.0, 8.0, 12.0, 20.0, 32.0)  # grey levels
_CONTRAST = (0.9, 0.8, 0.65, 0.5, 0.35)
_JPEG_QUALITY = (80, 50, 30, 15, 5)
_CROPPED = (0.04, 0.08, 0.12, 0.18, 0.25)  # share of the side that is cut off


def blur_slightly(pixels: Pixels) -> Pixels:
    """uint8 [N, H, H] -> every pixel the mean of the 3x3 around it: the negative control of fidelity."""
    from scipy import ndimage

    return _grey(ndimage.uniform_filter(pixels.astype(np.float32), (1, 3, 3), mode="nearest"))


def degrade(pixels: Pixels, kind: str, level: int, *, seed: int = 0) -> Pixels:
    """Radiographs made worse.

    Args:
        pixels: uint8 [N, H, H].
        kind: Of `DEGRADATIONS`.
        level: 1..`LEVELS`, growing.
        seed: Of the noise.

    Returns:
        uint8 [N, H, H].

    Raises:
        ValueError: If there is no such kind or level.
    """
    if kind not in DEGRADATIONS or not 1 <= level <= LEVELS:
        raise ValueError(f"expected one of {', '.join(DEGRADATIONS)} and a level of 1 to {LEVELS}, got {kind} {level}")
    return DEGRADATIONS[kind](pixels, level - 1, make_rng(seed, "degrade", kind, str(level)))


def _blur(pixels: Pixels, level: int, _rng: np.random.Generator) -> Pixels:
    sigma = _BLUR_SIGMA_PX[level] * pixels.shape[1] / _SIDE_PX
    from scipy import ndimage

    return _grey(ndimage.gaussian_filter(pixels.astype(np.float32), (0, sigma, sigma), mode="nearest"))


def _noise(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _grey(pixels + _NOISE_SD[level] * rng.standard_normal(pixels.shape, np.float32))


def _contrast(pixels: Pixels, level: int, _rng: np.random.Generator) -> Pixels:
    means = pixels.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return _grey(means + _CONTRAST[level] * (pixels - means))


def _jpeg(pixels: Pixels, level: int, _rng: np.random.Generator) -> Pixels:
    return recompressed(pixels, _JPEG_QUALITY[level])


def _crop(pixels: Pixels, level: int, _rng: np.random.Generator) -> Pixels:
    side = pixels.shape[1]
    cut = side * _CROPPED[level] / 2
    box = (cut, cut, side - cut, side - cut)
    films = [Image.fromarray(film).resize((side, side), Image.Resampling.BICUBIC, box=box) for film in pixels]
    return np.stack([np.asarray(film) for film in films])


def recompressed(pixels: Pixels, quality: int) -> Pixels:
    """uint8 [N, H, W] as they come back from JPEG files of this quality (1 to 95)."""
    films = []
    for film in pixels:
        stream = io.BytesIO()
        Image.fromarray(film).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            films.append(np.asarray(image))
    return np.stack(films)


def _grey(values: npt.NDArray[np.floating]) -> Pixels:
    grey: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return grey


DEGRADATIONS: Mapping[str, Callable[[Pixels, int, np.random.Generator], Pixels]] = MappingProxyType(
    {"blur": _blur, "noise": _noise, "contrast": _contrast, "jpeg": _jpeg, "crop": _crop}
)
