"""A study of 60 cases of the bundled model's images and real radiographs: made, read by simulated readers, scored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xrarchive.files import read_json
from xrarchive.pipeline import build
from xrarchive.radiographs import ingest

DATA = Path(os.environ.get("XRARCHIVE_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
TERMS = ("nih-chestxray14", "mednist")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if not (DATA / "nih64" / "labels.csv").is_file():
        pytest.skip(f"no real radiographs at {DATA}; set XRARCHIVE_DATA")
    folder = tmp_path_factory.mktemp("real-study")
    ingest(DATA / "nih64", folder / "set", terms=TERMS)
    build(folder / "archive", per_class=4, workers=1)
    return folder


def run(folder, line):
    done = subprocess.run(
        [sys.executable, "-m", "xrarchive", *line.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", ["both", "review"])
def test_sixty_cases_from_end_to_end(world, task):
    name = f"study-{task}"
    made = run(
        world,
        f"study make archive --radiographs set --out {name} --cases 60 --practice 6 --task {task} --technical --yes",
    )
    assert "3 pages of" in made
    study = read_json(world / name / "study.json", what="study", fix="")
    assert all(leak["high"] < 0.6 for leak in study["leaks"])
    assert set(study["terms"]) == set(TERMS)
    run(world, f"study simulate {name} --out results-{task} --sensitivity 1.5")
    results = " ".join(str(path.relative_to(world)) for path in sorted((world / f"results-{task}").glob("*.json")))
    run(world, f"study score {name} {results}")
    score = read_json(world / name / "score" / "score.json", what="score", fix="")
    if task == "both":
        assert 0.6 < score["realism"]["accuracy"]["value"] < 0.95
        assert len(score["realism"]["by_finding"]) >= 5
    else:
        assert len(score["review"]) >= 5
