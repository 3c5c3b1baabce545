"""What steering did, by finding, as a rater that steered nothing sees it: all measures beside its agreement.

Scores of the images, of random draws of the generator and of real films come in; what goes out stands in the report
beside the AUROC of each finding:

    transfer, dose, exaggeration    beside real films that the guide puts into the same box (`strength`)
    sensitivity, specificity        of the rater's calls on what was asked, beside those on real films
    guide_gap, off_target, view     what guide and rater disagree on, and what moved besides (`offtarget`)
    within                          agreement and transfer among images of one view
"""

from __future__ import annotations

import numpy as np

from xrarchive.bootstrap import Floats
from xrarchive.estimates import RESAMPLES
from xrarchive.statistics import to_logit, to_probability
from xrarchive.validation.agreement import MINIMUM_PER_SIDE
from xrarchive.validation.cooccurrence import co_occurrence_distance, co_occurrence_estimate
from xrarchive.validation.measures import Measure, measure_estimate, not_measured, rounded
from xrarchive.validation.offtarget import measure_gap, measure_off_target, measure_view
from xrarchive.validation.raters import Rater
from xrarchive.validation.scored import Films, Flags, Scored
from xrarchive.validation.sides import CHANCE, VIEWS, Evidence, Sides, auroc_between, auroc_measure, mean_measure
from xrarchive.validation.strength import measure_strength, measure_transfer

STEERING = ("transfer", "dose", "exaggeration", "sensitivity", "specificity", "guide_gap", "off_target", "view")
# Bars of a histogram of probabilities.
_BARS = 20


def measure_steering(one: Sides) -> dict[str, object]:
    """`STEERING` and `within` of a finding, or the reason why not in each place."""
    if reason := unusable(one):
        return without(reason)
    return {
        "transfer": measure_transfer(one),
        **measure_strength(one),
        "sensitivity": _called(one, wanted=True),
        "specificity": _called(one, wanted=False),
        "guide_gap": measure_gap(one),
        "off_target": measure_off_target(one),
        "view": measure_view(one),
        "within": {view: _within(one, view) for view in VIEWS},
    }


def unusable(one: Sides) -> str | None:
    """Why nothing can be said of a finding, None if it can."""
    if np.isnan(one.logits(one.images)).any():
        return f"The {one.role} gives no score for {one.name}."
    if (count := int(one.asked.sum())) < MINIMUM_PER_SIDE:
        return f"What steering did needs {MINIMUM_PER_SIDE} images where {one.name} was asked for; there are {count}."
    return None


def without(reason: str) -> dict[str, object]:
    """The same sentence in every place."""
    nothing = not_measured(reason)
    return {**dict.fromkeys(STEERING, nothing), "within": {view: _of_view(nothing, nothing) for view in VIEWS}}


def measure_asked_and_called(evidence: Evidence, rater: Rater, *, seed: int, resamples: int = RESAMPLES) -> Measure:
    """Distance between the co-occurrence of what was asked and of what the rater calls, in the same images.

    `floor`: the same distance between labels and calls of real films: what the rater's errors alone come to.
    """
    known = ~np.isnan(rater.thresholds) & np.isfinite(evidence.images.by[rater.role].findings).all(axis=0)
    if known.sum() < 2:
        return not_measured(f"The {rater.role} calls fewer than two of the findings.")
    found = co_occurrence_estimate(
        evidence.asked[:, known], calls(evidence.images, rater)[:, known], paired=True, seed=seed, resamples=resamples
    )
    labelled, floor = evidence.labelled, None
    if not isinstance(labelled, str):
        floor = _labels_and_calls(labelled, rater, known)
    return measure_estimate(
        found,
        n=len(evidence.asked),
        note=f"How much the chance of a second finding, given a first, differs between what was asked and what the "
        f"{rater.role} calls, on average.",
        otherwise=f"No finding that was asked for is called by the {rater.role}.",
        floor=floor,
    )


def calls(images: Scored, rater: Rater) -> Flags:
    """What the rater calls: bool [N, K]; False where it has no threshold or no score."""
    thresholds = to_logit(np.where(np.isnan(rater.thresholds), 0.5, rater.thresholds))
    thresholds[np.isnan(rater.thresholds)] = np.inf
    with np.errstate(invalid="ignore"):
        called: Flags = images.by[rater.role].findings >= thresholds
    return called


def histogram(one: Sides) -> dict[str, list[float] | list[int]]:
    """The rater's probabilities of a finding, counted: images asked, the others, real films with the label."""
    edges = np.linspace(0, 1, _BARS + 1)
    probabilities = to_probability(one.logits(one.images))
    sides: dict[str, Floats] = {"asked": probabilities[one.asked], "not_asked": probabilities[~one.asked]}
    labelled = one.evidence.labelled
    if not isinstance(labelled, str):
        rows = labelled.labels[:, one.column] == 1
        sides["real"] = to_probability(one.logits(labelled.scored)[rows])
    counts = {name: np.histogram(values, edges)[0].tolist() for name, values in sides.items()}
    return {"edges": [round(float(edge), 4) for edge in edges], **counts}


def _called(one: Sides, *, wanted: bool) -> Measure:
    """Share of the images asked that the rater calls, or of the others that it does not."""
    rows = one.asked if wanted else ~one.asked
    if np.isnan(one.rater.thresholds[one.column]):
        return not_measured(f"The {one.role} has no operating threshold for {one.name}.")
    if rows.sum() < MINIMUM_PER_SIDE:
        other = "asked" if wanted else "not asked"
        return not_measured(
            f"Calls need {MINIMUM_PER_SIDE} images {other} to show {one.name}; there are {int(rows.sum())}."
        )
    called = calls(one.images, one.rater)[rows, one.column]
    note = (
        f"Share of the images asked to show {one.name} that the {one.role} calls."
        if wanted
        else f"Share of the images not asked to show {one.name} that the {one.role} does not call; some may show it "
        "all the same."
    )
    return mean_measure(one, called if wanted else ~called, note, ceiling=_really_called(one, wanted=wanted))


def _really_called(one: Sides, *, wanted: bool) -> dict[str, object] | None:
    counts = one.rater.figures.get(one.name, {}).get("calls")
    if not counts:
        return None
    right, wrong = (counts["tp"], counts["fn"]) if wanted else (counts["tn"], counts["fp"])
    if not right + wrong:
        return None
    note = f"Of the {one.role} on real films, by their labels."
    return {"value": rounded(right / (right + wrong)), "n": right + wrong, "note": note}


def _within(one: Sides, view: str) -> dict[str, Measure]:
    if "view" not in one.images.by[one.role].nuisances:
        nothing = not_measured(f"The {one.role} does not know the view.")
        return _of_view(nothing, nothing)
    rows, logits = one.in_view(one.images, view), one.logits(one.images)
    asked, others = logits[rows & one.asked], logits[rows & ~one.asked]
    if min(len(asked), len(others)) < MINIMUM_PER_SIDE:
        found = not_measured(
            f"Agreement within {view} needs {MINIMUM_PER_SIDE} images of {one.name} and as many others; there are "
            f"{len(asked)} and {len(others)}."
        )
    else:
        note = (
            f"AUROC of the {one.role} for images asked to show {one.name} against those where it was not asked, among "
            f"those it sees as {view}."
        )
        interval = auroc_between(asked, others, seed=one.seed, resamples=one.resamples)
        found = auroc_measure(interval, note, floor=CHANCE, ceiling=_really_within(one, view))
    return _of_view(found, measure_transfer(one, view))


def _of_view(auroc: Measure, transfer: Measure) -> dict[str, Measure]:
    return {"auroc": auroc, "transfer": transfer}


def _really_within(one: Sides, view: str) -> dict[str, object] | None:
    found = one.rater.figures.get(one.name, {}).get("within", {}).get(view)
    if not found:
        return None
    note = f"Of the {one.role} on real {view} films, by their labels."
    return {**{key: found[key] for key in ("value", "low", "high", "n")}, "note": note}


def _labels_and_calls(labelled: Films, rater: Rater, known: Flags) -> dict[str, object] | None:
    whole = np.flatnonzero(~np.isnan(labelled.labels[:, known]).any(axis=1))
    if not len(whole):
        return None
    films = labelled.rows(whole)
    distance = co_occurrence_distance(films.labels[:, known] == 1, calls(films.scored, rater)[:, known])
    if np.isnan(distance):
        return None
    note = f"Between labels and calls of real films: what the {rater.role}'s errors come to."
    return {"value": rounded(distance), "n": len(films), "note": note}
