"""Kernel distance (KID): the unbiased squared maximum mean discrepancy under a cubic kernel, over all pairs.

    k(x, y) = (x.y / D + 1)^3,    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y)

with the pairs of a row with itself left out, which makes it unbiased at any N and lets it fall below 0 by chance.

Why all pairs and not averaged subsets: the mean over random subsets of 1,000 estimates the same number with more noise.
Kernel blocks are made, summed and dropped, so memory does not grow with N^2. Called by validation and, while it trains,
by the generator's monitor: both report the same number.

Source: Bińkowski et al. 2018 (arXiv 1801.01401), section 3 and eq. 4 of Gretton et al. 2012.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Codes, Floats

# Fewest images per side: below this, an interval says more about luck than about images.
IMAGES_NEEDED = 10

# Kernel cells held at a time: 4 million float64 are 32 MB.
_BLOCK_CELLS = 4_000_000


def kernel_distance(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float:
    """Unbiased KID between features [N, D] and [M, D]; about 0, also below, if both come from one distribution.

    Raises:
        ValueError: If a side has fewer than two rows, or the dimensions differ.
    """
    once = np.ones((1, len(first))), np.ones((1, len(second)))
    return float(kernel_resampled(first, second, *once, np.arange(len(second)))[0])


def kernel_resampled(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    first_drawn: Floats,
    second_drawn: Floats,
    second_codes: Codes,
) -> Floats:
    """Unbiased KID in each resample.

    A group drawn twice would meet its own copy, and such pairs look alike for no good reason (a plain bootstrap of an
    unbiased MMD is biased upward for that). Pairs across two copies of one group are left out, pairs within one copy
    are kept: with every group drawn once, this is `kernel_distance` exactly.

    Args:
        first: Features [N, D], rows independent.
        second: Features [M, D], rows grouped by patient.
        first_drawn: [R, N], how often each row is drawn.
        second_drawn: [R, G], how often each group is drawn.
        second_codes: [M], each row's group.
    """
    left, right = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(left) < 2 or len(right) < 2:
        raise ValueError(f"a kernel distance needs two rows on each side, got {len(left)} and {len(right)}")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"features have {left.shape[1]} and {right.shape[1]} dimensions")
    second_rows = second_drawn[:, second_codes]
    across = _weighted_sum(left, right, first_drawn, second_rows)
    across /= first_drawn.sum(axis=1) * second_rows.sum(axis=1)
    within_first = _mean_within(left, first_drawn, np.arange(len(left)))
    return within_first + _mean_within(right, second_drawn, second_codes) - 2 * across


def kernel_distance_with_self(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float:
    """KID between features [N, D] and [M, D] with the pairs of a row with itself counted: biased, and never below 0.

    Only for ratios at equal N: an unbiased distance of real to real is about 0, and nothing can be divided by that.
    """
    left, right = np.asarray(first, np.float64), np.asarray(second, np.float64)
    once = np.ones((1, len(left))), np.ones((1, len(right)))
    return float(_with_self(left, right, *once)[0])


def kernel_resampled_with_self(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    first_drawn: Floats,
    second_drawn: Floats,
    second_codes: Codes,
) -> Floats:
    """`kernel_distance_with_self` in each resample; arguments as `kernel_resampled`.

    A row drawn twice meets its copy: resamples lie above the distance of the rows as given, and only their spread in
    proportion to their mean says something.
    """
    left, right = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return _with_self(left, right, first_drawn, second_drawn[:, second_codes])


def cubic_kernel(first: Floats, second: Floats) -> Floats:
    """k(x, y) for all rows of [N, D] and [M, D]: float64 [N, M]."""
    base = first @ second.T
    base /= first.shape[1]
    base += 1
    return base * base * base


def _weighted_sum(first: Floats, second: Floats, first_weights: Floats, second_weights: Floats) -> Floats:
    """Sum over all pairs of w_i v_j k(x_i, y_j), for each row of weights w [R, N], v [R, M]."""
    total = np.zeros(len(first_weights))
    step = max(1, _BLOCK_CELLS // len(second))
    for start in range(0, len(first), step):
        block = cubic_kernel(first[start : start + step], second)
        total += np.sum((first_weights[:, start : start + step] @ block) * second_weights, axis=1)
    return total


def _weighted_sum_within(rows: Floats, weights: Floats) -> Floats:
    """Sum over all pairs of w_i w_j k(x_i, x_j), each pair of blocks made once, for each row of weights [R, N]."""
    total = np.zeros(len(weights))
    step = max(1, _BLOCK_CELLS // len(rows))
    for start in range(0, len(rows), step):
        stop = start + step
        block = cubic_kernel(rows[start:stop], rows[start:])
        block[:, step:] *= 2
        total += np.sum((weights[:, start:stop] @ block) * weights[:, start:], axis=1)
    return total


def _with_self(first: Floats, second: Floats, first_weights: Floats, second_weights: Floats) -> Floats:
    left, right = first_weights.sum(axis=1), second_weights.sum(axis=1)
    distance: Floats = (
        _weighted_sum_within(first, first_weights) / left**2
        + _weighted_sum_within(second, second_weights) / right**2
        - 2 * _weighted_sum(first, second, first_weights, second_weights) / (left * right)
    )
    return distance


def _mean_within(rows: Floats, drawn: Floats, codes: Codes) -> Floats:
    """Mean kernel over the pairs of different rows of each resample, pairs across copies of one group left out."""
    weights = drawn[:, codes]
    sizes = np.bincount(codes, minlength=drawn.shape[1]).astype(np.float64)
    whole, diagonal = _sums_per_group(rows, codes, drawn.shape[1])
    total = _weighted_sum_within(rows, weights)
    total += drawn @ (whole - diagonal) - (drawn * drawn) @ whole
    pairs = weights.sum(axis=1) ** 2 + drawn @ (sizes * (sizes - 1)) - (drawn * drawn) @ (sizes * sizes)
    mean: Floats = np.divide(total, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0)
    return mean


def _sums_per_group(rows: Floats, codes: Codes, groups: int) -> tuple[Floats, Floats]:
    """Kernel summed over all pairs inside each group, and over the pairs of a row with itself."""
    squared = np.einsum("nd,nd->n", rows, rows) / rows.shape[1] + 1
    own = squared * squared * squared
    diagonal = np.bincount(codes, weights=own, minlength=groups).astype(np.float64)
    whole = diagonal.copy()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(groups + 1))
    for group in np.flatnonzero(np.diff(starts) > 1):
        members = rows[order[starts[group] : starts[group + 1]]]
        whole[group] = cubic_kernel(members, members).sum()
    return whole, diagonal
