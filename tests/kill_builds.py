"""Kill builds again and again at random moments and run the same command until it ends; tells what it saw as JSON.

Run as `python kill_builds.py REFERENCE OUT KILLS GENERATOR GUIDE JUDGE`. REFERENCE is the archive of an undisturbed
build. A build takes a tenth of a second and the imports several seconds, so that children are forked after the imports;
this process never runs a network itself, and so has no threads that a fork would lose.

A moment is a number of files to wait for and then up to 30 ms more: kills fall everywhere, on a busy machine too.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from tiny_build import archive_bytes, build_tiny

from xrarchive.archive.reader import check_archive

FILES_MORE_AT_MOST = 6
DELAY_AT_MOST_S = 0.03
HUNG_S = 60


def start_build(out: Path, weights: dict[str, Path]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            build_tiny(out, weights)
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child: int) -> bool:
    pid, status = os.waitpid(child, os.WNOHANG)
    assert not pid or status == 0, f"the build failed with status {status}"
    return bool(pid)


def files(out: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(out))


def kill_or_wait(child: int, out: Path, rng: random.Random) -> bool:
    """Whether the build was killed; False if it ended before its moment came."""
    wanted, hung = files(out) + rng.randint(0, FILES_MORE_AT_MOST), time.monotonic() + HUNG_S
    while files(out) < wanted:
        if ended(child):
            return False
        assert time.monotonic() < hung, "the build hangs"
        time.sleep(0.001)
    time.sleep(rng.uniform(0, DELAY_AT_MOST_S))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def state(out: Path) -> str:
    """What a kill left: `nothing`, `units N`, or a `finished` archive, which must then be sound."""
    if (out / "manifest.json").exists():
        assert check_archive(out, read_data=True).problems == ()
        return "finished"
    return f"units {len(list(out.glob('.work/unit-*.json')))}" if out.exists() else "nothing"


def finish(out: Path, weights: dict[str, Path], wanted: dict[str, bytes]) -> None:
    """Run the command once more, undisturbed, and compare every byte."""
    child = start_build(out, weights)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the build failed with status {status}"
    assert archive_bytes(out) == wanted, "the archive differs from the undisturbed one"
    shutil.rmtree(out)


def main(reference: Path, out: Path, kills: int, weights: dict[str, Path]) -> dict[str, object]:
    for name in ("datasets", "xrarchive.synthesis", "xrarchive.units", "xrarchive.archive.writer"):
        importlib.import_module(name)
    rng, wanted = random.Random(0), archive_bytes(reference)
    states: list[str] = []
    completed = 0
    while len(states) < kills:
        if kill_or_wait(start_build(out, weights), out, rng):
            states.append(state(out))
        else:
            finish(out, weights, wanted)
            completed += 1
    finish(out, weights, wanted)
    return {"completed": completed + 1, "states": states}


if __name__ == "__main__":
    folders, paths = [Path(text) for text in sys.argv[1:3]], [Path(text) for text in sys.argv[4:]]
    told = main(*folders, int(sys.argv[3]), dict(zip(("generator", "guide", "judge"), paths, strict=True)))
    sys.stdout.write(json.dumps(told))
