"""scripts/reproduce_bundled: the record is equalled, a byte that differs is found, and what is published repeats."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xrarchive.files import write_json

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("XRARCHIVE_DATA", ROOT.parent / "shared" / "data"))
PER_CLASS = 6
DIFFERS = 20


def reproduce(*arguments, **environment):
    return subprocess.run(
        [ROOT / "scripts/reproduce_bundled", *map(str, arguments)],
        env={**os.environ, "XRARCHIVE_DATA": str(DATA), "XRARCHIVE_PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "archive.json"
    done = reproduce("--write", "--per-class", PER_CLASS, "--record", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("Recorded: ")
    return path


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_second_run_equals_the_record_and_publishes_the_same_bytes_twice(record, tmp_path):
    for name in ("mednist", "nih64"):
        if not (DATA / name / "labels.csv").is_file():
            pytest.skip(f"no real radiographs at {DATA / name} (XRARCHIVE_DATA)")
    done = reproduce("--quick", "--record", record, tmp_path / "work")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every byte is that of the record." in done.stdout
    assert "20 of 20 images made again are the stored ones bit for bit." in done.stdout
    assert done.stdout.count("Weights as here: generator.safetensors, guide.safetensors, judge.safetensors.") == 2
    assert "images of (64, 64) px with their origins, 6 of them" in done.stdout
    assert "CLOSED, and waived" in done.stdout  # --quick opens no gate
    assert done.stdout.splitlines()[-1].startswith("Reproduced: ")
    listed = {name: sorted((tmp_path / "work" / name).rglob("*.*")) for name in ("first", "second")}
    assert len(listed["first"]) == len(listed["second"]) > 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_altered_digit_of_the_record_is_found(record, tmp_path):
    altered = json.loads(record.read_bytes())
    name = "data/train-00000.parquet"
    digit = altered["files"][name][0]
    altered["files"][name] = ("1" if digit == "0" else "0") + altered["files"][name][1:]
    altered["versions"]["torch"] = "0.1"
    write_json(tmp_path / "altered.json", altered)
    done = reproduce("--archive-only", "--record", tmp_path / "altered.json")
    assert done.returncode == DIFFERS, done.stdout + done.stderr
    assert "Split, ids, labels and pixels are those of the record." in done.stdout
    assert f"{name}: recorded {altered['files'][name]}" in done.stdout
    assert "torch: recorded 0.1" in done.stdout
    assert "Reproduced" not in done.stdout


def test_without_radiographs_it_says_so(tmp_path):
    done = reproduce(XRARCHIVE_DATA=str(tmp_path))
    assert done.returncode == 3
    assert "XRARCHIVE_DATA=DIR" in done.stderr


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--per-class", "0"], ["--record"], ["one", "two"]])
def test_usage(arguments):
    done = reproduce(*arguments)
    assert done.returncode == 2
    assert "See the head of the script" in done.stderr


@pytest.fixture(scope="module")
def recording():
    spec = importlib.util.spec_from_file_location("bundled_record", ROOT / "scripts" / "bundled_record.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundled():
    return json.loads((ROOT / "xrarchive" / "bundled" / "archive.json").read_bytes())


def altered(bundled, **changes):
    return {
        **bundled,
        **{name: {**bundled[name], **value} if isinstance(value, dict) else value for name, value in changes.items()},
    }


def test_equal_bytes_are_equal_whatever_made_them(recording, bundled):
    assert list(recording.differences(bundled, bundled)) == []
    assert list(recording.differences(bundled, altered(bundled, versions={"torch": "9"}))) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"content_sha256": "0"}, ["The images are others", "it is the code that makes other bytes"]),
        ({"manifest_sha256": "0"}, ["What differs is around them", "manifest_sha256: recorded"]),
        ({"files": {"data/train-00001.parquet": "0"}}, ["data/train-00001.parquet: recorded none, here 0"]),
        ({"manifest_sha256": "0", "machine": {"vectors": "AVX2"}}, ["may be why", "vectors: recorded", "here AVX2"]),
        ({"manifest_sha256": "0", "weights": {"generator": "0"}}, ["generator: recorded", "of other weights"]),
        ({"manifest_sha256": "0", "rows": 3}, ["rows: recorded", "here 3"]),
    ],
)
def test_what_differs_is_said_and_what_may_be_why(recording, bundled, changes, expected):
    said = "\n".join(recording.differences(bundled, altered(bundled, **changes)))
    for words in expected:
        assert words in said


@pytest.fixture(scope="module")
def holding():
    spec = importlib.util.spec_from_file_location("hold_downloaded", ROOT / "tests" / "hub" / "hold_downloaded.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda there: (there / "data/train-00000.parquet").write_bytes(b"PAR1"), "data/train-00000.parquet differs"),
        (
            lambda there: (there / "provenance/train-00000.parquet").unlink(),
            "provenance/train-00000.parquet is not there",
        ),
        (lambda there: (there / "README.md").write_text("# Other"), "README.md differs"),
        (lambda there: (there / "stray.txt").write_text("x"), "stray.txt is there, and not in the archive"),
    ],
)
def test_what_was_downloaded_is_held_against_the_archive(holding, tiny_carded, tmp_path, spoil, said):
    from xrarchive import pipeline

    permission = "The films are the test's own."
    (tmp_path / "shelf").mkdir()
    archive = shutil.copytree(tiny_carded, tmp_path / "chests")
    pipeline.publish(
        archive, "me/chests", version="1.0.0", no_weights=True, permission=permission, to=tmp_path / "shelf"
    )
    there = tmp_path / "shelf/me/chests/v1.0.0"
    assert list(holding.dataset_problems(there, archive, "me/chests", "1.0.0")) == []
    for path in there.rglob("*"):
        path.chmod(0o755)
    spoil(there)
    assert any(line.startswith(said) for line in holding.dataset_problems(there, archive, "me/chests", "1.0.0"))
