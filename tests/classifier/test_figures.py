from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss

from xrarchive.classifier.figures import (
    PENALTY_C,
    measure_purity,
    measure_strata,
    resampled_average_precision,
    resampled_brier,
    resampled_slope,
)

N = 400


@pytest.fixture
def films(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Logits that are right, their labels (some unknown), patients of two films, views."""
    logits = (2 * rng.standard_normal(N) - 1).astype(np.float32)
    labels = (rng.random(N) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    labels[::9] = np.nan
    return logits, labels, np.array([f"p{row // 2}" for row in range(N)]), np.array(["AP", "PA", "PA", ""] * (N // 4))


def test_resampled_measures_agree_with_scikit_learn(rng: np.random.Generator) -> None:
    scores = np.round(2 * rng.standard_normal(N), 1)  # with ties
    positive = rng.random(N) < 1 / (1 + np.exp(1 - scores))
    weights = rng.integers(0, 4, (5, N)).astype(np.float64)
    probabilities = 1 / (1 + np.exp(-scores))
    average, brier, slope = (
        measure(scores, positive, weights)
        for measure in (resampled_average_precision, resampled_brier, resampled_slope)
    )
    for row, weight in enumerate(weights):
        assert average[row] == pytest.approx(average_precision_score(positive, scores, sample_weight=weight))
        assert brier[row] == pytest.approx(brier_score_loss(positive, probabilities, sample_weight=weight))
        model = LogisticRegression(C=PENALTY_C, tol=1e-8).fit(scores[:, None], positive, sample_weight=weight)
        assert slope[row] == pytest.approx(model.coef_[0, 0], rel=1e-3)


def test_a_slope_of_separable_labels_is_finite(rng: np.random.Generator) -> None:
    scores = np.concatenate([rng.uniform(-3, -1, 20), rng.uniform(1, 3, 20)])
    slope = resampled_slope(scores, scores > 0, np.ones((3, 40)))
    assert np.isfinite(slope).all()
    assert (slope > 1).all()


def test_intervals_hold_their_values_and_unknown_takes_no_part(films: tuple[np.ndarray, ...]) -> None:
    logits, labels, patients, views = films
    strata = measure_strata(logits, labels, patients, views)
    assert list(strata) == ["all", "AP", "PA"]
    for name, rows in (("all", views == views), ("AP", views == "AP"), ("PA", views == "PA")):
        measures = strata[name]
        assert measures is not None
        for found in measures.values():
            assert found["low"] < found["value"] < found["high"]
            assert found["n"] == int((labels[rows] == 1).sum())
    unknown = np.isnan(labels)
    wild = np.where(unknown, 50, logits).astype(np.float32)
    assert measure_strata(wild, labels, patients, views) == strata


def test_strata_that_are_too_small_have_no_figure(films: tuple[np.ndarray, ...]) -> None:
    logits, labels, patients, views = films
    labels = np.where((views == "AP") & (labels == 1), np.nan, labels).astype(np.float32)
    strata = measure_strata(logits, labels, patients, views)
    assert strata["AP"] is None
    assert strata["PA"] is not None
    assert list(measure_strata(logits, labels, patients, np.full(N, "PA"))) == ["all", "PA"]
    assert measure_strata(logits[:0], labels[:0], patients[:0], views[:0]) == {"all": None}


def test_purity_is_the_precision_of_the_highest(films: tuple[np.ndarray, ...]) -> None:
    logits, labels, patients, _ = films
    found = measure_purity(logits, labels, patients)
    assert found["0.01"] is None
    for strictness in (0.2, 0.1, 0.05):
        top = labels[np.argsort(-logits)[: int(N * strictness)]]
        top = top[~np.isnan(top)]
        figure = found[f"{strictness:g}"]
        assert figure is not None
        assert (figure["value"], figure["n"]) == (pytest.approx(top.mean(), abs=1e-4), len(top))
        assert figure["low"] <= figure["value"] <= figure["high"]
