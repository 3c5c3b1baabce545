"""How good a classifier is at one finding: logits and labels in, figures with patient-bootstrap intervals out.

AUROC, average precision, Brier score and calibration slope, in all radiographs and within each view; and the purity of
its calls at each strictness. Point values are scikit-learn's, resampled ones the same formulas for all resamples at
once. Torch-free; called by the classifier trainer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss

from xrarchive.bootstrap import (
    LEVEL,
    RESAMPLES,
    Floats,
    draw_multiplicities,
    group_codes,
    make_rng,
    percentile_interval,
)
from xrarchive.classifier.crossfitted import bar_of, level_quantiles
from xrarchive.statistics import bootstrap_auroc, to_probability

Figure = dict[str, float | int]
# Of measures by name; of strata by name, None where one is too small.
Measures = dict[str, Figure]
Strata = dict[str, Measures | None]

VIEWS = ("AP", "PA")
# Fewer positives or negatives than this give no figure within a stratum.
MIN_STRATUM = 5
# Shares of radiographs that a call may let through.
PURITY_STRICTNESSES = (0.2, 0.1, 0.05, 0.02, 0.01)
# Weak enough not to move a slope, strong enough that separable labels have one. As in calibration.
PENALTY_C = 1e4
_NEWTON_STEPS, _NEWTON_LEAP, _NEWTON_DONE = 50, 4.0, 1e-7


def measure_strata(
    logits: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    patients: npt.NDArray[np.str_],
    views: npt.NDArray[np.str_],
) -> Strata:
    """Figures of "all" and of each view that occurs; None where either class has fewer than `MIN_STRATUM` films.

    Args:
        logits: float32 [N], calibrated.
        labels: float32 [N], 1, 0 or NaN for unknown.
        patients: str [N], drawn whole in a resample.
        views: str [N].
    """
    strata = {"all": np.ones(len(views), np.bool_)}
    strata |= {view: views == view for view in VIEWS if (views == view).any()}
    return {name: _measure(logits[rows], labels[rows], patients[rows]) for name, rows in strata.items()}


def count_calls(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.float32], threshold: float
) -> dict[str, int] | None:
    """True and false calls at an operating threshold, a probability: what sensitivity and specificity are made of.

    Returns:
        `tp`, `fn`, `fp`, `tn` among films of known label; None for a threshold of NaN, which cannot be called.
    """
    if np.isnan(threshold):
        return None
    called = to_probability(logits) >= threshold
    present, absent = labels == 1, labels == 0
    counts = {"tp": called & present, "fn": ~called & present, "fp": called & absent, "tn": ~called & absent}
    return {name: int(rows.sum()) for name, rows in counts.items()}


def measure_purity(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.float32], patients: npt.NDArray[np.str_]
) -> dict[str, Figure | None]:
    """Share of films with the finding among those that reach the bar of each strictness, by "0.2" and so on.

    The bar is that of all N films, whether their label is known or not; `n` is how many of known label reach it. None
    where that is fewer than `MIN_STRATUM`.
    """
    quantiles, known = level_quantiles(logits[:, None])[0], ~np.isnan(labels)
    codes = group_codes(patients, len(patients))
    drawn = draw_multiplicities(codes, RESAMPLES, make_rng(0, "purity"))
    found: dict[str, Figure | None] = {}
    for strictness in PURITY_STRICTNESSES:
        called = known & (logits >= bar_of(quantiles, strictness))
        if called.sum() < MIN_STRATUM:
            found[f"{strictness:g}"] = None
            continue
        weights, right = drawn[:, codes[called]], labels[called] == 1
        totals = weights.sum(axis=1)
        resampled = np.divide(weights @ right, totals, out=np.full(RESAMPLES, np.nan), where=totals > 0)
        found[f"{strictness:g}"] = figure(
            float(right.mean()), *percentile_interval(resampled, LEVEL), int(called.sum())
        )
    return found


def figure(value: float, low: float, high: float, n: int) -> Figure:
    """A number with its interval, as weight files hold it."""
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "n": n}


def _measure(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.float32], patients: npt.NDArray[np.str_]
) -> Measures | None:
    known = ~np.isnan(labels)
    scores, positive, patients = logits[known].astype(np.float64), labels[known] == 1, patients[known]
    count = int(positive.sum())
    if min(count, len(positive) - count) < MIN_STRATUM:
        return None
    auroc = bootstrap_auroc(scores, positive, patients)
    found = {"auroc": figure(auroc.value, auroc.low, auroc.high, count)}
    codes = group_codes(patients, len(patients))
    weights = draw_multiplicities(codes, RESAMPLES, make_rng(0, "figures"))[:, codes]
    weights = weights[((weights @ positive) > 0) & ((weights @ ~positive) > 0)]
    for name, (point, resampled) in _MEASURES.items():
        interval = percentile_interval(resampled(scores, positive, weights), LEVEL)
        found[name] = figure(point(scores, positive), *interval, count)
    return found


def resampled_average_precision(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Average precision [R] under each row of `weights` [R, N]; tied scores are called together."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ties = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    called = np.add.reduceat(weights[:, order], ties, axis=1)
    right = np.add.reduceat(weights[:, order] * positive[order], ties, axis=1)
    totals = np.cumsum(called, axis=1)
    precision = np.divide(np.cumsum(right, axis=1), totals, out=np.zeros_like(totals), where=totals > 0)
    found: Floats = (right * precision).sum(axis=1) / right.sum(axis=1)
    return found


def resampled_brier(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Mean squared error of the probabilities, [R]."""
    found: Floats = weights @ np.square(_sigmoid(scores) - positive) / weights.sum(axis=1)
    return found


def resampled_slope(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Slope [R] of the logistic regression of the label on the logit, by Newton's method; NaN if it does not settle."""
    total = weights.sum(axis=1)
    share = weights @ positive / total
    intercept, slope = np.log(share / (1 - share)), np.zeros(len(weights))
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(intercept[:, None] + slope[:, None] * scores)
        error, curvature = weights * (p - positive), weights * p * (1 - p)
        gradient = error.sum(axis=1), error @ scores + slope / PENALTY_C
        aa, ab, bb = curvature.sum(axis=1), curvature @ scores, curvature @ np.square(scores) + 1 / PENALTY_C
        determinant = aa * bb - ab * ab
        da = (bb * gradient[0] - ab * gradient[1]) / determinant
        db = (aa * gradient[1] - ab * gradient[0]) / determinant
        leap = np.maximum(1, np.maximum(np.abs(da), np.abs(db)) / _NEWTON_LEAP)
        intercept, slope = intercept - da / leap, slope - db / leap
        if max(np.abs(da).max(), np.abs(db).max()) < _NEWTON_DONE:
            break
    settled = np.maximum(np.abs(da), np.abs(db)) < _NEWTON_DONE
    found: Floats = np.where(settled, slope, np.nan)
    return found


def _average_precision(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    return float(average_precision_score(positive, scores))


def _brier(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    return float(brier_score_loss(positive, _sigmoid(scores)))


def _slope(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    return float(LogisticRegression(C=PENALTY_C).fit(scores[:, None], positive).coef_[0, 0])


def _sigmoid(logits: Floats) -> Floats:
    found: Floats = 0.5 * (1 + np.tanh(logits / 2))
    return found


_Point = Callable[[Floats, npt.NDArray[np.bool_]], float]
_Resampled = Callable[[Floats, npt.NDArray[np.bool_], Floats], Floats]
_MEASURES: dict[str, tuple[_Point, _Resampled]] = {
    "average_precision": (_average_precision, resampled_average_precision),
    "brier": (_brier, resampled_brier),
    "slope": (_slope, resampled_slope),
}
