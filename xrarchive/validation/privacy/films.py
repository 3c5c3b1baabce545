"""Radiographs as a space to search, in which a shifted, mirrored or recoloured copy lies where its original does.

Images are averaged down to about 64 px. A query is seen through a window that leaves out `SHIFT_PX` on every side, at
every place it fits; a film of the gallery through the middle one, as it is and mirrored. What a window shows is shifted
to mean 0 and scaled to length 1: brightness and contrast are gone, and the distance is sqrt(2 - 2 r) with r the
correlation of the pixels, 0 for equal pictures and 1.41 for unrelated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from xrarchive.pixels import Pixels, area_average
from xrarchive.validation.privacy.search import Indices, Rows

SHIFT_PX = 4
SEARCH_PX = 64

# Below this a window is of one grey and has no pattern to compare; grey levels, root of the sum of squares.
_FLAT = 1e-3
_READ = 256


@dataclass(frozen=True, eq=False)
class ShiftedFilms:
    """Queries: every film at every shift. Made by `shifted_films`."""

    pixels: Pixels
    shift: int

    @property
    def each(self) -> int:
        """Shifts of a film."""
        return (2 * self.shift + 1) ** 2

    def __len__(self) -> int:
        return len(self.pixels)

    def rows(self, items: Indices) -> Rows:
        """float32 [n * shifts, D]."""
        side = self.pixels.shape[1] - 2 * self.shift
        windows = sliding_window_view(self.pixels[items], (side, side), axis=(1, 2))
        return _patterns(windows.reshape(len(items) * self.each, -1))


@dataclass(frozen=True, eq=False)
class MirroredFilms:
    """The gallery: every film as it is and mirrored. Made by `mirrored_films`."""

    pixels: Pixels
    shift: int
    each: int = 2

    def __len__(self) -> int:
        return len(self.pixels)

    def rows(self, items: Indices) -> Rows:
        """float32 [n * 2, D]."""
        middle = slice(self.shift, self.pixels.shape[1] - self.shift)
        films = self.pixels[items][:, middle, middle]
        both = np.stack([films, films[:, :, ::-1]], axis=1)
        return _patterns(both.reshape(2 * len(items), -1))


def shifted_films(pixels: Pixels) -> ShiftedFilms:
    """uint8 [N, H, H] as queries."""
    small = to_search_size(pixels)
    return ShiftedFilms(small, _shift_of(small))


def mirrored_films(pixels: Pixels) -> MirroredFilms:
    """uint8 [M, H, H], may be memory-mapped, as a gallery."""
    small = to_search_size(pixels)
    return MirroredFilms(small, _shift_of(small))


def to_search_size(pixels: Pixels) -> Pixels:
    """uint8 [N, H, H] averaged over whole blocks to `SEARCH_PX`; a side that blocks do not fill stays as it is.

    Raises:
        ValueError: If pixels are not uint8 [N, H, H].
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2]:
        raise ValueError(f"pixels must be uint8 [N, H, H], got {pixels.dtype} {pixels.shape}")
    side = pixels.shape[1]
    if side <= SEARCH_PX or side % SEARCH_PX:
        return np.asarray(pixels)
    parts = [np.rint(area_average(pixels[start : start + _READ], SEARCH_PX)) for start in range(0, len(pixels), _READ)]
    return np.concatenate(parts).astype(np.uint8)


def _shift_of(pixels: Pixels) -> int:
    """A quarter of the side at most, so that the smallest images keep a window."""
    return min(SHIFT_PX, int(pixels.shape[1]) // 4)


def _patterns(rows: npt.NDArray[np.uint8]) -> Rows:
    """uint8 [n, D] -> float32 [n, D] of mean 0 and length 1; of length 0 where there is but one grey."""
    away = rows.astype(np.float32)
    away -= away.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("nd,nd->n", away, away))
    away /= np.where(lengths > _FLAT, lengths, np.inf)[:, None]
    return away
