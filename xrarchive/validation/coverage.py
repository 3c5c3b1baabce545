"""How much of the variety of real radiographs do synthetic images reach? Features of both sides in, shares out.

Around each row is a ball that reaches to its k-th nearest neighbour on its own side. What is inside whose ball:

    precision   synthetic rows inside some real ball          density     real balls around a synthetic row, over k
    recall      real rows inside some synthetic ball          coverage    real balls with some synthetic row inside

All four change with N and with the ratio of sides, so both sides must have the same size. The balls stay as they are in
the resamples: a patient drawn twice would be its own nearest neighbour. Intervals are therefore those of a share, over
real patients (recall, coverage) or over images (precision, density).

Sources: precision and recall from Kynkäänniemi et al. 2019 (arXiv 1904.06991), density and coverage from Naeem et al.
2020 (arXiv 2002.09797). As in the latter's package `prdc`, a row on the edge of a ball is outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.estimates import RESAMPLES, Estimate, bootstrap_estimates, divide, weighted_mean

Features = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]

# Neighbours that span a ball: the value Naeem et al. recommend and `prdc` shows.
NEIGHBOURS = 5

# Distances held at a time: 4 million float64 are 32 MB.
BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class Manifold:
    """Four views of the overlap of two feature sets; all but density in 0..1, density about 1 for equal ones."""

    precision: Estimate
    density: Estimate
    recall: Estimate
    coverage: Estimate


def manifold(
    real: Features,
    features: Features,
    k: int = NEIGHBOURS,
    *,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    block_cells: int = BLOCK_CELLS,
) -> Manifold:
    """Precision, recall, density and coverage of synthetic features by real ones.

    Args:
        real: float [N, D], finite.
        features: float [N, D], finite, of synthetic images.
        k: Neighbours that span a ball, below N.
        groups: [N] patients of the real side; blank, or None for all, is a patient of its own.
        seed: Same seed, same intervals.
        resamples: How many times patients and images are drawn.
        block_cells: Bound on memory: distances held at a time, a row of N at least. Changes no result.

    Raises:
        ValueError: If the sides differ in shape, are not finite, or have no more than k rows.
    """
    true, made = _prepare(real, features, k)
    covered, balls = _inside(true, _radii(true, k, block_cells), made, block_cells)
    recalled = _inside(made, _radii(made, k, block_cells), true, block_cells)[1] > 0

    def statistic(real_times: Floats, made_times: Floats) -> Floats:
        of_images = (weighted_mean(values, made_times) for values in (balls > 0, balls / k))
        of_patients = (weighted_mean(flags, real_times) for flags in (recalled, covered))
        return np.stack([*of_images, *of_patients])

    sides = (len(true), groups), (len(made), None)
    return Manifold(*bootstrap_estimates(statistic, sides, name="manifold", seed=seed, resamples=resamples))


def coverage_ratio(
    real: Features,
    ours: Features,
    theirs: Features,
    *,
    k: int = NEIGHBOURS,
    groups: npt.ArrayLike | None = None,
    seed: int,
    resamples: int = RESAMPLES,
    block_cells: int = BLOCK_CELLS,
) -> Estimate:
    """Coverage by our images over coverage by others, of the same radiographs: above 1, ours reach more of them.

    The interval is over real patients, each with the outcomes of both; both image sets are taken as given. Undefined,
    and left out, where theirs cover nothing.

    Args:
        real: float [N, D], finite.
        ours: float [N, D], finite.
        theirs: float [N, D], finite.
        k: As for `manifold`, and so are the others.
        groups: [N] patients.
        seed: Same seed, same interval.
        resamples: How many times patients are drawn.
        block_cells: Distances held at a time.

    Raises:
        ValueError: As `manifold`, for either pair.
    """
    return macro_coverage_ratio(
        [real], [ours], [theirs], k=k, groups=None if groups is None else [groups], seed=seed, resamples=resamples,
        block_cells=block_cells,
    )  # fmt: skip


def macro_coverage_ratio(
    real: Sequence[Features],
    ours: Sequence[Features],
    theirs: Sequence[Features],
    *,
    k: int = NEIGHBOURS,
    groups: Sequence[npt.ArrayLike] | None = None,
    seed: int,
    resamples: int = RESAMPLES,
    block_cells: int = BLOCK_CELLS,
) -> Estimate:
    """`coverage_ratio` over several findings: mean coverage by ours over mean coverage by theirs, findings equal.

    Coverage is averaged before dividing, so that a finding which theirs hardly cover cannot carry the ratio alone.

    Args:
        real: float [N, D] for each finding; N may differ between findings.
        ours: float [N, D] for each finding.
        theirs: float [N, D] for each finding.
        k: As for `manifold`.
        groups: Patients [N] for each finding; a name is the same patient in all of them and is drawn once for all.
        seed: Same seed, same interval.
        resamples: How many times patients are drawn.
        block_cells: Distances held at a time.

    Raises:
        ValueError: As `coverage_ratio`, for no findings, or for lists of different lengths.
    """
    if not real:
        raise ValueError("real must hold the features of one finding at least")
    patients: Sequence[npt.ArrayLike | None] = [None] * len(real) if groups is None else groups
    outcomes = [_both_covered(*sets, k, block_cells) for sets in zip(real, ours, theirs, strict=True)]

    def statistic(*times: Floats) -> Floats:
        by_finding = [
            [weighted_mean(flags, drawn) for flags in pair] for pair, drawn in zip(outcomes, times, strict=True)
        ]
        our_mean, their_mean = np.mean(by_finding, axis=0)
        return divide(our_mean, their_mean)[None]

    sides = [(len(pair[0]), names) for pair, names in zip(outcomes, patients, strict=True)]
    return bootstrap_estimates(statistic, sides, name="coverage ratio", seed=seed, resamples=resamples)[0]


def _both_covered(real: Features, ours: Features, theirs: Features, k: int, block_cells: int) -> list[Flags]:
    """Which real balls ours reach, and which theirs: two bool [N]."""
    true, our_rows = _prepare(real, ours, k)
    _, their_rows = _prepare(real, theirs, k)
    radii = _radii(true, k, block_cells)
    return [_inside(true, radii, rows, block_cells)[0] for rows in (our_rows, their_rows)]


def _prepare(real: Features, features: Features, k: int) -> tuple[Floats, Floats]:
    """Both sides as float64 about the real mean, so that squared distances subtract smaller numbers."""
    true, made = np.asarray(real, np.float64), np.asarray(features, np.float64)
    if true.ndim != 2 or true.shape != made.shape:
        raise ValueError(f"both sides must be [N, D] of one shape, got {true.shape} real and {made.shape} synthetic")
    if not 1 <= k < len(true):
        raise ValueError(f"k must be 1 at least and below the {len(true)} rows of a side, got {k}")
    if not (np.isfinite(true).all() and np.isfinite(made).all()):
        raise ValueError("features must be finite")
    centre = true.mean(axis=0)
    return true - centre, made - centre


def _radii(rows: Floats, k: int, block_cells: int) -> Floats:
    """Squared distance of each row to its k-th nearest other row: [N]."""
    radii = np.empty(len(rows))
    step = max(1, block_cells // len(rows))
    for start in range(0, len(rows), step):
        square = _square_distances(rows[start : start + step], rows)
        own = np.arange(len(square))
        square[own, start + own] = np.inf
        radii[start : start + step] = np.partition(square, k - 1, axis=1)[:, k - 1]
    return radii


def _inside(centres: Floats, radii: Floats, points: Floats, block_cells: int) -> tuple[Flags, npt.NDArray[np.int64]]:
    """Whether some point is inside each ball, bool [N], and how many balls are around each point, int64 [M]."""
    some, balls = np.zeros(len(centres), np.bool_), np.zeros(len(points), np.int64)
    step = max(1, block_cells // len(points))
    for start in range(0, len(centres), step):
        part = slice(start, start + step)
        within = _square_distances(centres[part], points) < radii[part, None]
        some[part] = within.any(axis=1)
        balls += within.sum(axis=0)
    return some, balls


def _square_distances(first: Floats, second: Floats) -> Floats:
    """|x - y|^2 of all rows of [N, D] and [M, D]: float64 [N, M], not below 0."""
    square = first @ second.T
    square *= -2
    square += np.einsum("nd,nd->n", first, first)[:, None]
    square += np.einsum("md,md->m", second, second)[None]
    return np.maximum(square, 0, out=square)
