"""Builds that several processes share: one of them killed, or with a clock that jumps."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_build import FINDINGS, SEARCH, SEARCH_OPTIONS, archive_bytes, build_tiny

from xrarchive.archive.manifest import MANIFEST_NAME
from xrarchive.archive.shards import WORK
from xrarchive.files import leased

DAY_S = 86_400
PROCESSES, PER_CLASS, UNIT_IMAGES = 3, 60, 2  # ninety units
PATIENCE_S = 240
# A process that torchrun starts makes the share of its rank, as one of a job array would.
SHARE_OF_RANK = """
import os, sys
own = f"{int(os.environ.pop('RANK')) + 1}/{os.environ.pop('WORLD_SIZE')}"
os.execv(sys.executable, [sys.executable, "-m", "xrarchive", *sys.argv[1:], "--units", own])
"""


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


# One is killed


@pytest.fixture(scope="module")
def alone(weights, tmp_path_factory):
    search = dataclasses.replace(SEARCH, unit_images=UNIT_IMAGES)
    return build_tiny(tmp_path_factory.mktemp("alone") / "archive", weights, per_class=PER_CLASS, search=search)


def command(weights, out):
    words = ["build", "--out", out, "--per-class", PER_CLASS, "--findings", ",".join(FINDINGS), *SEARCH_OPTIONS]
    words += ["--set", f"unit_images={UNIT_IMAGES}"]
    return list(map(str, [*words, *(word for role, path in weights.items() for word in (f"--{role}", path))]))


def started(arguments, log):
    with log.open("ab") as stream:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, *arguments], env=environment, stdout=stream, stderr=stream)


def torchrun(*arguments):
    places = ["--standalone", f"--nproc-per-node={PROCESSES}", "--max-restarts=3", "--monitor-interval=0.2"]
    return ["-m", "torch.distributed.run", *places, *arguments]


def run_ranks(weights, out, folder):
    """Processes of torchrun, which starts all of them again when one is gone."""
    return [started(torchrun("-m", "xrarchive", *command(weights, out)), folder / "log.txt")]


def run_shares_of_ranks(weights, out, folder):
    """The same, each with a share of the units and leases on what it makes."""
    (folder / "share.py").write_text(SHARE_OF_RANK)
    return [started(torchrun(str(folder / "share.py"), *command(weights, out)), folder / "log.txt")]


def run_job_array(weights, out, folder):
    """Processes that know nothing of each other and are not started again."""
    shares = [f"{number}/{PROCESSES}" for number in range(1, PROCESSES + 1)]
    words = ["-m", "xrarchive", *command(weights, out), "--units"]
    return [started([*words, share], folder / "log.txt") for share in shares]


def descendants(process):
    path = Path(f"/proc/{process}/task/{process}/children")
    direct = path.read_text().split() if path.exists() else []
    return [below for child in direct for below in (int(child), *descendants(int(child)))]


def is_build(process):
    """Whether it runs the command itself, and not torchrun that starts it."""
    words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    return words[1:4] == [b"-m", b"xrarchive", b"build"] or words[1:5] == [b"-u", b"-m", b"xrarchive", b"build"]


def builds(processes):
    """Of the processes started and those they started, the ones that build."""
    found = [pid for process in processes for pid in (process.pid, *descendants(process.pid))]
    return sorted(pid for pid in found if is_build(pid))


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("run", [run_ranks, run_shares_of_ranks, run_job_array], ids=lambda run: run.__name__)
def test_a_process_that_is_killed_leaves_the_others_nothing_wrong(alone, weights, tmp_path, run):
    out = tmp_path / "archive"
    processes = run(weights, out, tmp_path)
    end_s = time.monotonic() + PATIENCE_S
    while len(list(out.glob(f"{WORK}/unit-*.json"))) < 3:
        assert time.monotonic() < end_s, (tmp_path / "log.txt").read_text()
        time.sleep(0.01)
    os.kill(builds(processes)[-1], signal.SIGKILL)
    assert not (out / MANIFEST_NAME).exists(), "killed too late to tell"
    codes = [process.wait(timeout=PATIENCE_S) for process in processes]
    killed = [-signal.SIGKILL] if run is run_job_array else []
    assert [code for code in codes if code] == killed, (tmp_path / "log.txt").read_text()
    assert archive_bytes(out) == archive_bytes(alone.out)


# A clock jumps


def jump(folder, monkeypatch, seconds):
    """The clock of this machine, and the times of all files there, are off by so much from now on."""
    now = time.time()
    for path in folder.rglob("*"):
        os.utime(path, (now + seconds, now + seconds))
    monkeypatch.setattr(time, "time", lambda: now + seconds)


@pytest.mark.parametrize("days", [-1, 1])
def test_a_lease_outlasts_a_jump_of_the_clock_and_ends_with_its_holder(tmp_path, monkeypatch, days):
    lease = tmp_path / "unit-00000.lock"
    with leased(lease) as held:
        assert held
        jump(tmp_path, monkeypatch, days * DAY_S)
        with leased(lease) as free:
            assert not free
    with leased(lease) as free:
        assert free


def stop(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("days", [-1, 1])
def test_jumps_of_the_clock_change_nothing_in_a_shared_build(weights, tmp_path, monkeypatch, days):
    straight, shared = tmp_path / "straight", tmp_path / "shared"
    build_tiny(straight, weights)
    with pytest.raises(KeyboardInterrupt):  # claimed, and no unit made
        build_tiny(shared, weights, on_status=stop)
    jumps = []

    def jumping(_):
        jumps.append((-1) ** len(jumps))
        jump(shared, monkeypatch, jumps[-1] * days * DAY_S)

    with leased(shared / WORK / "unit-00001.lock"):
        assert build_tiny(shared, weights, units=(1, 2), on_status=jumping).unfinished
    assert not build_tiny(shared, weights, units=(2, 2), on_status=jumping).unfinished
    assert len(jumps) > 4
    assert archive_bytes(shared) == archive_bytes(straight)
