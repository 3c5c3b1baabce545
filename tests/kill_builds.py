"""Kill builds again and again at random moments and run the same command until it ends; tells what it saw as JSON.

    python tests/kill_builds.py --kills 200                             # trains tiny weights first
    python tests/kill_builds.py --weights GENERATOR GUIDE JUDGE --out DIR

A build takes half a second and the imports several seconds, so that children are forked after the imports; this process
never runs a network itself, and so has no threads that a fork would lose.

A moment is a number of files to wait for and then up to 30 ms more: kills fall everywhere, on a busy machine too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tiny_build import archive_bytes, build_tiny, train_weights

from xrarchive.archive.reader import check_archive
from xrarchive.files import sha256_file

FILES_MORE_AT_MOST = 6
DELAY_AT_MOST_S = 0.03
HUNG_S = 60


def forked(job: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def start_build(out: Path, weights: dict[str, Path]) -> int:
    return forked(lambda: build_tiny(out, weights))


def done(child: int) -> None:
    _, status = os.waitpid(child, 0)
    assert status == 0, f"a child failed with status {status}"


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
        assert check_archive(out, read_data=True, decode=True).problems == ()
        return "finished"
    return f"units {len(list(out.glob('.work/unit-*.json')))}" if out.exists() else "nothing"


def finish(out: Path, weights: dict[str, Path], wanted: dict[str, bytes]) -> None:
    """Run the command once more, undisturbed, and compare every byte."""
    done(start_build(out, weights))
    assert archive_bytes(out) == wanted, "the archive differs from the undisturbed one"
    shutil.rmtree(out)


def make_weights(folder: Path) -> dict[str, Path]:
    """Weights of the tiny world, trained in a process of their own."""
    done(forked(lambda: train_weights(folder)))
    return {role: folder / role / f"{role}.safetensors" for role in ("generator", "guide", "judge")}


def kill_builds(folder: Path, weights: dict[str, Path], kills: int, rng: random.Random) -> dict[str, object]:
    """Builds in `folder`, killed so often; what the kills left, and how many builds came to their end."""
    for name in ("datasets", "xrarchive.synthesis", "xrarchive.units", "xrarchive.archive.writer"):
        importlib.import_module(name)
    reference, out = folder / "undisturbed", folder / "killed"
    done(start_build(reference, weights))
    wanted = archive_bytes(reference)
    states: list[str] = []
    completed = 0
    while len(states) < kills:
        if kill_or_wait(start_build(out, weights), out, rng):
            states.append(state(out))
        else:
            finish(out, weights, wanted)
            completed += 1
    finish(out, weights, wanted)
    sha256 = sha256_file(reference / "manifest.json")
    return {"manifest_sha256": sha256, "completed": completed + 1, "states": states}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to work; default: a folder that is removed")
    parser.add_argument("--weights", type=Path, nargs=3, metavar=("GENERATOR", "GUIDE", "JUDGE"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xrarchive-kills-") as folder:
        given = arguments.weights and dict(zip(("generator", "guide", "judge"), arguments.weights, strict=True))
        weights = given or make_weights(Path(folder))
        told = kill_builds(arguments.out or Path(folder), weights, arguments.kills, random.Random(arguments.seed))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
