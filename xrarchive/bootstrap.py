"""Resampling by group: how often each row is drawn when whole patients are drawn with replacement.

Rows of one patient are not independent, so patients are drawn and bring all their rows. A resample is a vector of
multiplicities, not an index list: statistics become weighted sums, which are matrix products for all resamples at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
# Features [N, D], [M, D], how often each row [R, N] and group [R, G] is drawn, codes [M] -> a distance each, [R].
Resampled = Callable[[npt.NDArray[np.floating], npt.NDArray[np.floating], Floats, Floats, Codes], Floats]

# Of the interval of every distance between images and radiographs.
RESAMPLES = 200
LEVEL = 0.95


def make_rng(seed: int, *names: str) -> np.random.Generator:
    """A random stream of its own for every measure, so that adding one leaves the others' numbers as they were."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def group_codes(groups: npt.ArrayLike | None, count: int) -> Codes:
    """int64 [N] in 0..G-1 from any group names; a blank name, or None for `groups`, is a group of its own per row.

    Raises:
        ValueError: If there is not one group per row.
    """
    if groups is None:
        return np.arange(count)
    names = np.asarray(groups)
    if names.shape != (count,):
        raise ValueError(f"groups must be [{count}], got {names.shape}")
    if names.dtype.kind not in "OSUT":
        return np.unique(names, return_inverse=True)[1].astype(np.int64)
    filled = [f"={name}" if name else f"#{row}" for row, name in enumerate(names.astype(str))]
    return np.unique(filled, return_inverse=True)[1].astype(np.int64)


def draw_multiplicities(codes: Codes, resamples: int, rng: np.random.Generator) -> Floats:
    """float64 [R, G]: how often each group is drawn in each of R resamples of G groups with replacement."""
    groups = int(codes.max()) + 1
    drawn = rng.integers(0, groups, size=(resamples, groups))
    flat = drawn + groups * np.arange(resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype(np.float64)


def percentile_interval(values: Floats, level: float) -> tuple[float, float]:
    """The central `level` of the finite resampled values; (NaN, NaN) if none is finite."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def distance_interval(
    resampled: Resampled, images: Floats, radiographs: Floats, codes: Codes, rng: np.random.Generator
) -> tuple[float, float]:
    """The central `LEVEL` of a distance over `RESAMPLES` resamples of images and, on the real side, of patients.

    Args:
        resampled: The distance in each resample.
        images: Features [N, D], rows independent.
        radiographs: Features [M, D].
        codes: [M], each radiograph's patient.
        rng: Draws.
    """
    drawn = draw_multiplicities(np.arange(len(images)), RESAMPLES, rng), draw_multiplicities(codes, RESAMPLES, rng)
    return percentile_interval(resampled(images, radiographs, *drawn, codes), LEVEL)


def disjoint_halves(codes: Codes, count: int, rng: np.random.Generator) -> tuple[Codes, Codes]:
    """Two row sets of equal size, at most `count` each, that share no group, drawn at random.

    Groups are taken in random order, each by the smaller side; the larger side is then cut to the smaller.
    """
    order = rng.permutation(int(codes.max()) + 1)
    sizes = np.bincount(codes)
    side_of = np.zeros(order.size, np.int64)
    filled = [0, 0]
    for group in order:
        side = int(filled[1] < filled[0])
        side_of[group] = side
        filled[side] += int(sizes[group])
    rows = [rng.permutation(np.flatnonzero(side_of[codes] == side)) for side in (0, 1)]
    size = min(count, *filled)
    return np.sort(rows[0][:size]), np.sort(rows[1][:size])
