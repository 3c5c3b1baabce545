"""Does steering carry over to a rater that steered nothing, and how strongly? `labels` has the formulas.

One finding with its sides comes in, measures go out: transfer, dose and exaggeration, each beside the control, which is
what the guide does to real films: what it accepts of those is as far as steering can be held to.
"""

from __future__ import annotations

from typing import Any

from xrarchive.validation import labels
from xrarchive.validation.measures import Measure, as_bound, measure_estimate, not_measured
from xrarchive.validation.scored import Films
from xrarchive.validation.sides import ACCEPTED, CHANCE, MINIMUM_COMPARED, Sides

STRENGTH = ("dose", "exaggeration")

_NO_EXCESS = {"value": 0.0, "note": "As many as among real films."}


def measure_transfer(one: Sides, view: str | None = None) -> Measure:
    """How much of the steering reaches the rater, of all images or of those it sees in one view."""
    draws, control = one.evidence.draws, one.evidence.control
    if isinstance(draws, str) or isinstance(control, str):
        return not_measured(draws if isinstance(draws, str) else str(control))
    images = one.images.rows(one.asked)
    if view is not None:
        images, draws = (side.rows(one.in_view(side, view)) for side in (images, draws))
        control = control.rows(one.in_view(control.scored, view))
    accepted = control.accepted[:, one.column]
    counts = len(images.pixels), len(draws.pixels), int(accepted.sum())
    if min(counts) < MINIMUM_COMPARED:
        among = "" if view is None else f" among those the {one.role} sees as {view}"
        return not_measured(
            f"Transfer of {one.name} needs {MINIMUM_COMPARED} images, random draws and films that the guide "
            f"accepts{among}; there are {counts[0]}, {counts[1]} and {counts[2]}."
        )
    steered, random, real = (one.logits(side) for side in (images, draws, control.scored))
    found = labels.transfer(steered, random, real, accepted, groups=control.patients, **_how(one))
    return _told_transfer(one, found, counts[0], counts[2])


def measure_strength(one: Sides) -> dict[str, Measure]:
    """`STRENGTH`, each beside that of the control."""
    labelled = one.evidence.labelled
    if isinstance(labelled, str):
        return dict.fromkeys(STRENGTH, not_measured(labelled))
    truth = labelled.labels[:, one.column]
    positive, negative = labelled.rows(truth == 1), labelled.rows(truth == 0)
    if min(len(positive), len(negative)) < MINIMUM_COMPARED:
        reason = (
            f"How strongly {one.name} shows needs {MINIMUM_COMPARED} films with the label and as many without; there "
            f"are {len(positive)} and {len(negative)}."
        )
        return dict.fromkeys(STRENGTH, not_measured(reason))
    chosen = one.accepted()
    return {"dose": _dose(one, positive, negative, chosen), "exaggeration": _exaggeration(one, positive, chosen)}


def _told_transfer(one: Sides, found: labels.Transfer, count: int, accepted: int) -> Measure:
    role = one.role
    ranked = (
        f"AUROC of the {role} for images asked to show {one.name} against random draws; `ceiling` is that for films."
    )
    control = as_bound(found.control, accepted, f"Of {ACCEPTED} against all films.")
    extra = {
        "ceiling": {"value": 1.0, "note": f"Steering shows the {role} as much as choosing among real films does."},
        "auroc": measure_estimate(
            found.synthetic, n=count, note=ranked, otherwise="", floor=CHANCE, extra={"ceiling": control}
        ),
    }
    return measure_estimate(
        found.transfer,
        n=count,
        note=f"How far the {role} tells images asked to show {one.name} from random draws, over how far it tells films "
        "the guide accepts from films at large (excess of both AUROCs over chance).",
        otherwise=f"The {role} does not rank the films that the guide accepts for {one.name} above films at large: "
        "they look at different things, and no steering can be held to that.",
        floor={"value": 0.0, "note": f"Steering that the {role} does not see."},
        extra=extra,
    )


def _dose(one: Sides, positive: Films, negative: Films, chosen: Films | None) -> Measure:
    sides = one.logits(positive.scored), one.logits(negative.scored)
    how = {"positive_groups": positive.patients, "negative_groups": negative.patients, **_how(one)}
    found = labels.dose(one.logits(one.images)[one.asked], *sides, **how)
    extra: dict[str, object] = {}
    if chosen is not None and found.defined:
        beside = labels.dose(one.logits(chosen.scored), *sides, asked_groups=chosen.patients, **how)
        extra["ceiling"] = as_bound(beside, len(chosen), f"Of {ACCEPTED}.")
    return measure_estimate(
        found,
        n=int(one.asked.sum()),
        note=f"Mean logit of the {one.role} for images asked to show {one.name}, where real films without it have 0 "
        "and real films with it have 1.",
        otherwise=f"The {one.role} does not score real films with {one.name} above those without.",
        floor={"value": 0.0, "note": f"Real films without {one.name}."},
        extra=extra,
    )


def _exaggeration(one: Sides, positive: Films, chosen: Films | None) -> Measure:
    asked, marked = one.logits(one.images)[one.asked], one.logits(positive.scored)
    how = {"positive_groups": positive.patients, **_how(one)}
    extra: dict[str, object] = {}
    if chosen is not None:
        films = one.logits(chosen.scored)
        beside = labels.exaggeration(films, marked, asked_groups=chosen.patients, **how)
        excess = labels.exaggeration_excess(asked, films, marked, control_groups=chosen.patients, **how)
        extra["ceiling"] = as_bound(beside, len(chosen), f"Of {ACCEPTED}.")
        extra["excess"] = measure_estimate(
            excess, n=len(asked), note="That share less that of the same films.", otherwise="", floor=_NO_EXCESS
        )
    return measure_estimate(
        labels.exaggeration(asked, marked, **how),
        n=len(asked),
        note=f"Share of the images asked to show {one.name} that the {one.role} scores above "
        f"{100 * labels.EXAGGERATED_ABOVE:.0f} % of the real films with it: more than the ceiling is a caricature.",
        otherwise="",
        extra=extra,
    )


def _how(one: Sides) -> dict[str, Any]:
    return {"seed": one.seed, "resamples": one.resamples}
