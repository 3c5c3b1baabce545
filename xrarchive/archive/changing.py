"""Changes to a finished archive: rows withdrawn, rows dealt to splits, leftovers of crashes removed.

Every change writes new shards beside the old ones, then README, then the manifest, and last removes what no longer
belongs to the archive. Stopped before the manifest it has not happened, after it it has; run again, it ends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xrarchive.archive.conditions import fitting_ids
from xrarchive.archive.content import read_groups, read_shard, require_sound
from xrarchive.archive.manifest import (
    MANIFEST_NAME,
    README_NAME,
    SUMS_NAME,
    FileRecord,
    Manifest,
    Withdrawal,
    index_of,
    is_shard,
    read_manifest,
    require_current,
    split_of,
)
from xrarchive.archive.readme import schema_of
from xrarchive.archive.schema import CONFIGS, DATA, PROVENANCE, shard_name, write_shard
from xrarchive.archive.shards import (
    WORK,
    bytes_per_image,
    commit,
    drop_work,
    has_unfinished,
    record_file,
    restore_texts,
    settle,
    surplus_shards,
    write_shards,
)
from xrarchive.errors import InputDataError, storage_errors
from xrarchive.files import TEMPORARY_PREFIX, locked

_FIX = "Find out more with `xrarchive check --read-data`."


@dataclass(frozen=True)
class ChangeReport:
    """What a change did.

    Attributes:
        version: Of the archive now.
        manifest_sha256: Identifies it.
        rows: Images there are now.
        removed: Ids of the rows that went.
        rewritten: Shards written anew.
    """

    version: str
    manifest_sha256: str
    rows: int
    removed: tuple[str, ...]
    rewritten: int


@dataclass(frozen=True)
class Leftover:
    """Something a crash left: a path below the archive, its bytes, and what it is."""

    path: str
    bytes: int
    what: str


def withdraw(
    folder: Path, *, ids: Sequence[str] = (), where: str | None = None, reason: str, date: str
) -> ChangeReport:
    """Take images out of an archive: pixels, labels, latents and seeds go, a note with the reason stays.

    Only shards that hold such a row are written anew; nothing ever uses their ids again.

    Args:
        folder: The archive.
        ids: Images to withdraw; those that are withdrawn already are left alone.
        where: A condition on the columns of either config, as `pandas.DataFrame.query` takes it, the label by its name:
            ``label == 'Edema' and judge_Edema < .1``. Names with spaces stand in backticks.
        reason: Kept in the manifest.
        date: Of the withdrawal, `YYYY-MM-DD`.

    Raises:
        ValueError: If neither `ids` nor `where` is given, or `reason` is empty or no Unicode.
        InputDataError: If an id was never in the archive, the condition cannot be read or finds no row, or no row would
            be left.
        LockedError, StorageError, DamageError: See their descriptions.
    """
    if not (ids or where) or not reason.strip():
        raise ValueError("withdraw needs ids or a condition, and a reason")
    reason.encode()  # bytes that came in by the command line and are no UTF-8 cannot be written either
    with locked(folder), storage_errors(folder):
        manifest = _open(folder)
        gone = {item.image_id for item in manifest.withdrawn}
        chosen = _choose(folder, manifest, set(ids) - gone, where)
        unknown = sorted(set(ids) - gone - chosen)
        if unknown:
            raise InputDataError(
                f"{folder} never held {len(unknown)} of these images: {', '.join(unknown[:5])}.",
                fix="Give ids as in the column image_id.",
                path=folder,
            )
        if not chosen:
            if where:
                raise InputDataError(
                    f"No image of {folder} fits {where!r}.", fix="Look at `xrarchive show`.", path=folder
                )
            return ChangeReport(manifest.version, manifest.sha256, manifest.rows, (), 0)
        if len(chosen) == manifest.rows:
            raise InputDataError(
                f"That would withdraw all {manifest.rows} images of {folder}.",
                fix="Delete the archive instead.",
                path=folder,
            )
        change = manifest.follow("withdraw", removed=len(chosen), reason=reason, date=date)
        notes = tuple(Withdrawal(name, reason, date, change.version) for name in sorted(chosen))
        files, rewritten = _without(folder, manifest, chosen)
        after = dataclasses.replace(
            manifest, files=files, history=(*manifest.history, change), withdrawn=(*manifest.withdrawn, *notes)
        )
        after = commit(folder, after)
    return ChangeReport(after.version, after.sha256, after.rows, tuple(sorted(chosen)), rewritten)


def split(folder: Path, shares: dict[str, float]) -> ChangeReport:
    """Deal the images to splits by a hash of their ids, in the shares given; later extensions follow the same rule.

    Args:
        folder: The archive.
        shares: Of each split, by name, in any order; they add up to 1.

    Raises:
        ValueError: If a name is none of train, validation, test, or the shares do not add up to 1.
        InputDataError: If there is no archive, or a split would be empty.
        LockedError, StorageError, DamageError: See their descriptions.
    """
    known = ("train", "validation", "test")
    if not set(shares) <= set(known) or min(shares.values(), default=0) < 0 or not abs(sum(shares.values()) - 1) < 1e-6:
        raise ValueError(f"shares must be of train, validation and test and add up to 1, got {shares}")
    # In one order, whatever the caller's: it decides which ids fall to which split.
    shares = {name: shares[name] for name in known if shares.get(name)}
    with locked(folder), storage_errors(folder):
        manifest = _open(folder)
        if dict(manifest.splits) == shares:
            return ChangeReport(manifest.version, manifest.sha256, manifest.rows, (), 0)
        require_sound(folder, manifest, manifest.files)
        bare = dataclasses.replace(manifest, splits=shares, files={})

        def tables(config: str) -> Iterable[pa.Table]:
            return (read_shard(folder / name, fix=_FIX) for name in manifest.shards(config))

        files = write_shards(folder, bare, tables, change=len(manifest.history))
        empty = [name for name in shares if not any(split_of(path) == name for path in files)]
        if empty:
            settle(folder, manifest)
            raise InputDataError(
                f"The split {empty[0]!r} would be empty: {manifest.rows} images, share {shares[empty[0]]:g}.",
                fix="Raise its share, or extend the archive first.",
                path=folder,
            )
        change = manifest.follow("split", reason=", ".join(f"{name} {share:g}" for name, share in shares.items()))
        after = commit(folder, dataclasses.replace(bare, files=files, history=(*manifest.history, change)))
    return ChangeReport(after.version, after.sha256, after.rows, (), len(files))


def find_leftovers(folder: Path, *, unfinished: bool = False) -> tuple[Leftover, ...]:
    """What crashes left below an archive: temporary files, shards that belong to nothing, units already joined.

    Args:
        folder: Of an archive, finished or not.
        unfinished: Whether to list the units of an unfinished build or extension too, which the same command would use,
            and the shards and README that such a build had begun.
    """
    found = [_leftover(folder, path, "temporary file") for path in sorted(folder.rglob(f"{TEMPORARY_PREFIX}*"))]
    manifest = read_manifest(folder) if (folder / MANIFEST_NAME).exists() else None
    if manifest is not None:
        found += [_leftover(folder, path, "shard of no version") for path in surplus_shards(folder, manifest)]
    work = folder / WORK
    if work.exists():
        joined = manifest is not None and not has_unfinished(folder, manifest)
        if manifest is None and unfinished:
            begun = [
                path for path in sorted(folder.glob("*/*.parquet")) if is_shard(path.relative_to(folder).as_posix())
            ]
            begun += [path for path in (folder / README_NAME, folder / SUMS_NAME) if path.exists()]
            found += [_leftover(folder, path, "part of an unfinished build") for path in begun]
        if joined or unfinished:
            found.append(_leftover(folder, work, "units already joined" if joined else "units of an unfinished build"))
    return tuple(found)


def remove_leftovers(folder: Path, *, unfinished: bool = False) -> tuple[Leftover, ...]:
    """Remove what `find_leftovers` lists.

    Raises:
        InputDataError: If there is no such folder.
        LockedError: If somebody works there.
    """
    if not folder.is_dir():
        raise InputDataError(f"No archive at {folder}.", fix="Check the path.", path=folder)
    before = find_leftovers(folder, unfinished=unfinished)
    with locked(folder), storage_errors(folder):
        found = find_leftovers(folder, unfinished=unfinished)  # while we waited, some may have become an archive
        if (folder / MANIFEST_NAME).exists():
            restore_texts(folder, read_manifest(folder))  # they may name what goes now
        for item in found:
            if item.path == WORK:
                drop_work(folder)
            else:
                (folder / item.path).unlink(missing_ok=True)
        gone = [item for item in before if not (folder / item.path).exists()]  # temporary files went with the lock
    return tuple(gone)


def _open(folder: Path) -> Manifest:
    """The manifest of an archive that may be changed now; what a change that was stopped left is gone."""
    manifest = read_manifest(folder)
    require_current(folder, manifest)
    if has_unfinished(folder, manifest):
        raise InputDataError(
            f"An extension of {folder} was begun and not finished.",
            fix="Run the same `xrarchive extend` again, or drop it with `xrarchive gc --unfinished`.",
            path=folder,
        )
    settle(folder, manifest)
    return manifest


def _choose(folder: Path, manifest: Manifest, ids: set[str], where: str | None) -> set[str]:
    """Ids that are in the archive and are named or fit the condition."""
    chosen: set[str] = set()
    for name in manifest.shards(DATA):
        present = read_shard(folder / name, ["image_id"], fix=_FIX)["image_id"].to_pylist()
        chosen.update(ids.intersection(present))
        if where:
            twin = folder / PROVENANCE / name.partition("/")[2]
            chosen.update(fitting_ids(folder / name, twin, manifest, where))
    return chosen


def _without(folder: Path, manifest: Manifest, gone: set[str]) -> tuple[dict[str, FileRecord], int]:
    """Files of the archive without these rows, and how many shards were written anew."""
    files: dict[str, FileRecord] = {}
    rewritten = 0
    wanted = pa.array(sorted(gone), pa.string())
    for config in CONFIGS:
        for name in manifest.shards(config):
            ids = read_shard(folder / name, ["image_id"], fix=_FIX)["image_id"]
            keep = ~np.asarray(pc.is_in(ids, value_set=wanted))
            if keep.all():
                files[name] = manifest.files[name]
            elif keep.any():
                renamed = shard_name(config, index_of(name), split=split_of(name), change=len(manifest.history))
                require_sound(folder, manifest, [name])
                schema, image_bytes = schema_of(config, manifest).arrow_schema, bytes_per_image(manifest)
                kept = _kept_groups(folder / name, keep)
                write_shard(folder / renamed, kept, schema, image_bytes=image_bytes, regroup=False)
                files[renamed] = record_file(folder / renamed)
                rewritten += 1
    return files, rewritten


def _kept_groups(path: Path, keep: npt.NDArray[np.bool_]) -> Iterator[pa.Table]:
    """What stays of each row group: one that loses nothing keeps its bytes, and a Hub is not sent them again."""
    start = 0
    for table in read_groups(path, fix=_FIX):
        stop = start + table.num_rows
        if keep[start:stop].any():
            yield table.filter(keep[start:stop])
        start = stop


def _leftover(folder: Path, path: Path, what: str) -> Leftover:
    files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    return Leftover(path.relative_to(folder).as_posix(), sum(file.stat().st_size for file in files), what)
