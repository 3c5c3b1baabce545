"""A whole build at length: wall time, images per second, peak memory, and where the time goes. Then one JSON object.

    .venv/bin/python scripts/bench_build.py                         # 100,000 images, about half an hour on two cores
    .venv/bin/python scripts/bench_build.py --images 10000

Builds an archive of 500 images for each offered finding and one of --images in all, end to end with PNG, Parquet and
hashes, each in a process of its own, and compares rate and memory. Memory is the most that the process and its workers
held together (proportional set size, so that shared pages count once), looked at twice a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.writer import write_unit
from xrarchive.bundled import bundled_weights
from xrarchive.classifier.offering import list_offerings
from xrarchive.gan.devices import computes_bfloat16
from xrarchive.plan import Plan, SearchSettings, requests_per_class
from xrarchive.synthesis import build_unit, open_studio, render

SMALL_PER_CLASS = 500
LOOK_S = 0.5
PROFILED_UNITS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="in all [default: %(default)s]")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-build"), help="[default: %(default)s]")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    studio = open_studio(*map(bundled_weights, ("generator", "guide", "judge")))
    offered = [item.finding for item in list_offerings(studio.guide.meta, studio.judge.meta) if item.offered]
    parts = profile(offered)
    small = timed_build(arguments.work / "small", SMALL_PER_CLASS)
    large = timed_build(arguments.work / "large", -(-arguments.images // len(offered)))
    result = {
        "findings": offered,
        "small": small,
        "large": large,
        "memory_ratio": large["peak_bytes"] / small["peak_bytes"],
        "time_per_image_ratio": small["images_per_s"] / large["images_per_s"],
        "where": parts,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, {torch.backends.cpu.get_cpu_capability()}",
        "versions": {name: metadata.version(name) for name in ("torch", "numpy", "pillow", "pyarrow")},
    }
    print(
        f"memory {result['memory_ratio']:.3f} of the small build's, time per image {result['time_per_image_ratio']:.3f}"
    )
    print(json.dumps(result))
    return 0


def timed_build(out: Path, per_class: int) -> dict[str, Any]:
    """`xrarchive build` in a process of its own, watched."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "xrarchive", "build", "--per-class", str(per_class), "--out", str(out), "--json"]
    started, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory_bytes(process.pid))
            time.sleep(LOOK_S)
    seconds = time.perf_counter() - started
    manifest = read_manifest(out)
    found = {
        "per_class": per_class,
        "images": manifest.rows,
        "asked": sum(tally.asked for tally in manifest.tallies),
        "seconds": seconds,
        "images_per_s": manifest.rows / seconds,
        "peak_bytes": peak,
        "archive_bytes": sum(record.bytes for record in manifest.files.values()),
        "median_steps": {" + ".join(tally.findings): tally.median_steps for tally in manifest.tallies},
    }
    print(
        f"{manifest.rows:,} images in {seconds / 60:.1f} min, {found['images_per_s']:.1f} images/s, "
        f"{peak / 1e6:,.0f} MB at most, {found['archive_bytes'] / 1e6:,.0f} MB archive",
        flush=True,
    )
    shutil.rmtree(out)
    return found


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process and its children."""
    total = 0
    for process in (pid, *children(pid)):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has just ended
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def children(pid: int) -> list[int]:
    """All processes below one."""
    try:
        direct = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [below for child in direct for below in (int(child), *children(int(child)))]


def profile(findings: list[str]) -> dict[str, float]:
    """Seconds per image of each part of a build, in one process with one thread."""
    torch.set_num_threads(1)
    studio = open_studio(*map(bundled_weights, ("generator", "guide", "judge")))
    dtype = "bfloat16" if computes_bfloat16(torch.device("cpu")) else "float32"
    search = SearchSettings(dtype=dtype)
    per_class = -(-PROFILED_UNITS * search.unit_images // len(findings))
    plan = Plan(requests_per_class(findings, per_class), {}, 0, search)
    build_unit(plan, 0, studio)
    seconds = dict.fromkeys(("search and render", "of which render and score", "PNG and Parquet"), 0.0)
    images = 0
    with tempfile.TemporaryDirectory() as folder:
        for unit in range(PROFILED_UNITS):
            started = time.process_time()
            made, tallies = build_unit(plan, unit, studio)
            seconds["search and render"] += time.process_time() - started
            started = time.process_time()
            write_unit(Path(folder), unit, made, tallies, studio.guide.vocabulary)
            seconds["PNG and Parquet"] += time.process_time() - started
            latents = torch.stack([torch.from_numpy(image.latent) for image in made])
            started = time.process_time()
            pixels = render(studio.snapshot.generator, latents)
            studio.guide.outputs(pixels)
            studio.judge.outputs(pixels)
            seconds["of which render and score"] += time.process_time() - started
            images += len(made)
    found = {name: 1000 * value / images for name, value in seconds.items()}
    print("  ".join(f"{name}: {value:.1f} ms" for name, value in found.items()), "an image on one core", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
