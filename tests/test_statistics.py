import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_formulas import auroc_by_pairs
from sklearn.metrics import roc_auc_score

from xrarchive.bootstrap import draw_multiplicities
from xrarchive.statistics import auroc, bootstrap_auroc, weighted_auroc

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=2, max_size=40)


@settings(max_examples=60, deadline=None)
@given(rows.filter(lambda r: 0 < sum(label for _, label in r) < len(r)))
def test_auroc_agrees_with_pairs_and_with_sklearn(found):
    scores, labels = zip(*found, strict=True)
    assert auroc(scores, labels) == pytest.approx(auroc_by_pairs(scores, labels), abs=1e-12)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_unknown_labels_are_left_out():
    assert auroc([0.1, 0.9, 0.5, np.nan], [0, 1, np.nan, np.nan]) == 1.0


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], [np.nan, np.nan]])
def test_one_class_is_undefined_and_not_an_error(labels):
    assert np.isnan(auroc([0.1, 0.2], labels))
    interval = bootstrap_auroc([0.1, 0.2], labels, ["a", "b"])
    assert not interval.defined
    assert interval.n_positive + interval.n_negative == int(np.isfinite(labels).sum())


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [([0.1], [0, 1], "both be"), ([0.1, 0.2], [0, 2], "1, 0 or NaN"), ([np.nan, 0.2], [0, 1], "NaN scores")],
)
def test_refuses_what_is_no_score_or_label(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        auroc(scores, labels)


def test_a_weighted_auroc_is_the_auroc_of_rows_repeated(rng):
    scores, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.3
    times = np.concatenate([np.ones((1, 60)), draw_multiplicities(np.arange(60), 5, rng)])
    found = weighted_auroc(scores, positive, times)
    for value, row in zip(found, times.astype(int), strict=True):
        repeated = np.repeat(positive, row).astype(float)
        assert value == pytest.approx(auroc_by_pairs(np.repeat(scores, row), repeated), abs=1e-12)


@pytest.mark.parametrize("positive", [True, False])
def test_a_weighted_auroc_is_undefined_without_a_class(positive):
    assert np.isnan(weighted_auroc(np.arange(3.0), np.full(3, positive), np.ones((2, 3)))).all()


def test_interval_covers_the_truth_about_as_often_as_it_says():
    truth = 0.7602  # of unit normals one apart: Phi(1 / sqrt 2)
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(100):
        labels = rng.integers(0, 2, 120)
        interval = bootstrap_auroc(rng.normal(size=120) + labels, labels, None, resamples=200, seed=seed)
        covered += interval.low <= truth <= interval.high
    assert covered >= 88


def test_patients_widen_the_interval(rng):
    labels = np.repeat(rng.integers(0, 2, 40), 10)
    scores = np.repeat(rng.normal(size=40), 10) + labels
    by_patient = bootstrap_auroc(scores, labels, np.repeat(np.arange(40), 10))
    by_row = bootstrap_auroc(scores, labels, None)
    assert by_patient.high - by_patient.low > 2 * (by_row.high - by_row.low)
    assert by_patient.value == by_row.value


def test_a_blank_patient_is_a_patient_of_its_own(rng):
    scores, labels = rng.normal(size=80), rng.integers(0, 2, 80)
    blank, none = (bootstrap_auroc(scores, labels, groups).high for groups in ([""] * 80, None))
    one_patient = bootstrap_auroc(scores, labels, ["a"] * 80)
    assert blank == pytest.approx(none, abs=0.05)
    assert one_patient.low == one_patient.high == one_patient.value


def test_same_seed_same_interval(rng):
    scores, labels = rng.normal(size=50), rng.integers(0, 2, 50)
    assert bootstrap_auroc(scores, labels, seed=1) == bootstrap_auroc(scores, labels, seed=1)
    assert bootstrap_auroc(scores, labels, seed=1) != bootstrap_auroc(scores, labels, seed=2)


def test_a_thousand_resamples_of_three_thousand_rows_are_quick(rng):
    labels = rng.integers(0, 2, 3000)
    started = time.process_time()
    bootstrap_auroc(rng.normal(size=3000), labels, rng.integers(0, 1700, 3000))
    assert time.process_time() - started < 2
