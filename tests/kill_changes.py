"""Kill changes of an archive at random moments and run the same commands until all are through; JSON of what was seen.

    python tests/kill_changes.py --kills 200

A life is two extensions, two withdrawals and two splits, of images nobody generated. Each command runs in a fork that
is killed after a random part of the time the command takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "archive"))

from kill_builds import done, ended, forked
from life_world import DATE, extend_made, files_below, rows_by_readme
from made_archive import make_archive, small_shards

from xrarchive.archive.changing import split, withdraw
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import check_archive
from xrarchive.files import sha256_bytes, sha256_file

IDS = ("s3-Mass-000001", "s3-Effusion+Mass-000001", "s3-Mass-000004")
LIFE: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("extend", lambda folder: extend_made(folder, 6)),
    ("withdraw", lambda folder: withdraw(folder, ids=IDS[:2], reason="burned-in text", date=DATE)),
    ("split", lambda folder: split(folder, {"train": 0.5, "validation": 0.25, "test": 0.25})),
    ("extend", lambda folder: extend_made(folder, 8)),
    ("withdraw", lambda folder: withdraw(folder, ids=IDS[2:], reason="burned-in text", date=DATE)),
    ("split", lambda folder: split(folder, {"train": 0.75, "test": 0.25})),
)


def kill_changes(folder: Path, kills: int, rng: random.Random) -> dict[str, object]:
    """Lives in `folder`, killed so often; which states the kills left, and the one digest of all lives that ended."""
    with small_shards(6):
        born, straight, out = make_archive(folder / "born"), folder / "straight", folder / "killed"
        shutil.copytree(born, straight)
        takes_s: list[float] = []
        for _, command in LIFE:
            started_s = time.monotonic()
            done(forked(lambda command=command: command(straight)))
            takes_s.append(time.monotonic() - started_s)
        wanted = _digest(straight)
        states: Counter[str] = Counter()
        lives = 0
        while states.total() < kills or out.exists():
            if not out.exists():
                shutil.copytree(born, out)
            for (name, command), take_s in zip(LIFE, takes_s, strict=True):
                before = len(read_manifest(out).history)
                while states.total() < kills and _killed(forked(lambda command=command: command(out)), take_s, rng):
                    states[f"{name} {_state(out, before)}"] += 1
                done(forked(lambda command=command: command(out)))
                assert check_archive(out, read_data=True, decode=True).problems == (), name
            assert _digest(out) == wanted, "the archive differs from the undisturbed one"
            shutil.rmtree(out)
            lives += 1
        sha256 = sha256_file(straight / "manifest.json")
    return {"manifest_sha256": sha256, "kills": states.total(), "lives": lives, "states": dict(sorted(states.items()))}


def _killed(child: int, take_s: float, rng: random.Random) -> bool:
    """Whether the command was killed; False if it ended before its moment came."""
    end_s = time.monotonic() + rng.uniform(0, take_s)
    while time.monotonic() < end_s:
        if ended(child):
            return False
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _state(out: Path, before: int) -> str:
    """What a kill left: `old` or `new`, with `+` where something has to be cleared away."""
    manifest = read_manifest(out)
    rows = rows_by_readme(out)  # every shard that README names is there
    assert not {item.image_id for item in manifest.withdrawn} & set(rows), "README names what was withdrawn"
    report = check_archive(out, read_data=True)
    strange = {problem.id for problem in report.problems} - {"surplus-file", "readme", "wrong-sum"}
    assert not strange, f"a kill left {strange}"
    return ("new" if len(manifest.history) > before else "old") + ("" if report.sound else "+")


def _digest(folder: Path) -> str:
    return sha256_bytes(json.dumps({n: sha256_bytes(data) for n, data in files_below(folder).items()}).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xrarchive-changes-") as folder:
        told = kill_changes(Path(folder), arguments.kills, random.Random(arguments.seed))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
