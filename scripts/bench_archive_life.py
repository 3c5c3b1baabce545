"""Archives of noise made by the real writer, and what each step of their life takes; a part of bench_archive.py.

Each step runs in a process of its own, which says as JSON how long it took and how much memory it had at most:
    bench_archive_life.py STEP FOLDER [--rows N] [--before FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrarchive.archive import writer
from xrarchive.archive.changing import withdraw
from xrarchive.archive.diffing import diff_archives
from xrarchive.archive.manifest import Manifest, WeightsRecord, read_manifest
from xrarchive.archive.reader import check_archive, read_table
from xrarchive.archive.schema import DATA
from xrarchive.archive.source import open_folder
from xrarchive.files import locked
from xrarchive.findings import NIH_VOCABULARY
from xrarchive.gan.monitor import peak_memory_bytes
from xrarchive.pixels import Pixels
from xrarchive.plan import Plan, PlannedImage, SearchSettings, requests_per_class
from xrarchive.records import SyntheticImage, Tally

SIZE_PX, LATENT_SIZE = 64, 512
NUISANCES = ("view", "sex", "age", "source")
EXTENDED, WITHDRAWN = 0.1, 0.01
# Side of the grid a smooth field is drawn on, and the noise of a film on top of it, in grey values.
_GRID, _NOISE = 8, 2.0
_DATE, _REASON = "2026-01-01", "bench"
STEPS = ("pack", "check", "diff", "extend", "withdraw_one_shard", "withdraw_scattered")

Json = dict[str, Any]


def make_plan(rows: int, *, seed: int = 1, first_unit: int = 0, start: int = 0) -> Plan:
    """`rows` images in all, shared among 15 findings; `start` images of each are there already."""
    per_class, rest = divmod(rows, len(NIH_VOCABULARY))
    if rest:
        raise ValueError(f"rows must be a multiple of {len(NIH_VOCABULARY)}, got {rows}")
    requests = tuple(
        type(request)(request.findings, request.count, request.absent, start)
        for request in requests_per_class(NIH_VOCABULARY, per_class)
    )
    weights = {role: character * 64 for role, character in zip(("generator", "guide", "judge"), "abc", strict=True)}
    return Plan(requests, weights, seed, SearchSettings(), first_unit)


def smooth_fields(count: int, px: int, seed: int) -> Pixels:
    """uint8 [N, H, W]: random fields, smooth over an eighth of their side, with the noise of a detector."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(128, 40, (count, _GRID, _GRID)).astype(np.float32)
    at = np.clip((np.arange(px) + 0.5) * _GRID / px - 0.5, 0, _GRID - 1)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(_GRID))).astype(np.float32)
    fields = weights @ coarse @ weights.T
    noise = rng.standard_normal(fields.shape, np.float32) * np.float32(_NOISE)
    pixels: Pixels = np.clip(np.rint(fields + noise), 0, 255).astype(np.uint8)
    return pixels


def make_records(plan: Plan, planned: Sequence[PlannedImage], pixels: Pixels) -> list[SyntheticImage]:
    """Records of these pixels, scores and latents drawn by the seed of the first of them."""
    rng = np.random.default_rng(planned[0].seed)
    scores = rng.random((2, len(planned), len(NIH_VOCABULARY)))
    nuisances = rng.standard_normal((2, len(planned), len(NUISANCES)))
    latents = rng.standard_normal((len(planned), LATENT_SIZE), np.float32)
    return [
        SyntheticImage(
            image_id=item.image_id,
            pixels=image,
            findings=plan.requests[item.request].findings,
            absent=(),
            guide=dict(zip(NIH_VOCABULARY, scores[0, row].tolist(), strict=True)),
            judge=dict(zip(NIH_VOCABULARY, scores[1, row].tolist(), strict=True)),
            soft_label=float(scores[0, row, 0]),
            targets=(float(scores[1, row, 0]),),
            seed=item.seed,
            draw=row,
            steps=row % 17,
            travel_deg=float(row % 60),
            nuisances=tuple(nuisances[0, row].tolist()),
            start_nuisances=tuple(nuisances[1, row].tolist()),
            latent=latents[row],
        )
        for row, (item, image) in enumerate(zip(planned, pixels, strict=True))
    ]


def make_archive(
    folder: Path, plan: Plan, pixels: Callable[[int, int], Pixels], *, size_px: int, extending: bool = False
) -> float:
    """Write a plan's units and join them, as a build does; returns seconds without those that making images took.

    Args:
        folder: Of the archive.
        plan: What it is made of.
        pixels: Images of a unit, by its number and how many they are.
        size_px: Their side.
        extending: Whether the archive is there and grows.
    """
    making, started = 0.0, time.perf_counter()
    with locked(folder):
        writer.claim_folder(folder, plan, extending=extending)
        build = len(read_manifest(folder).builds) if extending else 0
        for index in range(plan.units):
            begun = time.perf_counter()
            planned, number = plan.unit(index), plan.first_unit + index
            images = make_records(plan, planned, pixels(number, len(planned)))
            making += time.perf_counter() - begun
            writer.write_unit(folder, number, images, list(_tallies(plan, images)), NIH_VOCABULARY, build=build)
        _finish(folder, plan, size_px)
    return time.perf_counter() - started - making


def _tallies(plan: Plan, images: Sequence[SyntheticImage]) -> Iterator[Tally]:
    for request in plan.requests:
        count = sum(image.findings == request.findings for image in images)
        if count:
            yield Tally(request.findings, request.absent, count, count, 2 * count, 0, None)


def _finish(folder: Path, plan: Plan, size_px: int) -> Manifest:
    return writer.finish_archive(
        folder,
        [plan],
        vocabulary=NIH_VOCABULARY,
        nuisances=NUISANCES,
        size_px=size_px,
        weights={role: WeightsRecord(sha256, f"{role}.safetensors") for role, sha256 in plan.weights.items()},
        versions={"numpy": np.__version__},
        terms=("nih-chestxray14",),
    )


def make_noise_archive(folder: Path, plan: Plan, *, extending: bool = False) -> float:
    """As `make_archive`, of smooth fields at 64 px."""
    return make_archive(
        folder, plan, lambda number, count: smooth_fields(count, SIZE_PX, number), size_px=SIZE_PX, extending=extending
    )


def copy_archive(source: Path, target: Path) -> Path:
    """A copy that shares its files until they are replaced: an archive never writes into one."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=os.link, ignore=shutil.ignore_patterns(".*"))
    return target


def to_withdraw(folder: Path, *, scattered: bool) -> list[str]:
    """Ids of 1 % of the rows: all over the archive, or next to each other in its first shard, where they fit."""
    ids = read_table(folder, ["image_id"])["image_id"]
    count = round(len(ids) * WITHDRAWN)
    rows = np.arange(count)
    if scattered:
        rows = np.sort(np.random.default_rng(0).choice(len(ids), count, replace=False))
    chosen: list[str] = ids.take(rows).to_pylist()
    return chosen


def run_step(step: str, folder: Path, *, rows: int, before: Path | None) -> float:
    """Seconds that a step took; see `STEPS`."""
    if step == "pack":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return make_noise_archive(folder, make_plan(rows))
    if step == "extend":
        manifest = read_manifest(folder)
        start = manifest.rows // len(NIH_VOCABULARY)
        plan = make_plan(rows, first_unit=manifest.builds[0].units, start=start)
        return make_noise_archive(folder, plan, extending=True)
    ids = to_withdraw(folder, scattered=step == "withdraw_scattered") if step.startswith("withdraw") else []
    started = time.perf_counter()
    if ids:
        withdraw(folder, ids=ids, reason=_REASON, date=_DATE)
    elif step == "diff":
        diff_archives(open_folder(before or folder), open_folder(folder))
    else:
        report = check_archive(folder, read_data=True)
        if not report.sound:
            raise RuntimeError(f"{folder}: {report.problems[:3]}")
    return time.perf_counter() - started


def measured_step(step: str, folder: Path, *, rows: int = 0, before: Path | None = None) -> Json:
    """A step in a process of its own: `seconds`, `peak_bytes`, and `idle_bytes` before it began."""
    command = [sys.executable, __file__, step, str(folder), "--rows", str(rows)]
    command += ["--before", str(before)] if before else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: Json = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_life(work: Path, rows: int) -> Json:
    """Each step at `rows` rows; leaves `work` with the folders base, extended, one_shard and scattered."""
    base, extension = work / "base", round(rows * EXTENDED)
    extension -= extension % len(NIH_VOCABULARY)
    found = {"pack": measured_step("pack", base, rows=rows), "check": measured_step("check", base)}
    for step, name in (
        ("extend", "extended"),
        ("withdraw_one_shard", "one_shard"),
        ("withdraw_scattered", "scattered"),
    ):
        found[step] = measured_step(step, copy_archive(base, work / name), rows=extension)
    found["diff"] = measured_step("diff", work / "scattered", before=base)
    for step, figures in found.items():
        name, peak = step.replace("_", " "), figures["peak_bytes"] / 1e6
        print(f"{rows:,} rows, {name}: {figures['seconds']:.1f} s, {peak:,.0f} MB", flush=True)
    return {"rows": rows, "shards": len(read_manifest(base).shards(DATA)), "steps": found}


def measure_check(folder: Path, repeats: int) -> Json:
    """`check --read-data` against sha256 alone, one thread, of the same bytes; taking turns."""
    manifest = read_manifest(folder)
    total = sum(record.bytes for record in manifest.files.values())

    def hash_alone() -> None:
        for name in manifest.files:
            with (folder / name).open("rb") as file:
                hashlib.file_digest(file, "sha256")

    hash_alone()  # so that both read what the system keeps in memory
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(_timed(hash_alone))
        ours.append(_timed(lambda: check_archive(folder, read_data=True)))
    ratio = statistics.median(their / our for their, our in zip(theirs, ours, strict=True))
    rates = {name: total / statistics.median(seconds) for name, seconds in (("check", ours), ("sha256", theirs))}
    print(f"check --read-data: {ratio:.2f} of sha256's speed ({rates['check'] / 1e6:,.0f} MB/s)", flush=True)
    return {"check_ratio": ratio, "check_bytes_per_s": rates}


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--before", type=Path)
    arguments = parser.parse_args()
    idle = peak_memory_bytes()
    seconds = run_step(arguments.step, arguments.folder, rows=arguments.rows, before=arguments.before)
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_memory_bytes(), "idle_bytes": idle}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
