"""scripts/bench_latents_utility.py: its parts, and that it says how it is used; the bench itself takes 25 minutes."""

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xrarchive.plan import SearchSettings

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
NAME, WORKSHOP = "bench_latents_utility", "bench_latents_workshop"
FINDINGS = ("No Finding", "Edema")


@pytest.fixture(scope="module")
def utility():
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module(NAME)
    sys.path.remove(str(SCRIPTS))
    for name in (NAME, WORKSHOP):
        del sys.modules[name]


@pytest.fixture(scope="module")
def workshop(utility):
    return sys.modules[utility.Workshop.__module__]


def some_scores(rng, *, films=300, seeds=2, arms=("trtr", "tstr", "pseudo_draws")):
    labels = (rng.random((films, 2)) < [0.4, 0.2]).astype(np.float32)
    noise = {"trtr": 1.0, "tstr": 2.0, "pseudo_draws": 2.0}
    scores = {arm: labels + noise[arm] * rng.standard_normal((seeds, films, 2)) for arm in arms}
    return scores, labels, np.array([f"p{film // 2}" for film in range(films)])


def test_soft_labels_are_on_average_as_common_as_the_labels(workshop, rng):
    films, labels = rng.normal(2, 1, (500, 1)), (np.arange(100)[:, None] < 20).astype(np.float32)
    soft = workshop.soft_labels(films, films, labels)
    assert soft.mean() == pytest.approx(0.2, abs=1e-4)
    assert np.corrcoef(soft[:, 0], films[:, 0])[0, 1] > 0.8


def test_label_sets_leave_out_films_without_any_and_name_them_in_order(workshop):
    labels = np.array([[1, 0], [0, 0], [0, 1], [1, 1], [0, 1]], np.float32)
    assert workshop.label_sets(labels, FINDINGS) == {"No Finding": 1, "Edema": 2, "No Finding|Edema": 1}


def test_what_was_asked_for_is_labelled_one_and_the_rest_zero(workshop):
    assert workshop.asked_labels(("Edema",), FINDINGS).tolist() == [0, 1]


def test_folds_stay_with_their_rows(utility, rng):
    logits = {arm: rng.normal(5, 3, (2, 40, 2)).astype(np.float32) for arm in utility.ARMS}
    folds = [utility.Fold(0, np.arange(40), logits, {}), utility.Fold(1, np.arange(40, 80), logits, {})]
    rows, scores = utility.pool_folds(folds)
    assert rows.tolist() == list(range(80))
    assert {values.shape for values in scores.values()} == {(2, 80, 2)}


def test_a_comparison_is_told_by_arm_finding_and_difference(utility, rng):
    scores, labels, patients = some_scores(rng)
    found = utility.compare(scores, labels, patients, FINDINGS, differences=utility.DIFFERENCES, resamples=20)
    told = utility.told_of(found, labels, FINDINGS)
    assert told["excess_retention"] == told["retention"]["tstr"]["macro"]
    assert told["retention"]["trtr"]["macro"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert told["auroc"]["tstr"]["Edema"]["value"] == round(found.auroc["tstr"]["Edema"].value, 4)
    assert told["positives"]["Edema"] == labels[:, 1].sum()
    text = "\n".join(utility.tables(told, FINDINGS))
    for word in (*scores, *FINDINGS, "macro", "tstr - pseudo_draws"):
        assert word in text


def test_fits_are_named_by_what_decides_them_only(workshop, tmp_path, monkeypatch):
    monkeypatch.setattr(workshop, "open_set", lambda folder: dataclasses.make_dataclass("Set", ["sha256"])(folder.name))
    (tmp_path / "g").write_bytes(b"weights")
    bench = workshop.Bench(
        nih=tmp_path / "a",
        mednist=tmp_path / "b",
        generator=tmp_path / "g",
        findings=FINDINGS,
        classifier=workshop.ClassifierSettings(),
        recipe=workshop.Recipe(),
        work=tmp_path,
    )
    stricter = dataclasses.replace(bench, recipe=workshop.Recipe(search=SearchSettings(strictness=0.1)))
    longer = dataclasses.replace(bench, classifier=workshop.ClassifierSettings(epochs=2))
    for name in (*workshop.ARMS, "images", "member0"):
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
