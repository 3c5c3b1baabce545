import json
from dataclasses import replace

import numpy as np
import pytest

from xrarchive.files import dump_json
from xrarchive.statistics import auroc
from xrarchive.validation.summary import summary_rows
from xrarchive.validation.utility import (
    FINDING_MEASURES,
    MACRO_MEASURES,
    UtilityScores,
    compare,
    measure_utility,
    no_utility,
    pool,
    z_score,
)

FINDINGS = ("No Finding", "Edema")
ARMS = ("trtr", "tstr", "real_synthetic", "guide", "pseudo_draws", "pseudo_real")


def some_scores(rng, *, films=300, seeds=2, arms=ARMS):
    labels = (rng.random((films, 2)) < [0.4, 0.2]).astype(np.float32)
    noise = dict.fromkeys(arms, 2.0) | {"trtr": 1.0}
    scores = {arm: labels + noise[arm] * rng.standard_normal((seeds, films, 2)) for arm in arms}
    return scores, labels, np.array([f"p{film // 2}" for film in range(films)])


def some_tested(rng, **changes):
    scores, labels, patients = some_scores(rng)
    asked = (rng.random((80, 2)) < 0.5).astype(np.float32)
    values = {
        "findings": FINDINGS,
        "scores": scores,
        "labels": labels,
        "patients": patients,
        "image_scores": asked + rng.standard_normal((6, 80, 2)),
        "asked": asked,
        "learned": 80,
        "kind": "archive",
        "missing": {},
        "unmeasured": {"Mass": "There are 3 films with Mass."},
        "caveat": "films of patients the guide learned from are left out",
        "recipe": {"folds": 3},
    }
    return UtilityScores(**(values | changes))


def mean_auroc(scores, labels):
    return np.array([np.mean([auroc(one[:, k], labels[:, k]) for one in scores]) for k in range(labels.shape[1])])


def test_z_scores_forget_scale_and_place_and_what_does_not_vary_is_zero(rng):
    logits = rng.normal(5, 3, (2, 40, 2))
    np.testing.assert_allclose(z_score(2 * logits + 7), z_score(logits), atol=1e-12)
    assert z_score(logits).std(axis=1) == pytest.approx(np.ones((2, 2)))
    assert (z_score(np.full((1, 5, 1), 3.0)) == 0).all()


def test_folds_are_made_comparable_and_stay_in_order(rng):
    first, second = rng.normal(size=(2, 30, 2)), rng.normal(9, 4, (2, 20, 2))
    pooled = pool([first, second])
    np.testing.assert_array_equal(pooled[:, :30], z_score(first))
    np.testing.assert_array_equal(pooled[:, 30:], z_score(second))


def test_an_arm_has_the_mean_over_its_networks_and_macro_the_mean_over_findings(rng):
    scores, labels, patients = some_scores(rng)
    found = compare(scores, labels, patients, FINDINGS, resamples=30)
    for arm in ARMS:
        expected = mean_auroc(scores[arm], labels)
        assert [found.auroc[arm][name].value for name in FINDINGS] == pytest.approx(expected)
        assert found.auroc[arm]["macro"].value == pytest.approx(expected.mean())


def test_retention_is_of_the_excess_and_macro_the_ratio_of_means(rng):
    scores, labels, patients = some_scores(rng)
    found = compare(scores, labels, patients, FINDINGS, resamples=50)
    tstr, trtr = (mean_auroc(scores[arm], labels) for arm in ("tstr", "trtr"))
    assert found.retention["tstr"]["Edema"].value == pytest.approx((tstr[1] - 0.5) / (trtr[1] - 0.5))
    macro = found.retention["tstr"]["macro"]
    assert macro.value == pytest.approx((tstr.mean() - 0.5) / (trtr.mean() - 0.5))
    assert macro.low < macro.value < macro.high
    assert found.ratio["tstr"]["macro"].value == pytest.approx(tstr.mean() / trtr.mean())
    assert [(one.value, one.low, one.high) for one in found.retention["trtr"].values()] == [(1, 1, 1)] * 3


def test_arms_are_resampled_together(rng):
    scores, labels, patients = some_scores(rng)
    scores["pseudo_draws"] = scores["tstr"]
    found = compare(scores, labels, patients, FINDINGS, differences=[("tstr", "pseudo_draws")], resamples=50)
    same = found.differences["tstr", "pseudo_draws"]["macro"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_whole_patients_are_drawn(rng):
    scores, labels, _ = some_scores(rng, films=120)
    twice = {arm: np.repeat(values, 2, axis=1) for arm, values in scores.items()}
    names = np.repeat(np.arange(120).astype(str), 2)
    once = compare(scores, labels, names[::2], FINDINGS, resamples=200)
    doubled = compare(twice, np.repeat(labels, 2, axis=0), names, FINDINGS, resamples=200)
    for name in (*FINDINGS, "macro"):
        assert doubled.auroc["tstr"][name].low == pytest.approx(once.auroc["tstr"][name].low)


def test_the_mean_score_of_the_networks_beats_a_network(rng):
    scores, labels, patients = some_scores(rng, seeds=8)
    found = compare(scores, labels, patients, FINDINGS, resamples=10)
    assert found.ensemble["tstr"]["macro"].value > found.auroc["tstr"]["macro"].value


def test_films_with_unknown_labels_take_no_part(rng):
    scores, labels, patients = some_scores(rng)
    known = rng.random(300) < 0.7
    gaps = labels.copy()
    gaps[~known, 1] = np.nan
    found = compare(scores, gaps, patients, FINDINGS, resamples=10).auroc["tstr"]["Edema"].value
    assert found == pytest.approx(mean_auroc(scores["tstr"][:, known], labels[known])[1])


def test_networks_no_better_than_chance_leave_nothing_to_retain(rng):
    tested = some_tested(rng)
    worse = {**tested.scores, "trtr": -tested.labels + rng.standard_normal((2, 300, 2))}
    found = measure_utility(replace(tested, scores=worse), seed=0, resamples=20)["macro"]["excess_retention"]
    assert found["value"] is None
    assert "no better than chance" in found["reason"]


def test_scores_of_another_shape_or_without_a_baseline_are_refused(rng):
    scores, labels, patients = some_scores(rng)
    with pytest.raises(ValueError, match=r"tstr: expected scores \[S, 300, 2\], got \[2, 299, 2\]"):
        compare(scores | {"tstr": scores["tstr"][:, 1:]}, labels, patients, FINDINGS)
    with pytest.raises(ValueError, match="'trtr' is missing"):
        compare({"tstr": scores["tstr"]}, labels, patients, FINDINGS)


def test_the_report_has_every_measure_with_what_it_is_held_to(rng):
    tested = some_tested(rng)
    found = measure_utility(tested, seed=3, resamples=40)
    assert tuple(found["macro"]) == MACRO_MEASURES
    assert {name: tuple(row) for name, row in found["findings"].items()} == dict.fromkeys(
        (*FINDINGS, "Mass"), FINDING_MEASURES
    )
    macro = found["macro"]
    assert macro["tstr"]["ceiling"]["value"] == macro["trtr"]["value"]
    assert macro["tstr"]["n"] == 300
    assert macro["trts"]["n"] == 80
    assert macro["trts"]["value"] == pytest.approx(mean_auroc(tested.image_scores, tested.asked).mean(), abs=1e-5)
    assert macro["ratio"]["floor"]["value"] == pytest.approx(0.5 / macro["trtr"]["value"], abs=1e-5)
    apart = macro["tstr"]["value"] - macro["pseudo_draws"]["value"]
    assert macro["tstr_minus_pseudo_draws"]["value"] == pytest.approx(apart, abs=1e-5)
    assert found["findings"]["Edema"]["tstr"]["positives"] == int(tested.labels[:, 1].sum())
    assert found["findings"]["Mass"]["tstr"] == {"value": None, "reason": "There are 3 films with Mass."}
    assert tested.caveat in macro["excess_retention"]["note"]
    assert found["recipe"] == {"folds": 3}
    json.dumps(found, allow_nan=False)


def test_a_control_that_is_missing_says_why_and_takes_its_difference_with_it(rng):
    tested = some_tested(rng)
    scores = {arm: tested.scores[arm] for arm in ARMS if arm != "pseudo_draws"}
    found = measure_utility(replace(tested, scores=scores, missing={"pseudo_draws": "No generator."}), seed=0)["macro"]
    assert found["pseudo_draws"] == found["tstr_minus_pseudo_draws"] == {"value": None, "reason": "No generator."}
    assert found["guide"]["value"] is not None


def test_the_same_seed_gives_the_same_bytes(rng):
    tested = some_tested(rng)
    first, again, other = (measure_utility(tested, seed=seed, resamples=20) for seed in (1, 1, 2))
    assert dump_json(first) == dump_json(again) != dump_json(other)


def test_without_anything_to_measure_the_reason_stands_in_every_place():
    found = no_utility(FINDINGS, "No radiographs.")
    leaves = [*found["macro"].values(), *(leaf for row in found["findings"].values() for leaf in row.values())]
    assert len(leaves) == len(MACRO_MEASURES) + 2 * len(FINDING_MEASURES)
    assert all(leaf == {"value": None, "reason": "No radiographs."} for leaf in leaves)


def test_the_summary_shows_what_was_learned_from_films_and_images_and_what_is_retained(rng):
    found = measure_utility(some_tested(rng), seed=0, resamples=20)
    rows = {row.measure: row for row in summary_rows({"utility": found})}
    assert list(rows) == ["AUROC, learned from real films", "AUROC, learned from the images", "excess retention"]
    beside = rows["AUROC, learned from the images"]
    assert beside.beside == found["macro"]["pseudo_draws"]["value"]
    assert beside.beside_text == "learned from random draws that the guide labelled"
    assert rows["excess retention"].value == found["macro"]["excess_retention"]["value"]


def test_the_summary_of_nothing_measured_is_one_row_with_the_reason():
    rows = summary_rows({"utility": no_utility(FINDINGS, "No radiographs.")})
    assert [(row.measure, row.value, row.reason) for row in rows] == [("excess retention", None, "No radiographs.")]
