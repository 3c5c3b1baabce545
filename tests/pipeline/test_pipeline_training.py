"""`pipeline.status` on the files of runs in every state, and `files.is_locked`, which it asks."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from xrarchive import pipeline
from xrarchive.errors import InputDataError
from xrarchive.files import is_locked, locked

TICK = {"nimg": 4_000, "px": 16, "alpha": 0.5, "loss_d": 1.0, "loss_g": 0.9, "images_per_s": 50.0, "left_s": 120.0}


@pytest.fixture
def run_dir(tmp_path):
    """A run of 10,000 images that was stopped in the middle."""
    (tmp_path / "run.json").write_text(json.dumps({"settings": {"nimg": 10_000}}))
    (tmp_path / "checkpoints/nimg-000003000").mkdir(parents=True)
    critic = {"critic": 0.55, "critic_low": 0.5, "critic_high": 0.6}
    kids = [{"nimg": 2_000, "kid": 0.3, **critic}, {"nimg": 4_000, "kid": 0.4}]
    lines = [{**TICK, "nimg": 2_000}, kids[0], {**TICK, "warnings": ["collapse: alike"]}, kids[1]]
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"nimg": 60')
    return tmp_path


def test_a_stopped_run(run_dir):
    found = pipeline.status(run_dir)
    assert (found["state"], found["finished"], found["left_s"]) == ("stopped", False, None)
    assert (found["nimg"], found["total"], found["px"], found["alpha"]) == (4_000, 10_000, 16, 0.5)
    assert found["last"]["loss_d"] == 1.0
    assert found["best"] == {"nimg": 2_000, "kid": 0.3}
    assert found["critic"] == {"nimg": 2_000, "auroc": 0.55, "low": 0.5, "high": 0.6}
    assert found["warnings"] == ["collapse: alike"]
    assert found["checkpoint"] == "nimg-000003000"


def test_a_running_run_is_told_from_its_lock_and_not_disturbed(run_dir):
    with locked(run_dir):
        before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
        found = pipeline.status(run_dir)
        assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before
    assert (found["state"], found["images_per_s"], found["left_s"]) == ("running", 50.0, 120.0)


def test_a_finished_run_and_one_that_was_prolonged(run_dir):
    (run_dir / "generator.safetensors").touch()
    assert pipeline.status(run_dir)["state"] == "stopped"
    (run_dir / "checkpoints/nimg-000010000").mkdir()
    found = pipeline.status(run_dir)
    assert (found["state"], found["finished"], found["nimg"]) == ("finished", True, 10_000)


def test_a_run_before_its_first_tick(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"settings": {"nimg": 10_000}}))
    found = pipeline.status(tmp_path)
    assert (found["state"], found["nimg"], found["last"], found["warnings"]) == ("stopped", 0, {}, [])
    assert {found[name] for name in ("px", "alpha", "images_per_s", "left_s", "best", "critic", "checkpoint")} == {None}


def test_curves_on_request(run_dir):
    pipeline.status(run_dir, plot=run_dir / "curves.png")
    assert (run_dir / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_status_needs_no_torch(run_dir):
    script = "import sys\nfrom pathlib import Path\nfrom xrarchive import pipeline\n"
    script += "pipeline.status(Path(sys.argv[1]), plot=Path(sys.argv[1], 'c.png'))\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script, run_dir], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_lock_is_seen_from_outside_while_it_is_held(tmp_path):
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


@pytest.mark.parametrize(
    "holder", ["process 1 on elsewhere", f"process {os.getpid()} on {socket.gethostname()}", ""], ids=range(3)
)
def test_a_holder_that_was_killed_holds_nothing(tmp_path, holder):
    with locked(tmp_path):
        pass
    (tmp_path / ".lock").touch()
    (tmp_path / ".lock-holder").write_text(holder)
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        pass


def test_a_lock_of_a_process_that_is_gone_is_not_even_looked_at(tmp_path, monkeypatch):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (tmp_path / ".lock").touch()
    (tmp_path / ".lock-holder").write_text(f"process {int(ended.stdout)} on {socket.gethostname()}")
    monkeypatch.setattr("fcntl.flock", None)
    assert not is_locked(tmp_path)


def test_status_of_a_training(tiny_weights, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(tiny_weights["generator"].parent, run_dir)
    status = pipeline.status(run_dir)
    assert (status["nimg"], status["total"], status["finished"]) == (2_000, 2_000, True)
    assert status["checkpoint"] == "nimg-000002000"
    with (run_dir / "stats.jsonl").open("a") as stream:
        stream.write('{"nimg": 20')  # caught in the middle of a write
    assert pipeline.status(run_dir) == status


def test_status_of_no_training(tmp_path):
    with pytest.raises(InputDataError, match="No generator run at"):
        pipeline.status(tmp_path)
