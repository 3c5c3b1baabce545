"""Read and check a finished archive: tables in manifest order, and what is wrong with the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.archive.manifest import (
    MANIFEST_NAME,
    README_NAME,
    RECEIPT_NAME,
    VALIDATION_NAME,
    Manifest,
    read_manifest,
)
from xrarchive.archive.readme import yaml_problems
from xrarchive.archive.schema import CONFIGS, DATA, PROVENANCE, features_of
from xrarchive.errors import DamageError
from xrarchive.files import sha256_file
from xrarchive.pixels import Pixels, decode_png
from xrarchive.records import OnStatus, Status, ignore_status

# What pyarrow raises on damaged bytes; UnicodeDecodeError for damaged names.
_UNREADABLE = (OSError, pa.ArrowException, UnicodeDecodeError)
_KNOWN_FILES = (MANIFEST_NAME, README_NAME, VALIDATION_NAME, RECEIPT_NAME)


@dataclass(frozen=True)
class Problem:
    """Something wrong with an archive: what kind, in which file, in words."""

    id: str
    path: str
    message: str


@dataclass(frozen=True)
class CheckReport:
    """The outcome of a check; sound if `problems` is empty."""

    manifest_sha256: str
    files: int
    rows: int
    read_data: bool
    problems: tuple[Problem, ...]


def read_table(folder: Path, columns: Sequence[str] | None = None, config: str = DATA) -> pa.Table:
    """Columns of one config from all shards, in manifest order; page checksums are verified.

    Raises:
        InputDataError: If there is no finished archive.
        DamageError: If a shard is missing or unreadable.
    """
    manifest = read_manifest(folder)
    fix = "Find out more with `xrarchive check --read-data`."
    return pa.concat_tables([read_shard(folder / name, columns, fix=fix) for name in manifest.shards(config)])


def read_shard(path: Path, columns: Sequence[str] | None = None, *, fix: str) -> pa.Table:
    """One Parquet file, page checksums verified.

    Raises:
        DamageError: If it is missing or unreadable.
    """
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except _UNREADABLE as err:
        raise DamageError(f"{path} cannot be read: {err}.", fix=fix, path=path) from err


def read_pixels(folder: Path, rows: Sequence[int] | npt.NDArray[np.int64] | None = None) -> Pixels:
    """Images as uint8 [N, H, W]: all in row order, or those in `rows`."""
    images = read_table(folder, ["image"])["image"]
    chosen = images if rows is None else images.take(rows)
    return np.stack([decode_png(value["bytes"]) for value in chosen.to_pylist()])


def check_archive(folder: Path, *, read_data: bool = False, on_status: OnStatus = ignore_status) -> CheckReport:
    """Compare an archive with its manifest.

    Without `read_data`: every shard there, of its recorded size, with the exact schema and rows, none besides, and
    README naming the same shards and labels. With it: sha256 of every shard, every page checksum, every image decoded.

    Raises:
        InputDataError: If there is no manifest.
        DamageError: If the manifest itself is damaged.
    """
    manifest = read_manifest(folder)
    problems = _strangers(folder, manifest)
    problems += [Problem("readme", README_NAME, message) for message in yaml_problems(folder, manifest)]
    for done, name in enumerate(manifest.files, 1):
        found = _shard_problem(folder, name, manifest, read_data=read_data)
        problems += [found] if found else []
        on_status(Status(done, len(manifest.files), "shards", name))
    if not problems:
        problems += _join_problems(folder)
    return CheckReport(manifest.sha256, len(manifest.files), manifest.rows, read_data, tuple(problems))


def _strangers(folder: Path, manifest: Manifest) -> list[Problem]:
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    surplus = sorted(found - set(manifest.files) - set(_KNOWN_FILES))
    return [Problem("surplus-file", name, "is not named in the manifest") for name in surplus]


def _shard_problem(folder: Path, name: str, manifest: Manifest, *, read_data: bool) -> Problem | None:
    path, record = folder / name, manifest.files[name]
    if not path.is_file():
        return Problem("missing-file", name, "is named in the manifest and not there")
    if path.stat().st_size != record.bytes:
        return Problem("wrong-size", name, f"has {path.stat().st_size} bytes, the manifest says {record.bytes}")
    if read_data and (found := sha256_file(path)) != record.sha256:
        return Problem("wrong-hash", name, f"has sha256 {found}, the manifest says {record.sha256}")
    expected = features_of(name.split("/")[0], manifest.findings).arrow_schema
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            if not parquet.schema_arrow.equals(expected):
                return Problem("wrong-schema", name, "has other columns or types than the archive's features")
            rows = parquet.metadata.num_rows
            if rows != record.rows:
                return Problem("wrong-rows", name, f"has {rows} rows, the manifest says {record.rows}")
            if read_data and name in manifest.shards(DATA):
                return _image_problem(parquet, name, manifest.size_px)
    except _UNREADABLE as err:
        return Problem("unreadable", name, f"is not readable Parquet: {err}")
    return None


def _image_problem(parquet: pq.ParquetFile, name: str, size_px: int) -> Problem | None:
    for batch in parquet.iter_batches(columns=["image", "image_id"]):
        for value, image_id in zip(batch["image"].to_pylist(), batch["image_id"].to_pylist(), strict=True):
            try:
                shape = decode_png(value["bytes"]).shape
            except (OSError, ValueError) as err:
                return Problem("bad-image", name, f"image {image_id} cannot be decoded: {err}")
            if shape != (size_px, size_px):
                return Problem("bad-image", name, f"image {image_id} is {shape}, expected {size_px} px square")
    return None


def _join_problems(folder: Path) -> list[Problem]:
    try:
        ids = {config: read_table(folder, ["image_id"], config)["image_id"].to_pylist() for config in CONFIGS}
    except DamageError as err:
        where = Path(err.path or folder).relative_to(folder).as_posix()
        return [Problem("unreadable", where, f"is not readable Parquet: {err.__cause__}")]
    if ids[DATA] != ids[PROVENANCE]:
        return [Problem("unjoined", PROVENANCE, "its image_ids are not those of the images, in the same order")]
    if len(set(ids[DATA])) != len(ids[DATA]):
        return [Problem("doubled-id", DATA, "an image_id occurs twice")]
    return []
