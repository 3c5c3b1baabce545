"""What moved besides the finding that was asked for, and on what do guide and rater disagree?

One finding with its sides comes in, measures go out: the gap between the probabilities of guide and rater, the change
of findings that were not asked, the view, and which subgroups of real films the images reach.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats, make_rng
from xrarchive.estimates import bootstrap_estimates
from xrarchive.statistics import to_probability
from xrarchive.validation.agreement import MINIMUM_PER_SIDE
from xrarchive.validation.coverage import manifold
from xrarchive.validation.diversity import IMAGES_NEEDED
from xrarchive.validation.measures import Measure, measure_estimate, not_measured, rounded
from xrarchive.validation.scored import Flags, Logits, Scored
from xrarchive.validation.sides import ACCEPTED, Sides, auroc_between, auroc_measure, mean_measure

Features = npt.NDArray[np.floating]

_NO_GUIDE = "The guide is not at hand: name it with --guide FILE."


def measure_gap(one: Sides) -> Measure:
    """Mean probability of the guide less that of the rater, of images asked; `floor`: of the control."""
    if "guide" not in one.images.by:
        return not_measured(_NO_GUIDE)
    asked = one.images.rows(one.asked)
    if np.isnan(asked.by["guide"].findings[:, one.column]).any():
        return not_measured(f"The guide gives no score for {one.name}.")
    chosen, floor = one.accepted(), None
    if chosen is not None:
        gap = float(_gap(one, chosen.scored).mean())
        floor = {"value": rounded(gap), "n": len(chosen), "note": f"Of {ACCEPTED}."}
    note = (
        f"Mean probability of the guide less that of the {one.role} for images asked to show {one.name}: steering "
        "raises the one more than the other."
    )
    return mean_measure(one, _gap(one, asked), note, floor=floor)


def measure_off_target(one: Sides) -> Measure:
    """How far the other findings moved against random draws, in images where they were not asked.

    Value: the mean over other findings of |mean over images - mean over draws| / sd over draws, of the rater's logits;
    `floor`: the same of the control against films at large. `by_finding` has both with their signs.
    """
    draws = one.evidence.draws
    if isinstance(draws, str):
        return not_measured(draws)
    others = _others(one, draws)
    if not others:
        return not_measured(f"No other finding was left unasked in the images of {one.name}.")
    asked = one.scores(one.images)[one.asked][:, others]
    free = ~one.evidence.asked[one.asked][:, others]
    random = one.scores(draws)[:, others]

    def statistic(asked_times: Floats, random_times: Floats) -> Floats:
        distances: Floats = np.abs(_moved(asked, free, random, asked_times, random_times)).mean(axis=0)[None]
        return distances

    sides = [(len(asked), None), (len(random), None)]
    found = bootstrap_estimates(statistic, sides, name="off target", seed=one.seed, resamples=one.resamples)[0]
    changes = _moved(asked, free, random, np.ones((1, len(asked))), np.ones((1, len(random))))[:, 0]
    real = _really_moved(one, others)
    floor = None
    if real is not None:
        note = f"Of {ACCEPTED}, against films at large: what goes along with {one.name} in reality."
        floor = {"value": rounded(float(np.abs(real).mean())), "note": note}
    return measure_estimate(
        found,
        n=len(asked),
        note=f"How far the {one.role}'s logits of findings not asked lie from those of random draws in images asked to "
        f"show {one.name}: mean distance, in standard deviations of the draws.",
        otherwise="",
        floor=floor,
        extra={"by_finding": _by_finding([one.findings[other] for other in others], changes, real)},
    )


def measure_view(one: Sides) -> Measure:
    """How well the view, as the rater sees it, tells the images from random draws."""
    draws = one.evidence.draws
    if isinstance(draws, str):
        return not_measured(draws)
    sides = [side.by[one.role].nuisances for side in (one.images.rows(one.asked), draws)]
    if not all("view" in seen for seen in sides):
        return not_measured(f"The {one.role} does not know the view.")
    found = auroc_between(*(seen["view"] for seen in sides), seed=one.seed, resamples=one.resamples)
    note = (
        f"AUROC of telling images asked to show {one.name} from random draws by the {one.role}'s view alone: above the "
        "floor more of them are AP, below it PA."
    )
    return auroc_measure(found, note, floor={"value": 0.5, "note": "The view was left alone."})


def measure_subgroups(
    one: Sides, images: Features, films: Features | None, names: Mapping[str, tuple[str, str]]
) -> dict[str, dict[str, Measure]]:
    """By nuisance and side of it: coverage of the real films of the finding there, by the images asked to show it.

    Both sides of a nuisance are measured at one N, since coverage depends on it: as many films of each, and as many
    images, drawn at random from all those of the finding. Strata are those the guide's heads see.

    Args:
        one: The finding and its sides.
        images: float [N, D], features of the images.
        films: float [M, D], of the labelled films in the same space; None if there are none.
        names: By nuisance what its positive and its negative side are called: `{"view": ("AP", "PA")}`.
    """
    labelled = one.evidence.labelled
    if isinstance(labelled, str) or films is None:
        reason = labelled if isinstance(labelled, str) else "There are no films with labels."
        return {name: dict.fromkeys(sides, not_measured(reason)) for name, sides in names.items()}
    if "guide" not in one.images.by:
        return {name: dict.fromkeys(sides, not_measured(_NO_GUIDE)) for name, sides in names.items()}
    with_it = labelled.labels[:, one.column] == 1
    own = one.images.rows(one.asked).by["guide"].nuisances
    seen = labelled.rows(with_it).scored.by["guide"].nuisances
    return {
        name: _subgroup(
            one, sides, images[one.asked], films[with_it], own[name] > 0, seen[name] > 0, labelled.patients[with_it]
        )
        for name, sides in names.items()
    }


def strata_names(meanings: Mapping[str, str | int]) -> dict[str, tuple[str, str]]:
    """What the positive and the negative side of a guide's nuisances are called, from what its trainer recorded."""
    named = {"AP": "PA", "M": "F"}
    return {
        name: (f"from {meaning}", f"under {meaning}")
        if isinstance(meaning, int)
        else (meaning, named.get(meaning, f"not {meaning}"))
        for name, meaning in meanings.items()
    }


def _subgroup(
    one: Sides,
    names: tuple[str, str],
    images: Features,
    films: Features,
    own: Flags,
    seen: Flags,
    patients: npt.NDArray[np.str_],
) -> dict[str, Measure]:
    count = min(len(images), int(seen.sum()), int((~seen).sum()))
    if count < IMAGES_NEEDED:
        reason = (
            f"Coverage by subgroup needs {IMAGES_NEEDED} images and as many films with {one.name} on each side; there "
            f"are {len(images)}, {int(seen.sum())} and {int((~seen).sum())}."
        )
        return dict.fromkeys(names, not_measured(reason))
    found: dict[str, Measure] = {}
    for name, rows, share in zip(names, (seen, ~seen), (own, ~own), strict=True):
        rng = make_rng(one.seed, "subgroups", one.name, name)
        chosen = np.sort(rng.choice(np.flatnonzero(rows), count, replace=False))
        picked = np.sort(rng.choice(len(images), count, replace=False))
        overlap = manifold(
            films[chosen], images[picked], groups=patients[chosen], seed=one.seed, resamples=one.resamples
        )
        found[name] = measure_estimate(
            overlap.coverage,
            n=count,
            note=f"Share of the real {name} films with {one.name} that images asked to show it come near, at one N for "
            "both sides; strata as the guide sees them.",
            otherwise="",
            extra={"share": rounded(float(share.mean())), "real_share": rounded(float(rows.mean()))},
        )
    return found


def _gap(one: Sides, images: Scored) -> Floats:
    guide, rater = (images.by[role].findings[:, one.column] for role in ("guide", one.role))
    return to_probability(guide) - to_probability(rater)


def _others(one: Sides, draws: Scored) -> list[int]:
    """Findings not asked in enough of the images, which the rater knows."""
    images, random = one.scores(one.images), one.scores(draws)
    unasked = (one.asked[:, None] & ~one.evidence.asked).sum(axis=0)
    return [
        other
        for other in range(len(one.findings))
        if other != one.column
        and unasked[other] >= MINIMUM_PER_SIDE
        and np.isfinite(images[:, other]).all()
        and random[:, other].std() > 0
    ]


def _moved(images: Logits, free: Flags, random: Logits, images_times: Floats, random_times: Floats) -> Floats:
    """(mean of images where free - mean of random) / sd of random, in each resample: [O, R]."""
    weights = [images_times * flags for flags in free.T]
    ours = np.stack([w @ column / w.sum(axis=1).clip(1) for w, column in zip(weights, images.T, strict=True)])
    totals = random_times.sum(axis=1)
    values = random.astype(np.float64)
    means = (random_times @ values / totals[:, None]).T
    squares = (random_times @ values**2 / totals[:, None]).T
    found: Floats = (ours - means) / np.sqrt(np.maximum(squares - means**2, 1e-12))
    return found


def _really_moved(one: Sides, others: list[int]) -> Floats | None:
    control, chosen = one.evidence.control, one.accepted()
    if isinstance(control, str) or chosen is None:
        return None
    ours, all_films = (one.scores(films.scored)[:, others] for films in (chosen, control))
    everywhere = np.ones(ours.shape, np.bool_)
    found: Floats = _moved(ours, everywhere, all_films, np.ones((1, len(ours))), np.ones((1, len(all_films))))[:, 0]
    return found


def _by_finding(names: list[str], changes: Floats, real: Floats | None) -> dict[str, dict[str, float]]:
    return {
        name: {"images": rounded(float(change)), **({} if real is None else {"films": rounded(float(real[place]))})}
        for place, (name, change) in enumerate(zip(names, changes, strict=True))
    }
