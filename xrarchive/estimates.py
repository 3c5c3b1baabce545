"""Numbers with intervals: a statistic as weighted sums and the sides it compares come in, an `Estimate` each goes out.

Torch-free. Whoever has a number of its own to resample writes it once, as a function of how often each row is drawn;
label, purity, coverage and nuisance measures do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import LEVEL, Codes, Floats, draw_multiplicities, group_codes, make_rng, percentile_interval

# Five times those of a distance: weighted sums are cheap.
RESAMPLES = 1000

# Rows x resamples weighed at a time: 4 million float64 are 32 MB, of which a few copies live at once.
_BLOCK_CELLS = 4_000_000
# A side of a comparison: how many rows, and their patients if they have any.
Side = tuple[int, npt.ArrayLike | None]
# How often each row of each side is drawn, [R, N] a side -> J numbers in each resample, [J, R].
Statistic = Callable[..., Floats]


@dataclass(frozen=True)
class Estimate:
    """A number and the central 95 % of its bootstrap distribution; all NaN where it is not defined.

    Attributes:
        value: On the rows as given.
        low: Lower end of the interval.
        high: Upper end of the interval.
        left_out: Share of resamples in which the number is not defined, and which the interval leaves out. Where it is
            above 2.5 %, the true interval of a ratio is open at its upper end, whatever `high` says.
    """

    value: float
    low: float
    high: float
    left_out: float = 0.0

    @property
    def defined(self) -> bool:
        """Whether there was something to measure."""
        return bool(np.isfinite(self.value))


def bootstrap_estimates(
    statistic: Statistic, sides: Sequence[Side], *, name: str, seed: int, resamples: int = RESAMPLES
) -> list[Estimate]:
    """The numbers of `statistic` with percentile intervals, all from the same draws.

    Sides with groups are drawn together, so that a patient on several of them is drawn as often on each; every side
    without is drawn by row, on its own. Memory is bounded by weighing some resamples at a time, which changes nothing.

    Args:
        statistic: How often each row is drawn, [R, N] for each side -> J numbers in each resample, [J, R].
        sides: Rows of each side, and its groups [N] or None.
        name: Of the number: keeps its random stream apart.
        seed: Same seed, same intervals.
        resamples: R in all.

    Raises:
        ValueError: If there is not one group per row.
    """
    pools, places = _pool(sides)
    rngs = [make_rng(seed, name, str(number)) for number in range(len(pools))]
    step = max(1, _BLOCK_CELLS // sum(codes.size for codes in pools))
    blocks = []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = [draw_multiplicities(codes, count, rng)[:, codes] for codes, rng in zip(pools, rngs, strict=True)]
        blocks.append(statistic(*(drawn[pool][:, rows] for pool, rows in places)))
    values = statistic(*(np.ones((1, size)) for size, _ in sides))[:, 0]
    return [_estimate(float(value), row) for value, row in zip(values, np.concatenate(blocks, axis=1), strict=True)]


def weighted_mean(values: npt.ArrayLike, weights: Floats) -> Floats:
    """Mean of numbers or flags [N] under each row of weights [R, N]; NaN where they sum to 0."""
    return divide(weights @ np.asarray(values, np.float64), weights.sum(axis=1))


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Elementwise quotient; NaN where the denominator is not above 0, as no ratio here means anything there."""
    quotient: Floats = np.divide(
        numerator, denominator, out=np.full(denominator.shape, np.nan), where=np.asarray(denominator > 0)
    )
    return quotient


def _pool(sides: Sequence[Side]) -> tuple[list[Codes], list[tuple[int, slice]]]:
    """Group codes of each pool, grouped sides in one; and for each side which pool and which rows of it."""
    for size, groups in sides:
        group_codes(groups, size)  # refuses a side without one group per row, which joined names would hide
    pools = [group_codes(None, size) for size, groups in sides if groups is None]
    together = [np.asarray(groups) for _, groups in sides if groups is not None]
    if together:
        names = np.concatenate(together)
        pools.append(group_codes(names, names.size))
    places, alone, taken = [], 0, 0
    for size, groups in sides:
        places.append((alone, slice(0, size)) if groups is None else (len(pools) - 1, slice(taken, taken + size)))
        alone, taken = (alone + 1, taken) if groups is None else (alone, taken + size)
    return pools, places


def _estimate(value: float, drawn: Floats) -> Estimate:
    left_out = float(np.mean(~np.isfinite(drawn)))
    low, high = percentile_interval(drawn, LEVEL) if np.isfinite(value) else (float("nan"), float("nan"))
    return Estimate(value, low, high, left_out)
