"""What synthetic images are worth as training data: scores of small networks come in, AUROC and what is kept go out.

Networks of one recipe learn from *arms*, each as many images, and are measured on films of patients they never saw:

    trtr            real films with their labels: what the others are held to
    tstr            synthetic images, labelled as asked for
    real_synthetic  both together, twice as many
    guide           nothing learned: the scores of the classifier that steered
    pseudo_draws    random draws of the generator, labelled by the guide: what a search has to beat
    pseudo_real     unlabelled real films, labelled by the guide: what a generator has to beat
    trts            the other way round: the networks of trtr, measured on the synthetic images

Excess retention is (AUROC of tstr - 1/2) / (AUROC of trtr - 1/2), macro the ratio of the means over findings. *Why not
the plain ratio*: a set that teaches nothing has an AUROC of 1/2, and so a ratio of about two thirds.

Films of all folds are pooled, since a fold holds too few positives for an AUROC of its own; to that end the logits of
each network are z-scored over the films of the fold. The AUROC of an arm is the mean over its networks, and all arms
are resampled together, by whole patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.estimates import RESAMPLES, Estimate, bootstrap_estimates, divide
from xrarchive.statistics import weighted_auroc
from xrarchive.validation.measures import Measure, measure_estimate, not_measured, rounded

Labels = npt.NDArray[np.float32]
_ByFinding = Mapping[str, Estimate]

TRTR, TSTR, TRTS, BOTH = "trtr", "tstr", "trts", "real_synthetic"
GUIDE, PSEUDO_DRAWS, PSEUDO_REAL = "guide", "pseudo_draws", "pseudo_real"
CONTROLS = (GUIDE, PSEUDO_REAL, PSEUDO_DRAWS)
EXCESS, RATIO, OVER_DRAWS = "excess_retention", "ratio", "tstr_minus_pseudo_draws"
MACRO_MEASURES = (TRTR, TSTR, TRTS, BOTH, *CONTROLS, EXCESS, RATIO, OVER_DRAWS)
FINDING_MEASURES = (TRTR, TSTR, TRTS, BOTH, EXCESS)
MACRO = "macro"
CHANCE = 0.5

_CHANCE_FLOOR = {"value": CHANCE, "note": "What a network that learned nothing scores."}
_NOTES: Mapping[str, str] = {
    TRTR: "AUROC on real films of patients they never saw, of networks that learned from {n} other real films: what "
    "the rest is held to.",
    TSTR: "AUROC on the same real films, of networks that learned from {n} images of this {kind}, labelled as asked "
    "for, where what nobody asked for counts as absent; {caveat}.",
    TRTS: "AUROC on {m} images of this {kind}, with what was asked for as their labels, of the networks that learned "
    "from real films: whether the labels mean here what they mean there; above trtr = findings are more marked here.",
    BOTH: "AUROC on the same real films, of networks that learned from {n} real films and {n} images of this {kind} "
    "together.",
    GUIDE: "AUROC on the same real films of the guide's own scores, of which nothing was learned; {caveat}.",
    PSEUDO_DRAWS: "AUROC on the same real films, of networks that learned from {n} random draws of the generator, each "
    "finding called by the guide on as many as bear it among real films: what a search has to beat; {caveat}.",
    PSEUDO_REAL: "AUROC on the same real films, of networks that learned from {n} unlabelled real films, called by the "
    "guide like the random draws: what a generator has to beat; {caveat}.",
    EXCESS: "AUROC above chance of tstr over that of trtr: 1 = the images teach as much as as many real films, 0 = "
    "nothing; {caveat}.",
    RATIO: "AUROC of tstr over that of trtr, as others print it; images that teach nothing have the floor's, so read "
    "the excess retention.",
    OVER_DRAWS: "AUROC of tstr less that of pseudo_draws: above 0 = for training, the search is worth more than "
    "letting the guide label random draws.",
}


@dataclass(frozen=True)
class Comparison:
    """What `compare` found, by arm and then by finding or `MACRO`.

    Attributes:
        auroc: Mean over the networks of an arm.
        ensemble: AUROC of their mean score.
        retention: Excess of `auroc` over chance, as a share of that of the baseline.
        ratio: `auroc` over that of the baseline.
        differences: By pair of arms: `auroc` of the first less that of the second.
    """

    auroc: dict[str, dict[str, Estimate]]
    ensemble: dict[str, dict[str, Estimate]]
    retention: dict[str, dict[str, Estimate]]
    ratio: dict[str, dict[str, Estimate]]
    differences: dict[tuple[str, str], dict[str, Estimate]]


@dataclass(frozen=True, kw_only=True)
class UtilityScores:
    """Scores of the networks of every arm, and what they are held to.

    Attributes:
        findings: Those to be measured [K].
        scores: By arm, `TRTR` and `TSTR` at least, float64 [S, N, K] on the real films (see `pool`).
        labels: Of the films, [N, K] of 1, 0 and NaN.
        patients: Of the films [N].
        image_scores: Of the networks of `TRTR` on the synthetic images, [S, M, K].
        asked: What those show, [M, K] of 1 and 0.
        learned: Images each arm learned from.
        kind: ``archive`` or ``folder``.
        missing: Why an arm of `CONTROLS` has no scores, by arm.
        unmeasured: Why a finding is not measured, by finding.
        caveat: What the guide knows of the films' patients, to follow a semicolon.
        recipe: What decides the figures.
    """

    findings: tuple[str, ...]
    scores: Mapping[str, Floats]
    labels: Labels
    patients: npt.NDArray[Any]
    image_scores: Floats
    asked: Labels
    learned: int
    kind: str
    missing: Mapping[str, str]
    unmeasured: Mapping[str, str]
    caveat: str
    recipe: Mapping[str, object]


def z_score(logits: npt.ArrayLike) -> Floats:
    """Logits [S, T, K], each network's and finding's with mean 0 and standard deviation 1 over the T films.

    What does not vary becomes 0.
    """
    values = np.asarray(logits, np.float64)
    spread = values.std(axis=1, keepdims=True)
    scored: Floats = (values - values.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    return scored


def pool(folds: Sequence[npt.ArrayLike]) -> Floats:
    """Logits [S, T, K] of each fold, z-scored within it and put one after another: float64 [S, N, K]."""
    return np.concatenate([z_score(logits) for logits in folds], axis=1)


def compare(
    scores: Mapping[str, Floats],
    labels: Labels,
    patients: npt.ArrayLike,
    findings: Sequence[str],
    *,
    differences: Sequence[tuple[str, str]] = (),
    baseline: str = TRTR,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """AUROC of every arm and finding, what is retained and differences, all from the same resamples of patients.

    Args:
        scores: By arm, [S, N, K] of S networks on N films; S may differ between arms.
        labels: [N, K] of 1, 0 and NaN for unknown.
        patients: [N].
        findings: K names.
        differences: Pairs of arms to hold against each other; a pair with an arm that is not there is left out.
        baseline: The arm that the others are a share of.
        resamples: How many.
        seed: Same seed, same intervals.

    Raises:
        ValueError: If the baseline is not among the arms, or shapes differ.
    """
    arms, pairs = tuple(scores), [pair for pair in differences if set(pair) <= set(scores)]
    for arm, values in scores.items():
        if values.ndim != 3 or values.shape[1:] != labels.shape or labels.shape[1] != len(findings):
            raise ValueError(f"{arm}: expected scores [S, {len(labels)}, {len(findings)}], got {list(values.shape)}")
    if baseline not in scores:
        raise ValueError(f"the arm {baseline!r} is missing")

    def statistic(times: Floats) -> Floats:
        single = np.stack([_with_macro(mean_auroc(scores[arm], labels, times)) for arm in arms])
        ensemble = np.stack([_with_macro(mean_auroc(scores[arm].mean(axis=0)[None], labels, times)) for arm in arms])
        real = np.broadcast_to(single[arms.index(baseline)], single.shape)
        parts = [single, ensemble, divide(single - CHANCE, real - CHANCE), divide(single, real)]
        parts += [(single[arms.index(one)] - single[arms.index(other)])[None] for one, other in pairs]
        return np.concatenate(parts).reshape(-1, len(times))

    found = bootstrap_estimates(statistic, [(len(labels), patients)], name="utility", seed=seed, resamples=resamples)
    names = (*findings, MACRO)
    rows = [
        dict(zip(names, found[start : start + len(names)], strict=True)) for start in range(0, len(found), len(names))
    ]
    count = len(arms)
    auroc, ensemble, retention, ratio = (
        dict(zip(arms, rows[start : start + count], strict=True)) for start in range(0, 4 * count, count)
    )
    return Comparison(auroc, ensemble, retention, ratio, dict(zip(pairs, rows[4 * count :], strict=True)))


def mean_auroc(scores: Floats, labels: Labels, times: Floats) -> Floats:
    """AUROC [K, R], the mean over the networks of scores [S, N, K], films counted `times` [R, N]."""
    return np.stack([_column_auroc(scores[:, :, k], labels[:, k], times) for k in range(labels.shape[1])])


def _column_auroc(scores: Floats, labels: Labels, times: Floats) -> Floats:
    known = ~np.isnan(labels)
    if not known.all():
        scores, labels, times = scores[:, known], labels[known], times[:, known]
    mean: Floats = np.mean([weighted_auroc(one, labels == 1, times) for one in scores], axis=0)
    return mean


def _with_macro(aurocs: Floats) -> Floats:
    """[K, R] and under it their mean: [K + 1, R]."""
    return np.concatenate([aurocs, aurocs.mean(axis=0, keepdims=True)])


def measure_utility(tested: UtilityScores, *, seed: int, resamples: int = RESAMPLES) -> dict[str, Any]:
    """`utility` of the report: `macro`, `findings` and `recipe`.

    Args:
        tested: What the networks said.
        seed: Same seed, same intervals.
        resamples: Of patients, and of synthetic images.

    Raises:
        ValueError: As `compare`.
    """
    found = compare(
        tested.scores,
        tested.labels,
        tested.patients,
        tested.findings,
        differences=[(TSTR, PSEUDO_DRAWS)],
        resamples=resamples,
        seed=seed,
    )
    by_measure = {
        **found.auroc,
        TRTS: _on_images(tested, seed, resamples),
        EXCESS: found.retention[TSTR],
        RATIO: found.ratio[TSTR],
        OVER_DRAWS: found.differences.get((TSTR, PSEUDO_DRAWS), {}),
    }
    missing = {
        **tested.missing,
        **({OVER_DRAWS: tested.missing[PSEUDO_DRAWS]} if PSEUDO_DRAWS in tested.missing else {}),
    }
    return {
        "macro": {
            name: not_measured(missing[name]) if name in missing else _measure(name, MACRO, by_measure, tested)
            for name in MACRO_MEASURES
        },
        "findings": {
            **{
                finding: {name: _measure(name, finding, by_measure, tested) for name in FINDING_MEASURES}
                for finding in tested.findings
            },
            **{finding: _without(FINDING_MEASURES, reason) for finding, reason in tested.unmeasured.items()},
        },
        "recipe": dict(tested.recipe),
    }


def no_utility(findings: Sequence[str], reason: str) -> dict[str, Any]:
    """`utility` of the report where nothing could be measured: `reason` in every place."""
    return {
        "macro": _without(MACRO_MEASURES, reason),
        "findings": {finding: _without(FINDING_MEASURES, reason) for finding in findings},
        "recipe": {},
    }


def _without(names: Sequence[str], reason: str) -> dict[str, Measure]:
    return {name: not_measured(reason) for name in names}


def _on_images(tested: UtilityScores, seed: int, resamples: int) -> dict[str, Estimate]:
    """AUROC on the synthetic images, which are independent of each other, by finding and macro."""

    def statistic(times: Floats) -> Floats:
        return _with_macro(mean_auroc(tested.image_scores, tested.asked, times))

    sides = [(len(tested.asked), None)]
    found = bootstrap_estimates(statistic, sides, name="utility on images", seed=seed, resamples=resamples)
    return dict(zip((*tested.findings, MACRO), found, strict=True))


def _measure(
    name: str, finding: str, by_measure: Mapping[str, Mapping[str, Estimate]], tested: UtilityScores
) -> Measure:
    labels = tested.asked if name == TRTS else tested.labels
    columns = range(labels.shape[1]) if finding == MACRO else [tested.findings.index(finding)]
    known = ~np.isnan(labels[:, columns])
    real = by_measure[TRTR][finding]
    kind = "archive" if tested.kind == "archive" else "set"
    note = _NOTES[name].format(n=f"{tested.learned:,}", m=f"{len(tested.asked):,}", kind=kind, caveat=tested.caveat)
    where = "" if finding == MACRO else f" in {finding}"
    return measure_estimate(
        by_measure[name][finding],
        n=int(known.any(axis=1).sum()),
        note=note,
        otherwise=f"Networks that learned from real films do no better than chance{where}: nothing can be retained.",
        floor=_floor(name, real),
        extra=_extra(name, int((labels[:, columns] == 1).sum()), finding, real),
    )


def _floor(name: str, real: Estimate) -> dict[str, object] | None:
    if name == OVER_DRAWS:
        return None
    if name == EXCESS:
        return {"value": 0.0, "note": "What images that teach nothing retain."}
    if name == RATIO:
        return {"value": rounded(CHANCE / real.value), "note": "The ratio of images that teach nothing."}
    return _CHANCE_FLOOR


def _extra(name: str, positives: int, finding: str, real: Estimate) -> dict[str, object]:
    """`positives` of a finding; and for what was learned from images, `ceiling`: what as many real films teach."""
    extra: dict[str, object] = {} if finding == MACRO else {"positives": positives}
    if name == TSTR:
        ends = {end: rounded(getattr(real, end)) for end in ("value", "low", "high")}
        extra["ceiling"] = {**ends, "note": "Networks that learned from as many real films."}
    if name in (EXCESS, RATIO):
        extra["ceiling"] = {"value": 1.0, "note": "Images that teach as much as as many real films."}
    return extra
