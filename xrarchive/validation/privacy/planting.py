"""Copies of films, made to be found: the test of whatever claims to find copies. Pixels in, pixels out."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from xrarchive.pixels import Pixels

SHIFT_PX = 4
CONTRAST = 0.1
JPEG_QUALITY = 75


def recompressed(film: Pixels, *, quality: int = JPEG_QUALITY) -> Pixels:
    """uint8 [H, W] through JPEG."""
    stream = io.BytesIO()
    Image.fromarray(film).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def shifted(film: Pixels, *, down: int = SHIFT_PX, right: int = SHIFT_PX) -> Pixels:
    """uint8 [H, W] moved by so many pixels; what comes in repeats the edge."""
    width = max(abs(down), abs(right))
    top, left = width - down, width - right
    moved: Pixels = np.pad(film, width, mode="edge")[top : top + film.shape[0], left : left + film.shape[1]]
    return moved


def with_contrast(film: Pixels, *, gain: float) -> Pixels:
    """uint8 [H, W] about its mean; what leaves the range is cut off."""
    mean = film.mean()
    made: Pixels = np.clip(np.rint((film - mean) * gain + mean), 0, 255).astype(np.uint8)
    return made


# Every kind of copy that validation says it finds.
COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "exact": lambda film: film,
    "recompressed": recompressed,
    "mirrored": lambda film: film[:, ::-1],
    "shifted": shifted,
    "more contrast": lambda film: with_contrast(film, gain=1 + CONTRAST),
    "less contrast": lambda film: with_contrast(film, gain=1 - CONTRAST),
}


def plant(films: Pixels, kind: str) -> Pixels:
    """uint8 [N, H, W]: a copy of each film, of a kind in `COPIES`."""
    return np.stack([COPIES[kind](film) for film in films])
