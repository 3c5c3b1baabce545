"""How far labels can be trusted, by a classifier that steered nothing: agreement, and how many images show the finding.

The archive's rows and a `Rater` come in; what goes out is `labels` of the report. The rater's real side is in its
weight file: its cross-fitted AUROC, and how often it called what on radiographs with known labels.

*Why a rater may be barred*: where the judge chose the images, every image it would have faulted is gone, and what is
left agrees with it by construction. Then only a third classifier, the referee, can say anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.errors import InputDataError
from xrarchive.estimates import Estimate, bootstrap_estimates, weighted_mean
from xrarchive.validation.agreement import MINIMUM_PER_SIDE, measure_agreement
from xrarchive.validation.columns import ArchiveImages
from xrarchive.validation.measures import Measure, measure_estimate, not_measured, rounded
from xrarchive.validation.purity import rogan_gladen, score_mixture
from xrarchive.validation.subject import Subject

# Those who mined the labels of ChestX-ray14 from reports expect more than 90 % to be right (arXiv 1705.02315).
LABEL_NOISE = 0.1
_NOISE_TEXT = f"{100 * LABEL_NOISE:.0f} %"

PURITY = ("rogan_gladen", "score_mixture", "soft", "with_10pct_label_noise")

FILTERED = (
    "The judge chose the images of this archive (judge_filter), so it cannot measure them: validate with --referee "
    "FILE, a third classifier."
)


@dataclass(frozen=True)
class Rater:
    """A classifier that measures labels, as far as validation needs to know it.

    Attributes:
        role: ``judge`` or ``referee``.
        sha256: Of its weights.
        scores: float [N, K], its probabilities for the archive's images; a column of NaN where it knows no finding.
        thresholds: float [K], its operating points as probabilities; NaN = cannot be called.
        figures: By finding what its weight file says of real radiographs: `cross_fitted` AUROC, and `calls`.
    """

    role: str
    sha256: str
    scores: npt.NDArray[np.floating]
    thresholds: npt.NDArray[np.floating]
    figures: Mapping[str, Mapping[str, Any]]

    @property
    def real_agreement(self) -> dict[str, Mapping[str, object]]:
        """Its cross-fitted AUROC on real radiographs per finding, where there is one."""
        return {name: found["cross_fitted"] for name, found in self.figures.items() if found.get("cross_fitted")}


@dataclass(frozen=True)
class _Calls:
    """Calls of a rater on real radiographs: true and false positives and negatives."""

    tp: int
    fn: int
    fp: int
    tn: int

    @property
    def prevalence(self) -> float:
        return (self.tp + self.fn) / (self.tp + self.fn + self.fp + self.tn)

    @property
    def sensitivity(self) -> float:
        return self.tp / (self.tp + self.fn)

    @property
    def specificity(self) -> float:
        return self.tn / (self.fp + self.tn)

    def arrays(self) -> tuple[npt.NDArray[np.bool_], Floats]:
        """Calls and labels, a row for each radiograph."""
        counts = (self.tp, self.fn, self.fp, self.tn)
        return np.repeat([True, False, True, False], counts), np.repeat([1.0, 1.0, 0.0, 0.0], counts)


def measure_raters(subject: Subject, judge: Rater, referee: Rater | None) -> dict[str, Any]:
    """`labels` of the report, as judge and referee have it.

    Args:
        subject: What is validated.
        judge: Who measures, unless it chose the images; its scores are those of the archive.
        referee: Who measures beside it, or alone if the judge may not; None = nobody.

    Returns:
        `by` (the role that measured `findings`), `raters` (their weights), `findings` and, if a referee measured beside
        the judge, `referee`: both as `measure_labels` gives them.

    Raises:
        InputDataError: If a judge that knows a finding did not score every image.
        ValueError: If shapes differ.
    """
    _require_scores(subject, judge, referee)
    by_rater = {
        rater.role: measure_labels(
            subject.findings, subject.images, rater, filtered=subject.judge_filtered, seed=subject.seed
        )
        for rater in (judge, referee)
        if rater is not None
    }
    by = "referee" if subject.judge_filtered and referee is not None else "judge"
    return {
        "by": by,
        "raters": {rater.role: {"sha256": rater.sha256} for rater in (judge, referee) if rater is not None},
        "findings": by_rater[by],
        **({"referee": by_rater["referee"]} if by != "referee" and referee is not None else {}),
    }


def measure_labels(
    findings: Sequence[str], images: ArchiveImages, rater: Rater, *, filtered: bool, seed: int
) -> dict[str, Measure]:
    """For every finding asked for: agreement, with `purity` beside it.

    Args:
        findings: The vocabulary [K].
        images: The archive's rows.
        rater: Who measures.
        filtered: Whether the judge chose the images: then it measures nothing.
        seed: Same seed, same intervals.

    Returns:
        By finding a measure (see `measure_agreement`) with a key `purity`: a measure for each of `PURITY`.
    """
    if filtered and rater.role == "judge":
        asked = [name for k, name in enumerate(findings) if images.asked[:, k].any()]
        return {name: not_measured(FILTERED) | {"purity": _without(FILTERED)} for name in asked}
    agreement = measure_agreement(
        findings, images.asked, rater.scores, rater.real_agreement, role=rater.role, seed=seed
    )
    soft = FILTERED if filtered else None if rater.role == "judge" else _of_others(rater)
    return {
        name: {**found, "purity": _purity(name, findings.index(name), images, rater, soft, seed)}
        for name, found in agreement.items()
    }


def _require_scores(subject: Subject, judge: Rater, referee: Rater | None) -> None:
    image_ids, findings = subject.images.image_ids, subject.findings
    expected = len(image_ids), len(findings)
    for rater in (judge, referee):
        if rater is not None and (rater.scores.shape != expected or rater.thresholds.shape != expected[1:]):
            raise ValueError(
                f"expected scores {expected} of the {rater.role} and a threshold for each finding, got "
                f"{rater.scores.shape} and {rater.thresholds.shape}"
            )
    missing = np.isnan(judge.scores)
    holes = missing.any(axis=0) & ~missing.all(axis=0)
    if holes.any():
        column = int(np.flatnonzero(holes)[0])
        rows = missing[:, column]
        raise InputDataError(
            f"judge_{findings[column]} is empty in {int(rows.sum())} of {rows.size} images, the first is "
            f"{image_ids[int(np.flatnonzero(rows)[0])]}.",
            fix="Build the archive again; the judge scores every image or knows nothing of the finding.",
        )


def _purity(
    name: str, column: int, images: ArchiveImages, rater: Rater, no_soft: str | None, seed: int
) -> dict[str, Measure]:
    asked = rater.scores[images.asked[:, column], column]
    calls = _real_calls(name, asked, rater.thresholds[column], rater)
    measures = _without(calls) if isinstance(calls, str) else _rated(name, asked, rater, column, calls, seed)
    own = images.soft[images.labels == column]
    return {**measures, "soft": not_measured(no_soft) if no_soft else _soft(name, own, seed)}


def _real_calls(name: str, asked: npt.NDArray[np.floating], threshold: np.floating[Any], rater: Rater) -> _Calls | str:
    """What the rater does on real radiographs, or why that does not help here."""
    role, figures = rater.role, rater.figures.get(name, {})
    if np.isnan(asked).any():
        return f"The {role} gives no score for {name}."
    if len(asked) < MINIMUM_PER_SIDE:
        return f"Purity needs {MINIMUM_PER_SIDE} images where {name} was asked for; there are {len(asked)}."
    if "calls" not in figures:
        return f"The {role}'s weights do not say how it calls {name} on real radiographs: they are of an older version."
    if figures["calls"] is None or np.isnan(threshold):
        return f"The {role} has no operating threshold for {name}: it saw too few examples."
    calls = _Calls(**figures["calls"])
    if not (calls.tp + calls.fn and calls.fp + calls.tn):
        return f"The {role}'s weights count no radiographs both with and without {name}."
    return calls


def _rated(
    name: str, asked: npt.NDArray[np.floating], rater: Rater, column: int, calls: _Calls, seed: int
) -> dict[str, Measure]:
    role, real = rater.role, calls.arrays()
    called = asked >= rater.thresholds[column]
    corrected = rogan_gladen(called, *real, seed=seed)
    noisy = rogan_gladen(called, *real, label_noise=LABEL_NOISE, seed=seed)
    mixture = score_mixture(asked, calls.prevalence, seed=seed)
    floor = {"value": rounded(calls.prevalence), "note": f"Share of the real radiographs labelled {name}."}
    extra = {
        "called": rounded(float(called.mean())),
        "sensitivity": rounded(calls.sensitivity),
        "specificity": rounded(calls.specificity),
    }

    def entry(found: Estimate, note: str, otherwise: str, extra: Mapping[str, object] | None = None) -> Measure:
        return measure_estimate(found, n=len(asked), note=note, otherwise=otherwise, floor=floor, extra=extra)

    share = f"Share of the images asked to show {name} that show it"
    by_calls = (
        f"{share}, from the {role}'s calls corrected by their sensitivity and specificity on real radiographs, whose "
        "rows are taken as independent; an upper bound, since it supposes errors independent of the guide's"
    )
    useless = (
        f"The {role}'s calls tell nothing of {name}: on real radiographs sensitivity {calls.sensitivity:.2f} and "
        f"specificity {calls.specificity:.2f} add up to no more than 1."
    )
    return {
        "rogan_gladen": entry(corrected, f"{by_calls}.", useless, extra),
        "score_mixture": entry(
            mixture,
            f"{share}, as the prior under which the {role}'s calibrated probabilities add up, taking them to be as "
            "well calibrated on these images as on real radiographs.",
            f"The {role} gives every image the share of {name} among real radiographs, which says nothing.",
        ),
        "with_10pct_label_noise": entry(
            noisy,
            f"{by_calls}, if {_NOISE_TEXT} of the real labels were wrong, at random.",
            _too_noisy(name, calls),
        ),
    }


def _too_noisy(name: str, calls: _Calls) -> str:
    if LABEL_NOISE < calls.prevalence < 1 - LABEL_NOISE:
        return f"Were {_NOISE_TEXT} of the real labels wrong, the calls for {name} would tell nothing."
    return (
        f"{100 * calls.prevalence:.1f} % of the real radiographs are labelled {name}: were {_NOISE_TEXT} of all labels "
        "wrong, errors alone could account for that."
    )


def _soft(name: str, values: npt.NDArray[np.float32], seed: int) -> Measure:
    if len(values) < MINIMUM_PER_SIDE:
        return not_measured(
            f"A mean needs {MINIMUM_PER_SIDE} images with the class label {name}; there are {len(values)}."
        )
    if not np.isfinite(values).all():
        return not_measured(f"Images with the class label {name} lack a soft label.")
    found = bootstrap_estimates(
        lambda times: weighted_mean(values, times)[None], [(len(values), None)], name="soft label", seed=seed
    )[0]
    return measure_estimate(
        found,
        n=len(values),
        note=f"Mean soft label of the images with the class label {name}: the share that would show it if they came "
        "as scores of guide and judge do among real radiographs.",
        otherwise="",
    )


def _of_others(rater: Rater) -> str:
    return f"Soft labels come from guide and judge; the {rater.role} has no part in them."


def _without(reason: str) -> dict[str, Measure]:
    return {name: not_measured(reason) for name in PURITY}
