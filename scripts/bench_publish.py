"""What a release takes: `xrarchive publish` against the same bytes by `hf upload` and by `datasets.push_to_hub`.

    .venv/bin/python scripts/bench_publish.py                    # about 15 minutes on two cores, 4 GB below --work
    .venv/bin/python scripts/bench_publish.py --rows 15000 --repeats 1 --transports lfs     # to try the bench out

An archive of 150,000 images of 64 px, 30 shards of each config, goes to a Hub on this machine that starts empty each
time, over LFS and over Xet (a store in a folder). The three take turns; each runs as its users run it, in a process of
its own with a cache of its own, and is measured from start to end, but for the reading of the rows before
`push_to_hub`. Only the first checks what it sends, verifies what the Hub then holds and tags it. Prints one line per
run, then one JSON object.

Calls are those to the Hub's API; those to the LFS store (a PUT and its check, each) and tokens of the Xet store are
counted by themselves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bench_archive_life import make_noise_archive, make_plan

from xrarchive.archive.manifest import VALIDATION_NAME, read_manifest
from xrarchive.archive.readme import write_readme
from xrarchive.archive.sums import write_sums
from xrarchive.files import write_json
from xrarchive.validation import SCHEMA

REPOSITORY = Path(__file__).resolve().parent.parent
RUN_HUB = REPOSITORY / "tests" / "hub" / "run_loopback.py"
REPO, TOKEN = "tester/bench", "hf_CANARYwrite"
TOOLS, TRANSPORTS = ("xrarchive publish", "hf upload", "push_to_hub"), ("lfs", "xet")
BAR = 1.2  # of the faster of the two others
_HUB_START_S = 30.0
Json = dict[str, Any]


def make_archive(folder: Path, rows: int) -> Path:
    """An archive ready to be published; validated and described as far as publishing asks for."""
    if not (folder / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_noise_archive(folder, make_plan(rows))
    manifest = read_manifest(folder)
    closed = {"name": "privacy", "status": "not measured", "weights": True, "value": None, "message": "no weights"}
    gates = {"open": True, "weights_open": False, "list": [closed]}
    write_json(folder / VALIDATION_NAME, {"schema": SCHEMA, "manifest_sha256": manifest.sha256, "gates": gates})
    write_readme(folder, manifest, f"Made from the manifest `{manifest.sha256}`.")
    write_sums(folder, manifest)
    return folder


def visible_copy(folder: Path, target: Path) -> Path:
    """The files that are published, linked, without what an archive keeps behind a dot."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, copy_function=os.link, ignore=shutil.ignore_patterns(".*", "publish-receipt.json"))
    return target


def command_of(tool: str, folder: Path) -> list[str]:
    """What a user types."""
    programs = Path(sys.executable).parent
    return {
        "xrarchive publish": [
            *(sys.executable, "-m", "xrarchive", "publish", str(folder), REPO),
            *("--version", "1.0.0", "--yes", "--json"),
        ],
        "hf upload": [str(programs / "hf"), "upload", REPO, str(folder), ".", "--repo-type", "dataset"],
        "push_to_hub": [sys.executable, str(Path(__file__).with_name("bench_publish_push.py")), str(folder), REPO],
    }[tool]


@contextlib.contextmanager
def running_hub(folder: Path) -> Iterator[str]:
    """An empty Hub in a process of its own; gives its address."""
    folder.mkdir(parents=True)
    hub = subprocess.Popen([sys.executable, str(RUN_HUB), str(folder / "store"), str(folder / "url")])
    try:
        until = time.monotonic() + _HUB_START_S
        while not (folder / "url").exists():
            if time.monotonic() > until or hub.poll() is not None:
                raise RuntimeError("the loopback Hub did not start")
            time.sleep(0.02)
        yield (folder / "url").read_text()
    finally:
        hub.kill()
        hub.wait()


def ask_hub(url: str) -> Json:
    """What the Hub was asked so far."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/loopback/told", method="POST")) as reply:
        told: Json = json.load(reply)
    return told


def measure(tool: str, transport: str, folder: Path, work: Path) -> Json:
    """One release to an empty Hub: seconds, calls, bytes."""
    shutil.rmtree(work, ignore_errors=True)
    with running_hub(work / "hub") as url:
        environment = {
            **os.environ,
            "HF_ENDPOINT": url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(work / "home"),
            "HF_HUB_DISABLE_XET": str(int(transport == "lfs")),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
            "USE_TORCH": "0",  # datasets would import it only to format rows
        }
        started, before = time.perf_counter(), os.times()
        done = subprocess.run(command_of(tool, folder), env=environment, capture_output=True, text=True, check=False)
        seconds, after = time.perf_counter() - started, os.times()
        if done.returncode:
            raise RuntimeError(f"{tool} over {transport} failed with {done.returncode}: {done.stderr[-2000:]}")
        told = ask_hub(url)
    if tool == "push_to_hub":
        seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return {
        "tool": tool,
        "transport": transport,
        "seconds": seconds,
        "processor_seconds": after[2] + after[3] - before[2] - before[3],
        **_counted(told),
    }


def _counted(told: Json) -> Json:
    log = [path for _, path, _ in told["log"]]
    uploads = sum(path.startswith("/lfs/") for path in log)
    tokens = sum("/xet-write-token/" in path for path in log)
    repository = told["repositories"][f"datasets/{REPO}"]
    return {
        "calls": len(log) - uploads - tokens,
        "uploads": uploads,
        "xet_tokens": tokens,
        "commits": len(repository["history"]) - 1,
        "tags": len(repository["tags"]),
        "bytes_received": told["bytes_received"] + told["xet_bytes"],
    }


def compare(runs: Sequence[Json], transport: str) -> Json:
    """Our median time over that of the faster of the others, turn by turn."""
    seconds = {
        tool: [run["seconds"] for run in runs if (run["tool"], run["transport"]) == (tool, transport)] for tool in TOOLS
    }
    ours, *others = TOOLS
    faster = min(others, key=lambda tool: statistics.median(seconds[tool]))
    ratios = [mine / theirs for mine, theirs in zip(seconds[ours], seconds[faster], strict=True)]
    calls = max(run["calls"] for run in runs if (run["tool"], run["transport"]) == (ours, transport))
    ratio = statistics.median(ratios)
    print(
        f"{transport}: {ratio:.2f} of the time of {faster} (bar {BAR}), {calls} calls; medians "
        + ", ".join(f"{tool} {statistics.median(taken):.1f} s" for tool, taken in seconds.items()),
        flush=True,
    )
    return {"ratio": ratio, "ratios": ratios, "faster": faster, "calls": calls, "seconds": seconds}


def main() -> int:
    arguments = parse()
    packages = ("xrarchive", "huggingface_hub", "hf-xet", "datasets", "pyarrow")
    versions = {name: metadata.version(name) for name in packages}
    print(f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}, {versions}")
    runs: list[Json] = []
    with tempfile.TemporaryDirectory(prefix="xrarchive-bench-") as made:
        work = arguments.work or Path(made)
        archive = make_archive(work / f"archive-{arguments.rows}", arguments.rows)
        folder = visible_copy(archive, work / "published")
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{arguments.rows:,} rows, {len(read_manifest(folder).files)} shards, {total / 1e6:,.0f} MB", flush=True)
        for turn in range(arguments.repeats):
            for transport in arguments.transports:
                for tool in TOOLS[turn % 3 :] + TOOLS[: turn % 3]:
                    runs.append(measure(tool, transport, folder, work / "turn"))
                    print(json.dumps(runs[-1]), flush=True)
        shutil.rmtree(work / "turn")
    compared = {transport: compare(runs, transport) for transport in arguments.transports}
    result = {"rows": arguments.rows, "bytes": total, "compared": compared, "runs": runs, "versions": versions}
    print(json.dumps(result))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--repeats", type=int, default=3, help="turns of the three")
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=list(TRANSPORTS))
    parser.add_argument("--work", type=Path, help="keeps the archive there for another time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
