#!/usr/bin/env python
"""How fast `xrarchive validate` is: fidelity and privacy search beside their peers, and whole validations.

    .venv/bin/pip install pytorch-fid==0.3.0 torchmetrics    # for this script only: they pull in torchvision
    .venv/bin/python scripts/bench_validate.py --radiographs MEDNIST --labelled NIH

MEDNIST and NIH are radiograph sets of 64 px as `scripts/train_bundled` makes them. Runs bench_validate_fidelity.py and
bench_validate_privacy.py, then builds archives of the bundled model and times their validation: the 200 images of the
quickstart as it does it, and --images with all parts, features computed and then found in the cache.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
COMMAND = [sys.executable, "-m", "xrarchive"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--radiographs", type=Path, required=True, help="set the bundled generator was trained on")
    parser.add_argument("--labelled", type=Path, required=True, help="set with labels and patients")
    parser.add_argument("--per-class", type=int, default=200, help="of ten findings [default: 200]")
    parser.add_argument("--only", choices=("peers", "whole"), help="[default: both]")
    arguments = parser.parse_args()
    codes = [0]
    if arguments.only != "whole":
        codes += [run("bench_validate_fidelity.py", "--radiographs", str(arguments.radiographs))]
        codes += [run("bench_validate_privacy.py", "--set", str(arguments.radiographs))]
    if arguments.only != "peers":
        whole(arguments)
    return max(codes)


def run(script: str, *words: str) -> int:
    print(f"\n== {script}", flush=True)
    return subprocess.run([sys.executable, str(SCRIPTS / script), *words], check=False).returncode


def whole(arguments: argparse.Namespace) -> None:
    """Seconds of three validations; exit code 11 is a closed gate, and a figure all the same."""
    films = ["--radiographs", str(arguments.labelled), "--radiographs", str(arguments.radiographs)]
    with tempfile.TemporaryDirectory() as work:
        small, large, cache = (str(Path(work) / name) for name in ("small", "large", "cache"))
        subprocess.run([*COMMAND, "build", "--out", small, "--per-class", "20"], check=True, capture_output=True)
        subprocess.run(
            [*COMMAND, "build", "--out", large, "--per-class", str(arguments.per_class)],
            check=True,
            capture_output=True,
        )
        for name, words in {
            "quickstart's archive, bundled statistics": [small, "--no-cache"],
            f"{10 * arguments.per_class} images, all parts": [large, *films],
            f"{10 * arguments.per_class} images, all parts, again": [large, *films],
        }.items():
            print(f"{name}: {seconds(words, cache):.0f} s", flush=True)


def seconds(words: list[str], cache: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [*COMMAND, "validate", *words],
        env={**os.environ, "XRARCHIVE_CACHE": cache},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 11):
        raise SystemExit(done.stderr)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
