"""Known defects of an archive are caught by the measures meant for them: on real films, with the bundled weights."""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xrarchive import pipeline
from xrarchive.plan import SearchSettings
from xrarchive.radiographs import ingest
from xrarchive.validation.reached import REACHED_BAR

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
NAME = "bench_validate_labels"
DATA = Path(os.environ.get("XRARCHIVE_DATA", SCRIPTS.parent.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module(NAME)
    sys.path.remove(str(SCRIPTS))
    del sys.modules[NAME]


@pytest.fixture(scope="module")
def clean(bench, tmp_path_factory):
    """25 images of each of four findings, and the real films of nih64."""
    if not (DATA / "nih64" / "labels.csv").is_file():
        pytest.skip(f"no real radiographs at {DATA / 'nih64'}; set XRARCHIVE_DATA")
    work = tmp_path_factory.mktemp("defects")
    ingest(DATA / "nih64", work / "films", size_px=64)
    findings = ["No Finding", "Effusion", "Edema", "Emphysema"]
    search = SearchSettings(strictness=0.1)  # of 451 films, a twentieth is too few for a control
    pipeline.build(work / "archive", per_class=25, findings=findings, search=search, workers=1)
    return bench.open_archive(argparse.Namespace(archive=work / "archive", radiographs=[work / "films"], quick=True))


def measured(bench, clean, name):
    return bench.report(bench.DEFECTS[name](clean, np.random.default_rng(0)))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_wrong_with_the_archive_as_built(bench, clean):
    found = measured(bench, clean, "as built")
    assert found["labels"]["reached"]["value"] == 1
    assert found["labels"]["stored_scores"]["value"] == 0
    for name, one in found["labels"]["findings"].items():
        assert one["low"] > 0.5, name
        assert one["transfer"]["value"] > 0.8, name
    assert found["integrity"]["exact_duplicates"]["value"] == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tenth_of_swapped_labels_is_caught(bench, clean):
    found = measured(bench, clean, "labels swapped 10 %")["labels"]["reached"]
    assert 0.88 <= found["value"] < REACHED_BAR
    assert len(found["image_ids"]) == round(100 * (1 - found["value"]))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_images_of_another_finding_are_caught(bench, clean):
    found = measured(bench, clean, "wrong finding")["labels"]
    assert found["reached"]["value"] < 0.5
    assert min(one["high"] for one in found["findings"].values()) < 0.5
    assert min(one["transfer"]["high"] for one in found["findings"].values()) < 0.5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_labels_nobody_searched_for_are_caught(bench, clean):
    found = measured(bench, clean, "unsteered")["labels"]
    assert found["reached"]["value"] < 0.5
    assert max(one["transfer"]["low"] for one in found["findings"].values()) < 0.5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_few_images_over_and_over_are_caught(bench, clean, monkeypatch):
    before = measured(bench, clean, "as built")["diversity"]["spaces"][bench.SPACE]
    monkeypatch.setattr(bench, "FEW", 8)
    found = measured(bench, clean, "few modes")
    after = found["diversity"]["spaces"][bench.SPACE]
    for name in ("recall", "coverage"):
        assert after[name]["value"] < 0.5 * before[name]["value"], name
    assert found["integrity"]["near_duplicates"]["value"] > 80


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_copies_are_counted(bench, clean):
    assert 5 <= measured(bench, clean, "a tenth copied")["integrity"]["exact_duplicates"]["value"] <= 10


def test_swapped_labels_are_as_many_as_said_and_none_stays(bench, monkeypatch):
    labels = np.repeat(np.arange(4), 25)
    asked = np.eye(4, dtype=bool)[labels]
    images = argparse.Namespace(pixels=np.zeros((100, 2, 2), np.uint8), labels=labels, asked=asked)
    clean = argparse.Namespace(subject=argparse.Namespace(images=images))
    monkeypatch.setattr(bench, "spoiled", lambda _clean, _pixels, changed: changed)
    changed = bench.swapped(0.2)(clean, np.random.default_rng(0))
    assert (changed != asked).any(axis=1).sum() == 20
    np.testing.assert_array_equal(changed.sum(axis=0), asked.sum(axis=0))


def test_it_says_how_it_is_used():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{NAME}.py", "--help"], capture_output=True, text=True, check=True, env=environment
    )
    assert "--radiographs" in done.stdout
