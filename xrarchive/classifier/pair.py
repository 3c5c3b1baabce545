"""What two classifiers that look at the same films agree on: the guide that steers and the judge that measures.

Two tables of out-of-fold logits come in; what goes out is stored in the judge's weight file as `pair`:

control      whether the judge ranks the films the guide accepts above films at large, at each strictness
soft         a logistic regression of the label on both logits: what both together say of a film
correlation  of the two logits within each class: how far their errors are the same errors

Torch-free. Written by the classifier trainer, read by the offering rule, by cards and where soft labels are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from xrarchive.bootstrap import RESAMPLES
from xrarchive.classifier.crossfitted import CrossFitted, bar_of, level_quantiles
from xrarchive.classifier.figures import MIN_STRATUM, PENALTY_C, Figure, figure
from xrarchive.errors import InputDataError
from xrarchive.statistics import bootstrap_auroc

CONTROL_STRICTNESSES = (0.1, 0.05, 0.02, 0.01)

Logits = npt.NDArray[np.float32]


def make_pair(
    guide: CrossFitted,
    judge: CrossFitted,
    labels: npt.NDArray[np.float32],
    *,
    vocabulary: tuple[str, ...],
    min_positives: int,
) -> dict[str, Any]:
    """Compare two classifiers on the films that both tables hold, row for row.

    Args:
        guide: Out-of-fold logits [N, ...].
        judge: The same of the judge (or the referee).
        labels: float32 [N, K], 1, 0 or NaN for unknown.
        vocabulary: The K findings.
        min_positives: Findings with fewer positives or negatives get no soft label.

    Returns:
        `guide_sha256`; `control` {finding: {strictness: {"value", "low", "high", "n"}}}, None where the guide accepts
        fewer than 5 films; `soft` {finding: [a, b, c]} for callable findings; `correlation` {finding: number or None}.

    Raises:
        InputDataError: If the tables hold other films.
    """
    if not np.array_equal(guide.images, judge.images) or not set(vocabulary) <= set(guide.names):
        raise InputDataError(
            f"The guide's table of out-of-fold logits holds {len(guide.images)} films and "
            f"{len(guide.names)} outputs that are not the {len(judge.images)} films and findings of this training.",
            fix="Train the guide again on this radiograph set.",
        )
    control, soft, correlation = {}, {}, {}
    for index, finding in enumerate(vocabulary):
        ours, theirs, truth = guide.of(finding), judge.of(finding), labels[:, index]
        control[finding] = _control(ours, theirs, guide.patients)
        correlation[finding] = _correlation(ours, theirs, truth)
        if min((truth == 1).sum(), (truth == 0).sum()) >= min_positives:
            soft[finding] = _soft(ours, theirs, truth)
    return {"guide_sha256": guide.weights_sha256, "control": control, "soft": soft, "correlation": correlation}


def soft_label(pair: Mapping[str, Any], finding: str, guide_logits: Logits, judge_logits: Logits) -> Logits:
    """P(finding) float32 [N] from both calibrated logits, float32 [N] each.

    `pair` holds for one guide only: where `pair["guide_sha256"]` is another one's, use the judge's probability.

    Raises:
        ValueError: If the pair has no soft label for the finding.
    """
    if finding not in pair["soft"]:
        raise ValueError(f"the pair has no soft label for {finding!r}, only for: {', '.join(pair['soft'])}")
    a, b, c = pair["soft"][finding]
    logits = a + b * np.asarray(guide_logits, np.float64) + c * np.asarray(judge_logits, np.float64)
    found: Logits = (0.5 * (1 + np.tanh(logits / 2))).astype(np.float32)
    return found


def _control(guide: Logits, judge: Logits, patients: npt.NDArray[np.str_]) -> dict[str, Figure | None]:
    """AUROC of the judge's logit for accepted films against all films, the accepted among them.

    Counting them on both sides makes .5 what chance gives and leaves no film out; the bar is held fixed in resamples.
    """
    quantiles = level_quantiles(guide[:, None])[0]
    found: dict[str, Figure | None] = {}
    for strictness in CONTROL_STRICTNESSES:
        accepted = guide >= bar_of(quantiles, strictness)
        count = int(accepted.sum())
        if count < MIN_STRATUM:
            found[f"{strictness:g}"] = None
            continue
        interval = bootstrap_auroc(
            np.concatenate([judge[accepted], judge]),
            np.concatenate([np.ones(count), np.zeros(len(judge))]),
            np.concatenate([patients[accepted], patients]),
            resamples=RESAMPLES,
        )
        found[f"{strictness:g}"] = figure(interval.value, interval.low, interval.high, count)
    return found


def _soft(guide: Logits, judge: Logits, labels: npt.NDArray[np.float32]) -> list[float]:
    """[a, b, c] of P(label) = sigmoid(a + b * guide + c * judge), b and c never negative."""
    known = ~np.isnan(labels)
    logits, truth = np.stack([guide, judge], axis=1)[known].astype(np.float64), labels[known]
    kept, slopes = [0, 1], np.zeros(2)
    while kept:
        model = LogisticRegression(C=PENALTY_C).fit(logits[:, kept], truth)
        if (model.coef_[0] >= 0).all():
            slopes[kept] = model.coef_[0]
            return [round(float(value), 6) for value in (model.intercept_[0], *slopes)]
        kept.remove(kept[int(model.coef_[0].argmin())])
    share = truth.mean()
    return [round(float(np.log(share / (1 - share))), 6), 0.0, 0.0]


def _correlation(guide: Logits, judge: Logits, labels: npt.NDArray[np.float32]) -> float | None:
    """Correlation given the label: of each class, weighted by its size. None if either has fewer than 5 films."""
    classes = [labels == 1, labels == 0]
    sizes = np.array([rows.sum() for rows in classes])
    if sizes.min() < MIN_STRATUM or any(np.ptp(logits[rows]) == 0 for rows in classes for logits in (guide, judge)):
        return None
    within = [np.corrcoef(guide[rows], judge[rows])[0, 1] for rows in classes]
    return round(float(np.average(within, weights=sizes)), 4)
