"""Scores and labels: logits and probabilities, and AUROC with a bootstrap interval over patients.

Scores and labels come in, an `Interval` goes out. Used by label agreement here and by the classifier trainer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats, draw_multiplicities, group_codes, make_rng, percentile_interval
from xrarchive.estimates import divide

# Rows x resamples weighed at a time: 4 million float64 are 32 MB, of which about four copies live at once.
_BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A number and the central share of its bootstrap distribution; all NaN where a class is empty.

    Attributes:
        value: On the rows as given.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n_positive: Rows labelled 1.
        n_negative: Rows labelled 0.
    """

    value: float
    low: float
    high: float
    n_positive: int
    n_negative: int

    @property
    def defined(self) -> bool:
        """Whether both classes were there."""
        return bool(np.isfinite(self.value))


def to_logit(probabilities: npt.ArrayLike) -> Floats:
    """log(p / (1 - p)) of any [...] in (0, 1)."""
    values = np.asarray(probabilities, np.float64)
    logits: Floats = np.log(values) - np.log1p(-values)
    return logits


def to_probability(logits: npt.ArrayLike) -> Floats:
    """The logistic function of any [...], without overflow."""
    probabilities: Floats = 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))
    return probabilities


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """P(score of a positive > score of a negative), ties counting half; NaN if a class is empty.

    Args:
        scores: [N], any real numbers; only their order matters.
        labels: [N], 1 present, 0 absent, NaN unknown; rows with unknown label are left out.

    Raises:
        ValueError: For other labels, for NaN scores on labelled rows, or for shapes that differ.
    """
    known_scores, positive, _ = _labelled(scores, labels)
    return float(weighted_auroc(known_scores, positive, np.ones((1, positive.size)))[0])


def weighted_auroc(scores: Floats, positive: npt.NDArray[np.bool_], times: Floats) -> Floats:
    """AUROC when rows count more than once, for many such counts together: a resample each.

    Args:
        scores: float [N], no NaN.
        positive: bool [N].
        times: float [R, N], how often each row counts.

    Returns:
        float64 [R]; ties count half, NaN where a class is empty.
    """
    negatives = scores[~positive]
    order = np.argsort(negatives, kind="stable")
    mass = np.zeros((len(times), negatives.size + 1))
    np.cumsum(times[:, ~positive][:, order], axis=1, out=mass[:, 1:])
    below, up_to = (np.searchsorted(negatives[order], scores[positive], side=side) for side in ("left", "right"))
    shown = times[:, positive]
    return divide((shown * (mass[:, below] + mass[:, up_to])).sum(axis=1) / 2, shown.sum(axis=1) * mass[:, -1])


def bootstrap_auroc(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """`auroc` with a percentile interval from drawing whole groups with replacement.

    Resamples in which a class happens to be empty are left out of the interval.

    Args:
        scores: As for `auroc`.
        labels: As for `auroc`.
        groups: [N] patient ids; a blank string, or None for all, makes a row a group of its own.
        resamples: How many times the groups are drawn.
        seed: Same seed, same interval.
        level: Share of the bootstrap distribution between `low` and `high`.

    Raises:
        ValueError: As `auroc`, or if there is not one group per row.
    """
    known_scores, positive, known = _labelled(scores, labels)
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if not (n_positive and n_negative):
        return Interval(float("nan"), float("nan"), float("nan"), n_positive, n_negative)
    codes = group_codes(groups, known.size)[known]
    codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    drawn = draw_multiplicities(codes, resamples, make_rng(seed, "auroc"))
    step = max(1, _BLOCK_CELLS // positive.size)
    blocks = [
        weighted_auroc(known_scores, positive, drawn[start : start + step, codes])
        for start in range(0, resamples, step)
    ]
    value = float(weighted_auroc(known_scores, positive, np.ones((1, positive.size)))[0])
    low, high = percentile_interval(np.concatenate(blocks), level)
    return Interval(value, low, high, n_positive, n_negative)


def _labelled(
    scores: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Scores and positives of the labelled rows, and which rows those are."""
    all_scores, all_labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if all_scores.shape != all_labels.shape or all_scores.ndim != 1:
        raise ValueError(f"scores and labels must both be [N], got {all_scores.shape} and {all_labels.shape}")
    known = ~np.isnan(all_labels)
    if not np.isin(all_labels[known], (0, 1)).all():
        raise ValueError("labels must be 1, 0 or NaN")
    if np.isnan(all_scores[known]).any():
        raise ValueError(f"{int(np.isnan(all_scores[known]).sum())} labelled rows have NaN scores")
    return all_scores[known], all_labels[known] == 1, known
