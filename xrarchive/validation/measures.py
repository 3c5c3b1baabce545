"""A measured number with what is needed to judge it, or the reason why there is none: the leaves of every report.

A measure is ``{"value", "low", "high", "n", "floor", "note", ...}``; one that could not be taken is ``{"value": None,
"reason": ...}``. All keys of a measure are always there; None in `low`, `high` or `floor` means that the thing does not
exist for this measure (a count over the whole archive has no sampling interval).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from xrarchive.estimates import Estimate

Measure = dict[str, object]

# Far more than an interval of 200 resamples carries, and few enough that the order in which a BLAS sums does not show.
SIGNIFICANT_DIGITS = 6


def measure(
    value: float,
    *,
    low: float | None = None,
    high: float | None = None,
    n: int,
    floor: Mapping[str, object] | None = None,
    note: str,
    extra: Mapping[str, object] | None = None,
) -> Measure:
    """A measure, its numbers rounded to `SIGNIFICANT_DIGITS`; `extra` adds keys of its own.

    Raises:
        ValueError: If a number is NaN or infinite; what is undefined must be `not_measured`.
    """
    return {
        "value": rounded(value),
        "low": None if low is None else rounded(low),
        "high": None if high is None else rounded(high),
        "n": n,
        "floor": None if floor is None else dict(floor),
        "note": note,
        **(extra or {}),
    }


def measure_estimate(
    found: Estimate,
    *,
    n: int,
    note: str,
    otherwise: str,
    floor: Mapping[str, object] | None = None,
    extra: Mapping[str, object] | None = None,
) -> Measure:
    """An estimate as a measure with its `left_out` (see `Estimate`), or `not_measured(otherwise)` if undefined."""
    if not found.defined:
        return not_measured(otherwise)
    low, high = (None if math.isnan(end) else end for end in (found.low, found.high))
    more = {"left_out": rounded(found.left_out), **(extra or {})}
    return measure(found.value, low=low, high=high, n=n, floor=floor, note=note, extra=more)


def not_measured(reason: str) -> Measure:
    """The place of a number that could not be measured: a full sentence saying why."""
    return {"value": None, "reason": reason}


def as_bound(found: Estimate, count: int, note: str) -> dict[str, object]:
    """An estimate as the floor, the ceiling or another part of a measure; `count` rows stand behind it."""
    low, high = (None if math.isnan(end) else rounded(end) for end in (found.low, found.high))
    return {"value": rounded(found.value), "low": low, "high": high, "n": count, "note": note}


def rounded(value: float) -> float | int:
    """`value` with `SIGNIFICANT_DIGITS` digits; whole numbers given as int stay exact.

    Raises:
        ValueError: If it is NaN or infinite.
    """
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        raise ValueError(f"a measure must be finite, got {value}")
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
