"""Read and check a finished archive: tables in manifest order, and what is wrong with the files.

A check goes as deep as it is asked: structure (sizes, schemas, rows, ids, README) takes moments; `read_data` hashes
every byte, or one part of them a day; `decode` also decodes every image and holds it against `pixels_sha256`. Whether
images can be made again from weights and latents is for `xrarchive.regenerating` to say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.archive.companions import find_companions
from xrarchive.archive.content import UNREADABLE, hash_content, read_shard
from xrarchive.archive.manifest import (
    CHANGELOG_NAME,
    MANIFEST_NAME,
    README_NAME,
    RECEIPT_NAME,
    REPORT_NAME,
    RETRACTIONS_NAME,
    SUMS_NAME,
    VALIDATION_NAME,
    Manifest,
    read_manifest,
)
from xrarchive.archive.readme import schema_of, yaml_problems
from xrarchive.archive.schema import CONFIGS, DATA, PROVENANCE, hash_pixels
from xrarchive.archive.sums import sums_problems
from xrarchive.archive.values import hash_texts
from xrarchive.errors import DamageError
from xrarchive.files import sha256_file
from xrarchive.pixels import Pixels, decode_png
from xrarchive.records import OnStatus, Status, ignore_status

_FIX = "Find out more with `xrarchive check --read-data`."
_KNOWN_FILES = {MANIFEST_NAME, README_NAME, VALIDATION_NAME, REPORT_NAME, CHANGELOG_NAME, SUMS_NAME}
_KNOWN_FILES |= {RECEIPT_NAME, RETRACTIONS_NAME}


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
    hashed_bytes: int
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def read_table(folder: Path, columns: Sequence[str] | None = None, config: str = DATA) -> pa.Table:
    """Columns of one config from all shards, in manifest order; page checksums are verified.

    Raises:
        InputDataError: If there is no finished archive.
        DamageError: If a shard is missing or unreadable.
    """
    manifest = read_manifest(folder)
    return pa.concat_tables([read_shard(folder / name, columns, fix=_FIX) for name in manifest.shards(config)])


def read_pixels(folder: Path, rows: Sequence[int] | npt.NDArray[np.int64] | None = None) -> Pixels:
    """Images as uint8 [N, H, W], or of the archive's own mode: all in row order, or those in `rows`."""
    mode, images = read_manifest(folder).mode, read_table(folder, ["image"])["image"]
    chosen = images if rows is None else images.take(rows)
    return np.stack([decode_png(value["bytes"], mode) for value in chosen.to_pylist()])


def check_archive(
    folder: Path,
    *,
    read_data: bool = False,
    part: tuple[int, int] = (1, 1),
    decode: bool = False,
    on_status: OnStatus = ignore_status,
) -> CheckReport:
    """Compare an archive with its manifest.

    Always: every shard there, of its recorded size, with the exact schema and rows, none besides, ids unique and
    joined, README naming the same shards and labels, and the small files as SHA256SUMS has them.

    Args:
        folder: Of the archive.
        read_data: Also the sha256 of every shard.
        part: Which of how many parts of the shards to hash: (1, 7), (2, 7), ... audit a seventh a day.
        decode: Also every image, against its size and `pixels_sha256`, and `content_sha256`.
        on_status: Told of each shard.

    Raises:
        ValueError: If `part` is none.
        InputDataError: If there is no manifest.
        DamageError: If the manifest itself is damaged.
    """
    number, of = part
    if not 1 <= number <= of:
        raise ValueError(f"part must be (i, n) with 1 <= i <= n, got {part}")
    manifest = read_manifest(folder)
    problems = [
        Problem("surplus-file", path.relative_to(folder).as_posix(), "is not named in the manifest")
        for path in find_surplus(folder, manifest)
    ]
    problems += [Problem("readme", README_NAME, message) for message in yaml_problems(folder, manifest)]
    problems += [Problem("wrong-sum", path, message) for path, message in sums_problems(folder, manifest)]
    names = sorted(manifest.files)
    hashed = set(names[number - 1 :: of]) if read_data else set()
    problems += _shard_problems(folder, manifest, names, hashed, decode=decode, on_status=on_status)
    if not problems:
        problems += _join_problems(folder, manifest)
    if decode and not problems and manifest.format > 1 and hash_content(folder, manifest) != manifest.content_sha256:
        problems.append(Problem("wrong-content", MANIFEST_NAME, "its content_sha256 is not that of the rows"))
    hashed_bytes = sum(manifest.files[name].bytes for name in hashed)
    return CheckReport(manifest.sha256, len(names), manifest.rows, read_data, hashed_bytes, tuple(problems))


def find_surplus(folder: Path, manifest: Manifest) -> list[Path]:
    """Files that do not belong to the archive, but for hidden ones."""
    known = {*manifest.files, *_KNOWN_FILES, *find_companions(folder)}
    inside = ((path, path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file())
    return [
        path
        for path, name in inside
        if name.as_posix() not in known and not any(part.startswith(".") for part in name.parts)
    ]


def _shard_problems(
    folder: Path, manifest: Manifest, names: Sequence[str], hashed: set[str], *, decode: bool, on_status: OnStatus
) -> list[Problem]:
    """At most one problem a shard; hashing lets go of Python's lock, so that shards are read side by side."""
    problems = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = pool.map(
            lambda name: _shard_problem(folder, name, manifest, hashed=name in hashed, decode=decode), names
        )
        for done, (name, found) in enumerate(zip(names, jobs, strict=True), 1):
            problems += [found] if found else []
            on_status(Status(done, len(names), "shards", name))
    return problems


def _shard_problem(folder: Path, name: str, manifest: Manifest, *, hashed: bool, decode: bool) -> Problem | None:
    path, record = folder / name, manifest.files[name]
    if not path.is_file():
        return Problem("missing-file", name, "is named in the manifest and not there")
    if path.stat().st_size != record.bytes:
        return Problem("wrong-size", name, f"has {path.stat().st_size} bytes, the manifest says {record.bytes}")
    if hashed and (found := sha256_file(path)) != record.sha256:
        return Problem("wrong-hash", name, f"has sha256 {found}, the manifest says {record.sha256}")
    expected = schema_of(name.split("/")[0], manifest).arrow_schema
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            if not parquet.schema_arrow.equals(expected):
                return Problem("wrong-schema", name, "has other columns or types than the archive's features")
            if name.startswith(f"{DATA}/") and (mode := _mode_said(parquet.schema_arrow)) != manifest.mode:
                return Problem(
                    "wrong-schema", name, f"says its images are of mode {mode}, the manifest {manifest.mode}"
                )
            rows = parquet.metadata.num_rows
            if rows != record.rows:
                return Problem("wrong-rows", name, f"has {rows} rows, the manifest says {record.rows}")
            if decode and name in manifest.shards(DATA):
                return _image_problem(parquet, name, manifest)
    except UNREADABLE as err:
        return Problem("unreadable", name, f"is not readable Parquet: {err}")
    return None


def _mode_said(schema: pa.Schema) -> str | None:
    """The mode of the images as `datasets` reads it from a shard."""
    try:
        mode = json.loads(schema.metadata[b"huggingface"])["info"]["features"]["image"]["mode"]
    except (KeyError, TypeError, ValueError):
        return None
    return str(mode)


def _image_problem(parquet: pq.ParquetFile, name: str, manifest: Manifest) -> Problem | None:
    hashes = ["pixels_sha256"] if manifest.format > 1 else []
    for batch in parquet.iter_batches(columns=["image", "image_id", *hashes]):
        for row in batch.to_pylist():
            try:
                pixels = decode_png(row["image"]["bytes"], manifest.mode)
            except (OSError, ValueError, TypeError) as err:
                return Problem("bad-image", name, f"image {row['image_id']} cannot be decoded: {err}")
            if pixels.shape[:2] != (manifest.size_px, manifest.size_px):
                words = f"image {row['image_id']} is {pixels.shape}, expected {manifest.size_px} px square"
                return Problem("bad-image", name, words)
            if hashes and hash_pixels(pixels) != row["pixels_sha256"]:
                return Problem("bad-image", name, f"image {row['image_id']} is not what its pixels_sha256 says")
    return None


def _join_problems(folder: Path, manifest: Manifest) -> list[Problem]:
    """Ids are held against each other as 8 bytes each, so that a long archive takes no more memory than a short one."""
    try:
        hashed = {config: _hash_ids(folder, manifest.shards(config)) for config in CONFIGS}
        if not np.array_equal(hashed[DATA], hashed[PROVENANCE]):
            return [Problem("unjoined", PROVENANCE, "its image_ids are not those of the images, in the same order")]
        ordered = np.sort(hashed[DATA])
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(repeated) and _has_doubled(folder, manifest.shards(DATA), repeated):
            return [Problem("doubled-id", DATA, "an image_id occurs twice")]
    except DamageError as err:
        where = Path(err.path or folder).relative_to(folder).as_posix()
        return [Problem("unreadable", where, f"is not readable Parquet: {err.__cause__}")]
    return []


def _read_ids(folder: Path, name: str) -> pa.ChunkedArray:
    return read_shard(folder / name, ["image_id"], fix=_FIX)["image_id"]


def _hash_ids(folder: Path, names: Sequence[str]) -> npt.NDArray[np.uint64]:
    return np.concatenate([np.empty(0, np.uint64), *(hash_texts(_read_ids(folder, name)) for name in names)])


def _has_doubled(folder: Path, names: Sequence[str], hashes: npt.NDArray[np.uint64]) -> bool:
    """Whether an id with one of these hashes occurs twice; two ids may share a hash."""
    seen: set[str] = set()
    for name in names:
        ids = _read_ids(folder, name)
        for image_id in ids.filter(pa.array(np.isin(hash_texts(ids), hashes))).to_pylist():
            if image_id in seen:
                return True
            seen.add(image_id)
    return False
