"""Rows to shards, and shards to an archive that holds: write, commit, settle.

In: tables and the manifest as it is to be. Out: new shards beside the old ones; then README, SHA256SUMS and, last, the
manifest; what no longer belongs to the archive is removed. Called by `writer` for units, by `changing` and `merging`.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.archive.companions import remove_stale
from xrarchive.archive.content import read_content
from xrarchive.archive.manifest import (
    REPORT_NAME,
    VALIDATION_NAME,
    FileRecord,
    Manifest,
    index_of,
    is_shard,
    write_manifest,
)
from xrarchive.archive.reader import find_surplus
from xrarchive.archive.readme import NO_CARD, read_text, restore_head, schema_of, write_readme
from xrarchive.archive.schema import (
    BYTES_PER_PIXEL,
    CONFIGS,
    SHARD_BYTES,
    SHARD_ROWS,
    capped,
    shard_name,
    write_shard,
)
from xrarchive.archive.splits import rows_of_split
from xrarchive.archive.sums import sums_problems, write_sums
from xrarchive.files import dump_json, read_json, sha256_bytes, sha256_file

WORK = ".work"


def write_shards(
    folder: Path, manifest: Manifest, tables: Callable[[str], Iterable[pa.Table]], *, change: int = 0
) -> dict[str, FileRecord]:
    """Write rows into new shards, numbered after those of the manifest.

    Args:
        folder: Of the archive.
        manifest: What is there, with the splits the rows are dealt to.
        tables: Gives the new rows of a config, in order; called once for each config and split.
        change: Number of the change that moves rows to new shards; 0 = the rows are new.
    """
    files: dict[str, FileRecord] = {}
    image_bytes = bytes_per_image(manifest)
    most = capped(SHARD_ROWS, SHARD_BYTES, image_bytes)
    for config in CONFIGS:
        schema = schema_of(config, manifest).arrow_schema
        for split in manifest.splits:
            first = max((index_of(name) + 1 for name in manifest.shards(config, split)), default=0)
            own = (rows_of_split(table, split, manifest.splits) for table in tables(config))
            for index, parts in enumerate(_cut(own, most), first):
                name = shard_name(config, index, split=split, change=change)
                write_shard(folder / name, parts, schema, image_bytes=image_bytes)
                files[name] = record_file(folder / name)
                parts.clear()  # before the next shard is read: one in memory at a time
    return files


def _cut(tables: Iterable[pa.Table], most: int) -> Iterator[list[pa.Table]]:
    """Tables of each shard: rows in order, cut every `most` rows."""
    waiting: list[pa.Table] = []
    rows = 0
    for part in tables:
        table = part
        while rows + table.num_rows >= most:
            taken = most - rows
            yield [*waiting, table.slice(0, taken)]
            table, waiting, rows = table.slice(taken), [], 0
        if table.num_rows:
            waiting.append(table)
            rows += table.num_rows
    if rows:
        yield waiting


def bytes_per_image(manifest: Manifest) -> int:
    """Bytes of the pixels of one image, before compression: what decides the size of shards and row groups."""
    return manifest.size_px**2 * BYTES_PER_PIXEL[manifest.mode]


def record_file(path: Path) -> FileRecord:
    """Hash, size and rows of a shard on disk."""
    return FileRecord(sha256_file(path), path.stat().st_size, pq.read_metadata(path).num_rows)


def commit(folder: Path, manifest: Manifest) -> Manifest:
    """Make an archive what its new shards say: count and hash the rows, write README, SHA256SUMS, then the manifest.

    From then on the change holds; the card, shards and units that no longer belong to the archive go last.
    """
    content_sha256, counts = read_content(folder, manifest)
    manifest = dataclasses.replace(manifest, rows=counts.total(), counts=dict(counts), content_sha256=content_sha256)
    text = read_text(folder)
    write_readme(folder, manifest, text)
    write_sums(folder, manifest)
    write_manifest(folder, manifest)
    if text != NO_CARD:
        write_readme(folder, manifest)
    settle(folder, manifest)
    return manifest


def settle(folder: Path, manifest: Manifest) -> None:
    """Bring a folder back to what its manifest says, after changes that were stopped or refused halfway.

    README comes first, so that it never names a shard that is gone; a card of another state leaves it. Units already
    joined, a validation that lists withdrawn images and pictures of another state go too: they would keep what was
    withdrawn.
    """
    restore_head(folder, manifest)
    for path in surplus_shards(folder, manifest):
        path.unlink()
    if not has_unfinished(folder, manifest):
        drop_work(folder)
    validation = folder / VALIDATION_NAME
    if validation.is_file() and manifest.withdrawn:
        text = validation.read_text(encoding="utf-8", errors="replace")
        if any(dump_json(item.image_id).decode().strip() in text for item in manifest.withdrawn):
            validation.unlink()
    if not speaks_of(validation, manifest):  # the report shows images
        (folder / REPORT_NAME).unlink(missing_ok=True)
    remove_stale(folder, manifest)
    _restore_sums(folder, manifest)


def speaks_of(validation: Path, manifest: Manifest) -> bool:
    """Whether a validation.json is there and names this manifest."""
    return validation.is_file() and manifest.sha256.encode() in validation.read_bytes()


def restore_texts(folder: Path, manifest: Manifest) -> None:
    """Make README's head and SHA256SUMS what the manifest demands, where they are not."""
    restore_head(folder, manifest)
    _restore_sums(folder, manifest)


def _restore_sums(folder: Path, manifest: Manifest) -> None:
    if sums_problems(folder, manifest):
        write_sums(folder, manifest)


def surplus_shards(folder: Path, manifest: Manifest) -> list[Path]:
    """Files named as shards are that the manifest does not name."""
    return [path for path in find_surplus(folder, manifest) if is_shard(path.relative_to(folder).as_posix())]


def has_unfinished(folder: Path, manifest: Manifest) -> bool:
    """Whether units wait that no build of the manifest has joined."""
    claim = folder / WORK / "plan.json"
    return claim.exists() and claimed_plan(claim) not in {build.plan_sha256 for build in manifest.builds}


def drop_work(folder: Path) -> None:
    """Remove all units. The claim goes first: stopped in between, what is left counts for nothing."""
    (folder / WORK / "plan.json").unlink(missing_ok=True)
    if (folder / WORK).exists():
        shutil.rmtree(folder / WORK)


def claimed_plan(path: Path) -> str:
    """The sha256 of the plan in a claim."""
    claim = read_json(path, what="plan", fix=f"Remove {path.parent}.")
    return sha256_bytes(dump_json({name: value for name, value in claim.items() if name != "versions"}))
