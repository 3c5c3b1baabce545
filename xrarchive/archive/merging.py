"""Two archives to one: shards of the first, then those of the second under the numbers that follow.

The names lose their `-r1`: later changes of the merged archive count from 1 again, and must not meet a shard in use.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from xrarchive.archive.content import read_shard, require_sound
from xrarchive.archive.manifest import (
    FIRST_VERSION,
    MANIFEST_NAME,
    Change,
    FileRecord,
    Manifest,
    index_of,
    read_manifest,
    require_current,
    split_of,
)
from xrarchive.archive.reader import read_table
from xrarchive.archive.readme import schema_of
from xrarchive.archive.schema import CONFIGS, DATA, shard_name, write_shard
from xrarchive.archive.shards import WORK, bytes_per_image, commit, record_file, settle
from xrarchive.archive.writer import find_strangers
from xrarchive.errors import InputDataError, PlanChangedError, storage_errors
from xrarchive.files import atomic_path, locked, read_json, write_json

_NAMED_AT_MOST = 5


def merge(first: Path, second: Path, out: Path) -> Manifest:
    """Join two archives into a new one; both keep their ids, and what is known of how each image came about.

    Guide and judge must be the same, since their columns are scores of one classifier each; generators, seeds and
    search settings may differ.

    Raises:
        InputDataError: Naming everything in which the two do not go together, before anything is written; or if `out`
            holds something else.
        PlanChangedError: If `out` holds another merge.
        LockedError, StorageError, DamageError: See their descriptions.
    """
    left, right = read_manifest(first), read_manifest(second)
    conflicts = _conflicts(first, left, second, right)
    if conflicts:
        raise InputDataError(
            f"{first} and {second} cannot be merged: {'; '.join(conflicts)}.",
            fix="Build one of them again with what the other has; another --seed gives other ids.",
        )
    with locked(out), storage_errors(out):
        if done := _claim(out, left, right):
            return done
        files = _taken_over(first, left, out)
        files |= _renumbered(second, right, out, left)
        manifest = dataclasses.replace(
            left,
            files=files,
            builds=(*left.builds, *right.builds),
            history=(_history(left, right),),
            withdrawn=(*left.withdrawn, *right.withdrawn),
        )
        return commit(out, manifest)


def _conflicts(first: Path, left: Manifest, second: Path, right: Manifest) -> list[str]:
    for folder, manifest in ((first, left), (second, right)):
        require_current(folder, manifest)
    found = [
        f"{name} {getattr(left, name)!r} against {getattr(right, name)!r}"
        for name in ("findings", "nuisances", "size_px", "mode", "splits")
        if getattr(left, name) != getattr(right, name)
    ]
    found += [
        f"{role} {left.weights[role].sha256[:12]} against {right.weights[role].sha256[:12]}"
        for role in ("guide", "judge")
        if left.weights[role].sha256 != right.weights[role].sha256
    ]
    ids = [set(read_table(folder, ["image_id"])["image_id"].to_pylist()) for folder in (first, second)]
    gone = [{item.image_id for item in manifest.withdrawn} for manifest in (left, right)]
    for what, shared in (
        ("ids in both", ids[0] & ids[1]),
        (f"ids that {first} withdrew", gone[0] & ids[1]),
        (f"ids that {second} withdrew", gone[1] & ids[0]),
    ):
        if shared:
            found.append(f"{len(shared)} {what}: {', '.join(sorted(shared)[:_NAMED_AT_MOST])}")
    return found


def _claim(out: Path, left: Manifest, right: Manifest) -> Manifest | None:
    """Prepare `out`, or find that it holds this merge already."""
    claim, wanted = out / WORK / "merge.json", {"first": left.sha256, "second": right.sha256}
    if (out / MANIFEST_NAME).exists():
        manifest = read_manifest(out)
        if manifest.history[0] == _history(left, right):
            settle(out, manifest)
            return manifest
        raise PlanChangedError(f"{out} holds another archive.", fix="Give another --out.", path=out)
    if claim.exists():
        if read_json(claim, what="merge", fix=f"Remove {out}.") != wanted:
            raise PlanChangedError(f"{out} holds another merge, unfinished.", fix="Give another --out.", path=out)
        return None
    strangers = find_strangers(out)
    if (out / WORK).exists() and any((out / WORK).iterdir()):
        strangers.append(WORK)
    if strangers:
        raise InputDataError(
            f"{out} is not empty: {', '.join(strangers[:_NAMED_AT_MOST])}.",
            fix="Choose an empty or new output folder.",
            path=out,
        )
    write_json(claim, wanted)
    return None


def _history(left: Manifest, right: Manifest) -> Change:
    reason = f"{left.sha256[:12]} (version {left.version}) and {right.sha256[:12]} (version {right.version})"
    return Change(FIRST_VERSION, "merge", left.rows + right.rows, 0, reason)


def _taken_over(folder: Path, manifest: Manifest, out: Path) -> dict[str, FileRecord]:
    """Shards of the first archive, byte for byte."""
    files = {}
    for config in CONFIGS:
        for name in manifest.shards(config):
            target = shard_name(config, index_of(name), split=split_of(name))
            files[target] = _copied(folder, name, manifest, out / target)
    return files


def _renumbered(folder: Path, manifest: Manifest, out: Path, before: Manifest) -> dict[str, FileRecord]:
    """Shards of the second archive, after those of the first; their provenance names builds by new numbers."""
    files = {}
    for config in CONFIGS:
        for split in manifest.splits:
            first = max((index_of(name) + 1 for name in before.shards(config, split)), default=0)
            for index, name in enumerate(manifest.shards(config, split), first):
                target = shard_name(config, index, split=split_of(name))
                if config == DATA:
                    files[target] = _copied(folder, name, manifest, out / target)
                    continue
                require_sound(folder, manifest, [name])
                table = _moved(read_shard(folder / name, fix="Run `xrarchive check`."), len(before.builds))
                schema, image_bytes = schema_of(config, manifest).arrow_schema, bytes_per_image(manifest)
                write_shard(out / target, [table], schema, image_bytes=image_bytes)
                files[target] = record_file(out / target)
    return files


def _moved(table: pa.Table, builds: int) -> pa.Table:
    column = pa.array(table["build"].to_numpy() + np.int32(builds), pa.int32())
    return table.set_column(table.column_names.index("build"), table.schema.field("build"), column)


def _copied(folder: Path, name: str, manifest: Manifest, target: Path) -> FileRecord:
    with atomic_path(target) as temporary:
        require_sound(folder, manifest, [name])
        shutil.copyfile(folder / name, temporary)
    return record_file(target)
