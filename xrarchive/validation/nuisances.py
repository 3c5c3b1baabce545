"""What changed besides the findings: view, sex, age and source of the images against the draws they were made from.

The guide's logits of both come in, and for each nuisance and class label goes out how far the search moved it. The
guide measures what the guide steered: an image that fools one of its heads may fool another, and nobody else was asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.estimates import bootstrap_estimates, weighted_mean
from xrarchive.validation.agreement import MINIMUM_PER_SIDE
from xrarchive.validation.columns import ArchiveImages
from xrarchive.validation.measures import Measure, measure_estimate, not_measured

Logits = npt.NDArray[np.float32]


def measure_nuisances(
    names: Sequence[str], findings: Sequence[str], images: ArchiveImages, *, seed: int
) -> dict[str, dict[str, dict[str, object]]]:
    """By nuisance and class label: `drift`, `positive_start`, `positive_end`, and `coverage_by_stratum`.

    Args:
        names: The nuisances [J].
        findings: The vocabulary [K].
        images: The archive's rows.
        seed: Same seed, same intervals.

    Returns:
        Measures, but for `coverage_by_stratum`: {"start" or "end": {"negative", "positive": number of images}}.
    """
    labels = sorted(set(images.labels.tolist()))
    return {
        name: {
            findings[label]: _moved(
                name,
                findings[label],
                images.start_nuisances[images.labels == label, j],
                images.nuisances[images.labels == label, j],
                seed,
            )
            for label in labels
        }
        for j, name in enumerate(names)
    }


def _moved(name: str, label: str, start: Logits, end: Logits, seed: int) -> dict[str, object]:
    strata = {"start": _strata(start), "end": _strata(end)}
    names = ("drift", "positive_start", "positive_end")
    if reason := _unusable(name, label, start, end):
        return {**{key: not_measured(reason) for key in names}, "coverage_by_stratum": strata}
    numbers = (end.astype(np.float64) - start, start > 0, end > 0)

    def statistic(times: Floats) -> Floats:
        return np.stack([weighted_mean(values, times) for values in numbers])

    found = bootstrap_estimates(statistic, [(len(end), None)], name="nuisances", seed=seed)
    own = "measured by the guide's own head"
    notes = (
        f"Mean logit of {name} of the images labelled {label} minus that of the draws they started from, {own}: 0 = "
        "the search left it alone.",
        f"Share of the draws behind the images labelled {label} that are called positive in {name} (logit > 0), {own}.",
        f"Share of the images labelled {label} that are called positive in {name} (logit > 0), {own}.",
    )
    measures: dict[str, Measure] = {
        key: measure_estimate(estimate, n=len(end), note=note, otherwise="")
        for key, estimate, note in zip(names, found, notes, strict=True)
    }
    return {**measures, "coverage_by_stratum": strata}


def _strata(logits: Logits) -> dict[str, int]:
    positive = int((logits > 0).sum())
    return {"negative": len(logits) - positive, "positive": positive}


def _unusable(name: str, label: str, start: Logits, end: Logits) -> str | None:
    if len(end) < MINIMUM_PER_SIDE:
        return f"Drift needs {MINIMUM_PER_SIDE} images labelled {label}; there are {len(end)}."
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        return f"Some logits of {name} are no numbers."
    return None
