"""Labels: do the images show what they were asked to show, and what else changed?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xrarchive.records import Status
from xrarchive.validating.material import Material
from xrarchive.validating.scoring import least_bars
from xrarchive.validation.measures import Measure, not_measured
from xrarchive.validation.nuisances import measure_nuisances
from xrarchive.validation.offtarget import measure_subgroups, strata_names
from xrarchive.validation.raters import FILTERED, Rater, measure_raters
from xrarchive.validation.reached import measure_reached, measure_stored
from xrarchive.validation.scored import Films, Scored
from xrarchive.validation.sides import Evidence, Sides
from xrarchive.validation.steering import histogram, measure_asked_and_called, measure_steering, unusable, without


def measure(material: Material) -> dict[str, Any]:
    """See `raters`, `steering`, `offtarget`, `reached` and `nuisances` of `xrarchive.validation`."""
    subject, images, rater = material.subject, material.subject.images, material.rater
    rated = measure_raters(subject, *material.raters)
    for name, more in _steering(material, rater):
        rated["findings"][name] |= more
    if "referee" in rated:
        for name, more in _steering(material, material.raters[1] or rater):
            rated["referee"][name] |= more
    material.on_status(Status(0, 1, "measures", "subgroups, nuisances, scores"))
    for name, groups in _subgroups(material, rater):
        rated["findings"][name]["coverage_by"] = groups
    scored = {role: scores.findings for role, scores in material.scored.by.items()}
    held = evidence(material, rater.role)
    return {
        **rated,
        "held_against": {
            "draws": _described(held.draws),
            "control": _described(held.control),
            "labelled": _described(held.labelled),
            "resamples": material.label_resamples,
        },
        "histograms": {one.name: histogram(one) for one in _sides(material, rater) if not unusable(one)},
        "co_occurrence": measure_asked_and_called(held, rater, seed=subject.seed, resamples=material.label_resamples),
        "reached": _reached(material),
        "stored_scores": measure_stored(images.image_ids, {"guide": images.guide, "judge": images.judge}, scored),
        "nuisances": measure_nuisances(subject.nuisances, subject.findings, images, seed=subject.seed),
    }


def evidence(material: Material, role: str) -> Evidence:
    """What labels are held against where `role` measures: films that it, and for the control the guide, never saw."""
    control = material.guide if isinstance(material.guide, str) else material.real.unseen("guide", role)
    images = material.subject.images
    return Evidence(images.asked, material.scored, material.draws, control, material.real.labelled(role))


def _described(side: Scored | Films | str) -> dict[str, object]:
    """What stood on one side of the measures: how many, and of which set of radiographs."""
    if isinstance(side, str):
        return not_measured(side)
    return {"n": len(side.pixels)} if isinstance(side, Scored) else {"n": len(side), "set": side.name}


def _sides(material: Material, rater: Rater) -> Iterator[Sides]:
    """Each finding that was asked for."""
    found, subject = evidence(material, rater.role), material.subject
    for column, name in enumerate(subject.findings):
        if found.asked[:, column].any():
            yield Sides(name, column, subject.findings, found, rater, subject.seed, material.label_resamples)


def _steering(material: Material, rater: Rater) -> Iterator[tuple[str, dict[str, object]]]:
    barred = material.subject.judge_filtered and rater.role == "judge"
    for one in _sides(material, rater):
        material.on_status(Status(one.column, len(one.findings), "findings", f"{one.name}, {rater.role}"))
        yield one.name, without(FILTERED) if barred else measure_steering(one)


def _subgroups(material: Material, rater: Rater) -> Iterator[tuple[str, dict[str, dict[str, Measure]]]]:
    """In the judge's feature space, whoever measures: it is one of those the subject is measured in anyway."""
    if isinstance(material.guide, str):
        return
    names = strata_names(material.guide.meta.get("nuisance_positive", {}))
    sides = list(_sides(material, rater))
    labelled = sides[0].evidence.labelled if sides else ""
    films = None if isinstance(labelled, str) else material.judge.features(labelled.scored.pixels)
    for one in sides:
        yield one.name, measure_subgroups(one, material.features["judge"], films, names)


def _reached(material: Material) -> Measure:
    subject, images, guide = material.subject, material.subject.images, material.guide
    if isinstance(guide, str):
        return not_measured(guide)
    if material.archive is None:
        return not_measured("Another tool made these images: no guide had to see anything in them.")
    bars = least_bars(guide, subject.findings, material.searches)
    return measure_reached(subject.findings, images.image_ids, images.asked, material.scored.by["guide"].findings, bars)
