"""A finished archive of six 16 x 16 px images in two shards per config, with weights that are bytes and no networks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xrarchive.archive.content import hash_content
from xrarchive.archive.manifest import (
    FIRST_VERSION,
    BuildRecord,
    Change,
    FileRecord,
    Manifest,
    WeightsRecord,
    read_manifest,
    write_manifest,
)
from xrarchive.archive.readme import write_readme
from xrarchive.archive.schema import shard_name, to_tables, write_shard
from xrarchive.archive.sums import write_sums
from xrarchive.records import SyntheticImage
from xrarchive.validation import SCHEMA

FINDINGS = ("No Finding", "Effusion", "Mass")
ROWS_PER_SHARD = 3
ROLES = ("generator", "guide", "judge")


@dataclass(frozen=True)
class TinyArchive:
    folder: Path
    pixels: np.ndarray  # uint8 [6, 16, 16]
    weights: dict[str, Path]

    @property
    def manifest_sha256(self) -> str:
        return sha256(self.folder / "manifest.json")

    def copy(self, folder: Path) -> TinyArchive:
        shutil.copytree(self.folder.parent, folder)
        weights = {role: folder / "weights" / path.name for role, path in self.weights.items()}
        return TinyArchive(folder / self.folder.name, self.pixels, weights)

    def finish(self) -> None:
        """Validate and write the card, as `validate` and `card` would."""
        gates = {"open": True, "weights_open": True, "list": []}
        validation = {"schema": SCHEMA, "manifest_sha256": self.manifest_sha256, "gates": gates}
        (self.folder / "validation.json").write_text(json.dumps(validation))
        self.write_card(f"Made from the manifest `{self.manifest_sha256}`.")

    def write_card(self, text: str) -> None:
        write_readme(self.folder, read_manifest(self.folder), text)
        write_sums(self.folder, read_manifest(self.folder))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_archive(folder: Path, *, seed: int = 0, shards: int = 2) -> TinyArchive:
    pixels = np.random.default_rng(seed).integers(0, 256, (shards * ROWS_PER_SHARD, 16, 16), np.uint8)
    archive = TinyArchive(folder / "archive", pixels, _write_weights(folder / "weights"))
    images = [_image(row, image, seed) for row, image in enumerate(pixels)]
    files: dict[str, FileRecord] = {}
    for index in range(shards):
        chosen = images[index * ROWS_PER_SHARD : (index + 1) * ROWS_PER_SHARD]
        for config, table in to_tables(chosen, FINDINGS).items():
            name = shard_name(config, index)
            rows = write_shard(archive.folder / name, [table], table.schema)
            files[name] = FileRecord(sha256(archive.folder / name), (archive.folder / name).stat().st_size, rows)
    write_manifest(archive.folder, _manifest(archive, files, seed))
    (archive.folder / ".lock").touch()
    (archive.folder / "notes.txt").write_text("for nobody else")
    archive.finish()
    return archive


def _image(row: int, pixels: np.ndarray, seed: int) -> SyntheticImage:
    return SyntheticImage(
        image_id=f"syn-{row:06d}",
        pixels=pixels,
        findings=(FINDINGS[row % len(FINDINGS)],),
        absent=(),
        guide=dict.fromkeys(FINDINGS, 0.75),
        judge=dict.fromkeys(FINDINGS, 0.5),
        soft_label=0.5,
        targets=(1.0,),
        seed=seed,
        draw=row,
        steps=3,
        travel_deg=1.5,
        nuisances=(),
        start_nuisances=(),
        latent=np.full(4, row, np.float32),
    )


def _write_weights(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True)
    weights = {role: folder / f"my-{role}.safetensors" for role in ROLES}
    for role, path in weights.items():
        path.write_bytes(f"weights of the {role}".encode())
    return weights


def _manifest(archive: TinyArchive, files: dict[str, FileRecord], seed: int) -> Manifest:
    rows = len(archive.pixels)
    build = BuildRecord(
        plan_sha256="0" * 64,
        units=0,
        seed=seed,
        settings={},
        weights={role: WeightsRecord(sha256(path), role) for role, path in archive.weights.items()},
        versions={},
        terms=("nih-chestxray14",),
        tallies=(),
    )
    manifest = Manifest(
        findings=FINDINGS,
        nuisances=(),
        size_px=16,
        rows=rows,
        counts=dict.fromkeys(FINDINGS, rows // len(FINDINGS)),
        content_sha256="",
        files=files,
        builds=(build,),
        history=(Change(FIRST_VERSION, "build", rows, 0),),
    )
    return dataclasses.replace(manifest, content_sha256=hash_content(archive.folder, manifest))
