"""Archives made by the real writer of images nobody generated: noise, with scores and latents drawn by a seed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from unittest import mock

import numpy as np

from xrarchive.archive import shards, writer
from xrarchive.archive.manifest import Manifest, WeightsRecord
from xrarchive.files import locked
from xrarchive.plan import Plan, PlannedImage, SearchSettings
from xrarchive.records import ImageRequest, SyntheticImage, Tally

FINDINGS = ("No Finding", "Effusion", "Pleural_Thickening", "Mass")
NUISANCES = ("view", "sex")
SIZE_PX = 12
ROWS_PER_SHARD = 6
REQUESTS = (
    ImageRequest(("Mass",), 4),
    ImageRequest(("No Finding",), 3, absent=("Pleural_Thickening",)),
    ImageRequest(("Effusion", "Mass"), 2),
)


def make_plan(*, requests: tuple[ImageRequest, ...] = REQUESTS, seed: int = 3, unit_images: int = 4) -> Plan:
    weights = {role: character * 64 for role, character in zip(("generator", "guide", "judge"), "abc", strict=True)}
    return Plan(requests, weights, seed, SearchSettings(unit_images=unit_images))


def make_image(plan: Plan, planned: PlannedImage) -> SyntheticImage:
    rng = np.random.default_rng(planned.seed)
    return SyntheticImage(
        image_id=planned.image_id,
        pixels=rng.integers(0, 256, (SIZE_PX, SIZE_PX), np.uint8),
        findings=plan.requests[planned.request].findings,
        absent=plan.requests[planned.request].absent,
        guide=dict(zip(FINDINGS, rng.random(len(FINDINGS)).tolist(), strict=True)),
        judge=dict(zip(FINDINGS, rng.random(len(FINDINGS)).tolist(), strict=True)),
        soft_label=0.625,
        targets=tuple(rng.random(len(plan.requests[planned.request].findings)).tolist()),
        seed=planned.seed,
        draw=1,
        steps=7,
        travel_deg=12.5,
        nuisances=tuple(rng.random(len(NUISANCES)).tolist()),
        start_nuisances=tuple(rng.random(len(NUISANCES)).tolist()),
        latent=rng.standard_normal(5, np.float32),
    )


def write_units(folder: Path, plan: Plan, indices: list[int] | None = None, *, build: int = 0) -> None:
    for index in writer.missing_units(folder, plan) if indices is None else indices:
        images = [make_image(plan, planned) for planned in plan.unit(index)]
        tallies = [
            Tally(request.findings, request.absent, count, count, 2 * count, 0, None)
            for request in plan.requests
            if (count := sum((image.findings, image.absent) == (request.findings, request.absent) for image in images))
        ]
        writer.write_unit(folder, plan.first_unit + index, images, tallies, FINDINGS, build=build)


def finish(folder: Path, plan: Plan) -> Manifest:
    return writer.finish_archive(
        folder,
        [plan],
        vocabulary=FINDINGS,
        nuisances=NUISANCES,
        size_px=SIZE_PX,
        weights={role: WeightsRecord(sha256, f"{role}.safetensors") for role, sha256 in plan.weights.items()},
        versions={"numpy": np.__version__},
        terms=("nih-chestxray14",),
    )


def make_archive(folder: Path, plan: Plan | None = None, *, rows_per_shard: int = ROWS_PER_SHARD) -> Path:
    plan = plan or make_plan()
    with small_shards(rows_per_shard), locked(folder):
        writer.claim_folder(folder, plan)
        write_units(folder, plan)
        finish(folder, plan)
    return folder


def small_shards(rows: int) -> contextlib.AbstractContextManager[object]:
    return mock.patch.object(shards, "SHARD_ROWS", rows)


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of an archive but what hides behind a dot."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
