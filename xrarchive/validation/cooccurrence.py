"""Which findings come together? Flags [N, K] in; matrices of conditional shares, and how far two are apart, out.

Row i of a matrix is what is there beside finding i: entry (i, j) is the share of the images with i that have j too, 1
on the diagonal. Shares given a finding do not change with how common it is, so that an archive with as many images of
each finding can be held against films as they come. The distance is ours:

    sum over i of w_i * mean over j != i of |P(j | i) - Q(j | i)|,   w_i = share of i on both sides, made to sum to 1

It is in 0..1: how much the chance of a second finding differs, on average, given a first. Findings that one side lacks
are left out; weights keep rows of few images from deciding. Sampling alone moves it off 0: it means something only
beside the same distance between two sets of real films.

Source of the matrix: Chen et al. 2019, arXiv 1904.03582, section 3.3 (label correlation as conditional probability).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats, disjoint_halves, group_codes, make_rng
from xrarchive.estimates import RESAMPLES, Estimate, bootstrap_estimates

# Random halves of real films behind a floor.
HALVINGS = 10


def co_occurrence(present: npt.ArrayLike) -> Floats:
    """P(j | i) of flags [N, K]: float64 [K, K], 1 on the diagonal, a row of NaN for a finding that no image has.

    Raises:
        ValueError: For other shapes.
    """
    flags = _flags(present)
    matrix: Floats = _shares(flags, np.ones((1, len(flags))))[0][0]
    return matrix


def co_occurrence_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The distance of two sets of flags [N, K] and [M, K], 0..1; NaN for K = 1, or without a finding in common.

    Raises:
        ValueError: For other shapes.
    """
    left, right = _flags(first), _flags(second)
    return float(_distance(left, np.ones((1, len(left))), right, np.ones((1, len(right))))[0])


def co_occurrence_estimate(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    paired: bool = False,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """`co_occurrence_distance` with an interval, widened to hold the value: resampling adds noise, and noise distance.

    Args:
        first: bool [N, K], rows independent (or of `groups`, if paired).
        second: bool [M, K].
        groups: [M] patients of the second side.
        paired: Whether row n is the same image on both sides (what was asked, what was called): drawn once.
        seed: Same seed, same interval.
        resamples: How many times the rows are drawn.

    Raises:
        ValueError: For other shapes, or sides that differ in length if paired.
    """
    left, right = _flags(first), _flags(second)
    if paired and len(left) != len(right):
        raise ValueError(f"paired sides must have the same rows, got {len(left)} and {len(right)}")

    def statistic(*times: Floats) -> Floats:
        return _distance(left, times[0], right, times[-1])[None]

    sides = [(len(right), groups)] if paired else [(len(left), None), (len(right), groups)]
    found = bootstrap_estimates(statistic, sides, name="co-occurrence", seed=seed, resamples=resamples)[0]
    return Estimate(found.value, min(found.low, found.value), max(found.high, found.value), found.left_out)


def real_distance(present: npt.ArrayLike, *, count: int, groups: npt.ArrayLike | None, seed: int) -> tuple[float, int]:
    """What sampling alone gives: mean distance between `HALVINGS` patient-disjoint halves of real films, and their N.

    Args:
        present: bool [M, K].
        count: Films a side at most.
        groups: [M] patients.
        seed: Of the halves.
    """
    flags, rng = np.asarray(present), make_rng(seed, "co-occurrence", "floor")
    codes = group_codes(groups, len(flags))
    halves = [disjoint_halves(codes, count, rng) for _ in range(HALVINGS)]
    distances = [co_occurrence_distance(flags[one], flags[other]) for one, other in halves]
    known = [value for value in distances if np.isfinite(value)]
    return (float(np.mean(known)) if known else float("nan")), min(len(one) for one, _ in halves)


def as_lists(matrix: Floats) -> list[list[float | None]]:
    """For JSON: NaN is None, numbers have four digits after the point."""
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in matrix]


def _shares(flags: Floats, times: Floats) -> tuple[Floats, Floats]:
    """P(j | i) and P(i) in each resample: [R, K, K] and [R, K]; NaN where i is not there."""
    together = np.stack([(flags * weights[:, None]).T @ flags for weights in times])
    counts = np.einsum("rkk->rk", together)
    shares = np.divide(together, counts[:, :, None], out=np.full(together.shape, np.nan), where=counts[:, :, None] > 0)
    return shares, counts / times.sum(axis=1)[:, None]


def _distance(first: Floats, first_times: Floats, second: Floats, second_times: Floats) -> Floats:
    """The distance in each resample [R]."""
    (left, left_share), (right, right_share) = _shares(first, first_times), _shares(second, second_times)
    findings = left.shape[1]
    if findings < 2:
        return np.full(len(left), np.nan)
    both = (left_share > 0) & (right_share > 0)
    apart = np.nan_to_num(np.abs(left - right)).sum(axis=2) / (findings - 1)
    weights = np.where(both, left_share + right_share, 0.0)
    total = weights.sum(axis=1)
    found: Floats = np.divide((weights * apart).sum(axis=1), total, out=np.full(len(left), np.nan), where=total > 0)
    return found


def _flags(present: npt.ArrayLike) -> Floats:
    flags = np.asarray(present)
    if flags.dtype != np.bool_ or flags.ndim != 2 or not len(flags):
        raise ValueError(f"flags must be bool [N, K], one row at least; got {flags.dtype} {flags.shape}")
    return flags.astype(np.float64)
