"""Fidelity and instruments of a tiny archive, wired: spaces, cache, torchrun."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from xrarchive import pipeline
from xrarchive.archive.manifest import VALIDATION_NAME
from xrarchive.errors import InputDataError, SettingsError
from xrarchive.features import imagenet_fingerprint
from xrarchive.radiographs import open_set
from xrarchive.validating import instruments, validate
from xrarchive.validation.degrading import DEGRADATIONS


@pytest.fixture(scope="module")
def built(tiny_built):
    return tiny_built


@pytest.fixture(scope="module")
def films(tiny_set, tmp_path_factory):
    """The tiny radiographs with every other patient held out: enough for floors."""
    source, found = tmp_path_factory.mktemp("halves"), open_set(tiny_set)
    rows = ["image,labels,patient_id,split"]
    for row, (pixels, patient) in enumerate(zip(found.pixels, found.patients, strict=True)):
        Image.fromarray(pixels).save(source / f"{row:03}.png")
        rows.append(f"{row:03}.png,No Finding,{patient},{('train', 'holdout')[int(patient[1:]) % 2]}")
    (source / "labels.csv").write_text("\n".join(rows) + "\n")
    pipeline.ingest(source, source / "set", size_px=16, findings=("Effusion", "Mass"))
    return source / "set"


@pytest.fixture
def archive(built, tmp_path):
    return shutil.copytree(built, tmp_path / "archive")


@pytest.fixture
def measure(archive, films, tiny_judge):
    def run(**changes):
        values = {"radiographs": [films], "judge": tiny_judge, "only": ["fidelity"], "spaces": ["judge"]}
        return validate(archive, **(values | changes))

    return run


def test_fidelity_has_floor_control_and_ratio(measure):
    report = measure()
    found = report["fidelity"]["judge"]["kid"]
    assert set(report["fidelity"]) == {"judge"}
    assert {"value", "low", "high", "n", "floor", "control", "ratio", "n_real", "n_patients"} <= set(found)
    assert found["ratio"]["low"] <= found["ratio"]["value"] <= found["ratio"]["high"]


def test_without_radiographs_the_bundled_reference_says_why_not(measure):
    report = measure(radiographs=[], only=["fidelity", "instruments"], spaces=["imagenet", "judge"])
    assert "weights" in report["fidelity"]["judge"]["kid"]["reason"]
    assert "--radiographs" in report["fidelity"]["imagenet"]["kid"]["control"]["reason"]
    assert "--radiographs" in report["instruments"]["imagenet"]["kid"]["reason"]


def test_a_cache_changes_nothing_and_is_used(measure, tmp_path, monkeypatch):
    plain, cache = measure(), tmp_path / "cache"
    assert measure(cache=cache) == plain
    assert len(list(cache.rglob("*.npy"))) == 3  # images, films, films made worse
    monkeypatch.setattr("xrarchive.features.extracting._extract", None)  # would be called for what is not there
    assert measure(cache=cache) == plain


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(measure, workers, archive):
    first = measure(workers=workers)
    assert first == measure(workers=3)
    assert json.loads((archive / VALIDATION_NAME).read_bytes()) == first


def test_the_report_names_spaces_and_fingerprints(measure):
    spaces = measure(spaces=["imagenet", "judge"])["reference"]["spaces"]
    assert spaces["imagenet"] == {"dim": 1280, "fingerprint": imagenet_fingerprint()}
    assert spaces["judge"]["dim"] > 0


def test_a_space_nobody_knows_or_has_is_refused_before_anything_is_measured(measure, archive, tmp_path):
    with pytest.raises(SettingsError, match="no feature space"):
        measure(spaces=["imagenot"])
    with pytest.raises(InputDataError, match="are not at"):
        measure(spaces=[f"inception={tmp_path / 'weights.pth'}"])
    assert not (archive / VALIDATION_NAME).exists()


def test_instruments_follow_every_degradation(measure, monkeypatch):
    monkeypatch.setattr(instruments, "DEGRADATIONS", {"blur": DEGRADATIONS["blur"], "noise": DEGRADATIONS["noise"]})
    found = measure(only=["instruments"])["instruments"]["judge"]
    rows = found["kid"]["degradations"]
    assert [row["name"] for row in rows] == ["blur", "noise"]
    assert all(len(row["values"]) == 6 and -1 <= row["spearman"]["value"] <= 1 for row in rows)
    assert "needs" in found["frechet"]["reason"]  # of 24 patients one film each
    assert "--quick" in measure(only=["instruments"], quick=True)["instruments"]["judge"]["kid"]["reason"]


def test_the_users_cache_is_where_it_is_told_to_be(monkeypatch, tmp_path):
    monkeypatch.setenv("XRARCHIVE_CACHE", str(tmp_path / "here"))
    assert pipeline.user_cache() == tmp_path / "here"
    monkeypatch.delenv("XRARCHIVE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert pipeline.user_cache() == tmp_path / "xrarchive" / "features"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_under_torchrun_the_report_is_the_same_to_the_last_digit(archive, films, tiny_judge, tmp_path):
    (tmp_path / "xrarchive.toml").write_text("[gates]\nnear_duplicates = 1.0\n")  # of 16 px images many are alike
    command = ["validate", archive, "--radiographs", films, "--judge", tiny_judge, "--no-cache", "--json"]
    command += ["--only", "integrity,fidelity,instruments"]
    found = {}
    for processes in (1, 2, 3):
        (archive / VALIDATION_NAME).unlink(missing_ok=True)
        run = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "xrarchive"]
        told = subprocess.run(
            [sys.executable, *run, *map(str, command)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["fidelity"]  # one process speaks
        found[processes] = (archive / VALIDATION_NAME).read_bytes()
    assert found[1] == found[2] == found[3]
    assert np.isfinite(json.loads(found[1])["fidelity"]["imagenet"]["kid"]["value"])
