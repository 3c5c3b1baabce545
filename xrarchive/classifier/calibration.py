"""From raw logits to probabilities and operating thresholds, on out-of-fold logits. Torch-free."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from xrarchive.classifier.figures import PENALTY_C
from xrarchive.classifier.settings import ClassifierSettings

Logits = npt.NDArray[np.float32]

# A rare finding weighs more, by the root of how rare it is: the whole ratio would let a handful of films lead.
_MAX_POSITIVE_WEIGHT = 10.0


def positive_weights(labels: Logits) -> Logits:
    """float32 [K] in [1, 10]: the root of negatives per positive of float32 [N, K] labels in {1, 0, NaN}.

    What a positive counts in the loss. It raises logits by the logarithm; calibration takes that out again.
    """
    positives, negatives = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    weights = np.sqrt(negatives / np.maximum(positives, 1))
    clipped: Logits = np.clip(weights, 1, _MAX_POSITIVE_WEIGHT).astype(np.float32)
    return clipped


def calibrate(logits: Logits, labels: Logits, min_positives: int) -> tuple[Logits, Logits]:
    """Platt scaling per output on out-of-fold logits [N, K + J]: float32 [K + J] scale and offset.

    Outputs with fewer than `min_positives` of either label keep scale 1, as do those whose scores would have to be
    turned round; their offset only takes out what `positive_weights` put in.
    """
    scale, offset = np.ones(logits.shape[1], np.float32), -np.log(positive_weights(labels))
    for index in range(logits.shape[1]):
        known = ~np.isnan(labels[:, index])
        target = labels[known, index]
        if min(target.sum(), len(target) - target.sum()) < min_positives:
            continue
        model = LogisticRegression(C=PENALTY_C).fit(logits[known, index : index + 1], target)
        if model.coef_[0, 0] > 0:
            scale[index], offset[index] = model.coef_[0, 0], model.intercept_[0]
    return scale, offset


def operating_thresholds(calibrated: Logits, labels: Logits, settings: ClassifierSettings) -> Logits:
    """Probability per finding that `specificity` of the labelled negatives stay below; NaN with too few positives."""
    thresholds = np.full(calibrated.shape[1], np.nan, np.float32)
    for index in range(calibrated.shape[1]):
        if (labels[:, index] == 1).sum() >= settings.min_positives and (labels[:, index] == 0).any():
            negatives = calibrated[labels[:, index] == 0, index]
            thresholds[index] = 1 / (1 + np.exp(-np.quantile(negatives, settings.specificity)))
    return thresholds
