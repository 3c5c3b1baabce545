"""Do the images show what was asked for? Scores of a rater, which never steered anything, against what was asked.

The rater is the judge, or the referee. For each finding: its AUROC for images asked to show it against images where it
was not asked, beside its AUROC on real radiographs. A finding that was not asked may still be there, as on real films,
and then lowers the figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from xrarchive.statistics import bootstrap_auroc
from xrarchive.validation.measures import Measure, measure, not_measured, rounded

# Below this on either side, an AUROC takes so few values that its interval is decoration.
MINIMUM_PER_SIDE = 5

_CHANCE = {"value": 0.5, "note": "What a rater that guesses scores."}


def measure_agreement(
    findings: Sequence[str],
    asked: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    real: Mapping[str, Mapping[str, object]],
    *,
    role: str = "judge",
    seed: int,
) -> dict[str, Measure]:
    """Label agreement for every finding asked for at least once.

    Args:
        findings: The vocabulary [K].
        asked: bool [N, K], whether image n was asked to show finding k.
        scores: float [N, K], the rater's probabilities; a column of NaN means it does not know the finding.
        real: The rater's AUROC on real radiographs per finding, ``{"value", "low", "high", ...}``.
        role: What the rater is, ``judge`` or ``referee``.
        seed: Same seed, same intervals.
    """
    return {
        name: _agreement(name, asked[:, k], scores[:, k], real.get(name), role, seed)
        for k, name in enumerate(findings)
        if asked[:, k].any()
    }


def _agreement(
    name: str,
    asked: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    real: Mapping[str, object] | None,
    role: str,
    seed: int,
) -> Measure:
    n_asked, n_other = int(asked.sum()), int((~asked).sum())
    if np.isnan(scores).all():
        return not_measured(f"The {role} gives no score for {name}.")
    if min(n_asked, n_other) < MINIMUM_PER_SIDE:
        return not_measured(
            f"Agreement needs {MINIMUM_PER_SIDE} images where {name} was asked for and as many where it was not; "
            f"there are {n_asked} and {n_other}."
        )
    interval = bootstrap_auroc(scores, asked, seed=seed)
    return measure(
        interval.value,
        low=interval.low,
        high=interval.high,
        n=n_asked,
        floor=_CHANCE,
        note=(
            f"AUROC of the independent {role} for images asked to show {name} against those where it was not asked; "
            f"`ceiling` is the same {role} on real radiographs. Above it means exaggerated, not better."
        ),
        extra={"n_not_asked": n_other, "ceiling": _real_figure(name, real, role)},
    )


def _real_figure(name: str, real: Mapping[str, object] | None, role: str) -> dict[str, object]:
    figures = {} if real is None else {key: real.get(key) for key in ("value", "low", "high")}
    numbers = {key: rounded(value) for key, value in figures.items() if _is_number(value)}
    if "value" not in numbers:
        return not_measured(f"The {role}'s weights state no AUROC on real radiographs for {name}.")
    note = f"Of the {role} on real radiographs, by their labels."
    return {"value": numbers["value"], "low": numbers.get("low"), "high": numbers.get("high"), "note": note}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
