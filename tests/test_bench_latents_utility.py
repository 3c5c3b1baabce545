"""scripts/bench_latents_utility.py: its parts, and that it says how it is used; the bench itself takes 25 minutes."""

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xrarchive.bootstrap import draw_multiplicities
from xrarchive.plan import SearchSettings
from xrarchive.statistics import auroc

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
NAME = "bench_latents_utility"
FINDINGS = ("No Finding", "Edema")


@pytest.fixture(scope="module")
def utility():
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module(NAME)
    sys.path.remove(str(SCRIPTS))
    del sys.modules[NAME]


def some_scores(rng, *, films=300, seeds=2, arms=("trtr", "tstr", "pseudo_draws")):
    labels = (rng.random((films, 2)) < [0.4, 0.2]).astype(np.float32)
    noise = {"trtr": 1.0, "tstr": 2.0, "pseudo_draws": 2.0}
    scores = {arm: labels + noise[arm] * rng.standard_normal((seeds, films, 2)) for arm in arms}
    return scores, labels, np.array([f"p{film // 2}" for film in range(films)])


def test_a_weighted_auroc_is_the_auroc_of_rows_repeated(utility, rng):
    scores, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.3
    times = np.concatenate([np.ones((1, 60)), draw_multiplicities(np.arange(60), 5, rng)])
    found = utility.weighted_auroc(scores, positive, times)
    for value, row in zip(found, times.astype(int), strict=True):
        assert value == pytest.approx(auroc(np.repeat(scores, row), np.repeat(positive, row).astype(float)))


def test_a_weighted_auroc_is_undefined_without_a_class(utility):
    assert np.isnan(utility.weighted_auroc(np.arange(3.0), np.ones(3, bool), np.ones((1, 3)))).all()


def test_calls_are_as_common_as_asked_for_and_go_to_the_highest(utility, rng):
    logits = rng.standard_normal((200, 2)).astype(np.float32)
    calls = utility.call_as_often(logits, [0.25, 0.0])
    assert calls.sum(axis=0).tolist() == [50, 0]
    assert logits[calls[:, 0] == 1, 0].min() > logits[calls[:, 0] == 0, 0].max()


def test_soft_labels_are_on_average_as_common_as_the_labels(utility, rng):
    films, labels = rng.normal(2, 1, (500, 1)), (np.arange(100)[:, None] < 20).astype(np.float32)
    soft = utility.soft_labels(films, films, labels)
    assert soft.mean() == pytest.approx(0.2, abs=1e-4)
    assert np.corrcoef(soft[:, 0], films[:, 0])[0, 1] > 0.8


def test_label_sets_leave_out_films_without_any_and_name_them_in_order(utility):
    labels = np.array([[1, 0], [0, 0], [0, 1], [1, 1], [0, 1]], np.float32)
    assert utility.label_sets(labels, FINDINGS) == {"No Finding": 1, "Edema": 2, "No Finding|Edema": 1}


def test_what_was_asked_for_is_labelled_one_and_the_rest_zero(utility):
    assert utility.asked_labels(("Edema",), FINDINGS).tolist() == [0, 1]


def test_scores_of_folds_are_made_comparable_and_stay_with_their_rows(utility, rng):
    logits = {arm: rng.normal(5, 3, (2, 40, 2)).astype(np.float32) for arm in utility.ARMS}
    shifted = {arm: 2 * values + 7 for arm, values in logits.items()}
    folds = [utility.Fold(0, np.arange(40), logits, {}), utility.Fold(1, np.arange(40, 80), shifted, {})]
    rows, scores = utility.pool(folds)
    assert rows.tolist() == list(range(80))
    for values in scores.values():
        np.testing.assert_allclose(values[:, :40], values[:, 40:], atol=1e-4)
        assert values[:, :40].std(axis=1) == pytest.approx(np.ones((2, 2)))


def test_retention_is_of_the_excess_and_macro_the_ratio_of_means(utility, rng):
    scores, labels, patients = some_scores(rng)
    found = utility.compare(scores, labels, patients, FINDINGS, resamples=50)
    excess = {
        arm: [np.mean([auroc(one[:, k], labels[:, k]) for one in scores[arm]]) - 0.5 for k in (0, 1)] for arm in scores
    }
    assert found["auroc"]["tstr"]["Edema"]["value"] == pytest.approx(excess["tstr"][1] + 0.5, abs=1e-4)
    assert found["retention"]["tstr"]["Edema"]["value"] == pytest.approx(
        excess["tstr"][1] / excess["trtr"][1], abs=1e-3
    )
    macro = found["excess_retention"]
    assert macro == found["retention"]["tstr"]["macro"]
    assert macro["value"] == pytest.approx(np.mean(excess["tstr"]) / np.mean(excess["trtr"]), abs=1e-3)
    assert macro["low"] < macro["value"] < macro["high"]
    assert found["retention"]["trtr"]["macro"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["positives"]["Edema"] == labels[:, 1].sum()


def test_arms_are_resampled_together(utility, rng):
    scores, labels, patients = some_scores(rng)
    scores["pseudo_draws"] = scores["tstr"]
    found = utility.compare(scores, labels, patients, FINDINGS, resamples=50)
    assert found["differences"]["tstr - pseudo_draws"]["macro"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_mean_logit_of_the_seeds_beats_a_network(utility, rng):
    scores, labels, patients = some_scores(rng, seeds=8)
    found = utility.compare(scores, labels, patients, FINDINGS, resamples=10)
    assert found["auroc_ensemble"]["tstr"]["macro"]["value"] > found["auroc"]["tstr"]["macro"]["value"]


def test_the_tables_name_every_arm_finding_and_difference(utility, rng):
    scores, labels, patients = some_scores(rng)
    text = "\n".join(utility.tables(utility.compare(scores, labels, patients, FINDINGS, resamples=20), FINDINGS))
    for word in (*scores, *FINDINGS, "macro", "tstr - pseudo_draws"):
        assert word in text


def test_fits_are_named_by_what_decides_them_only(utility, tmp_path, monkeypatch):
    monkeypatch.setattr(utility, "open_set", lambda folder: dataclasses.make_dataclass("Set", ["sha256"])(folder.name))
    (tmp_path / "g").write_bytes(b"weights")
    bench = utility.Bench(
        nih=tmp_path / "a",
        mednist=tmp_path / "b",
        generator=tmp_path / "g",
        findings=FINDINGS,
        classifier=utility.ClassifierSettings(),
        recipe=utility.Recipe(),
        work=tmp_path,
    )
    stricter = dataclasses.replace(bench, recipe=utility.Recipe(search=SearchSettings(strictness=0.1)))
    longer = dataclasses.replace(bench, classifier=utility.ClassifierSettings(epochs=2))
    for name in (*utility.ARMS, "images", "member0"):
        assert bench.path(0, name) != bench.path(1, name)
        assert bench.path(0, name) != longer.path(0, name)
        assert (bench.path(0, name) != stricter.path(0, name)) == (name in ("images", "tstr", "real_synthetic"))


def test_quick_is_one_fold_and_one_seed(utility):
    arguments = utility.parse(["--quick", "--findings", "Edema,No Finding", "--match", "view"])
    assert (arguments.folds, arguments.seeds, arguments.findings) == ([0], 1, ["Edema", "No Finding"])
    assert utility.make_recipe(arguments).search.match == ("view",)


def test_it_says_how_it_is_used():
    environment = os.environ | {"COLUMNS": "120"}
    told = subprocess.run(
        [sys.executable, str(SCRIPTS / f"{NAME}.py"), "--help"], capture_output=True, text=True, env=environment
    )
    assert told.returncode == 0, told.stderr
    assert "--quick" in told.stdout
