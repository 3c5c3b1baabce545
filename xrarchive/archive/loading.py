"""Archives as `datasets`, after every byte they are read from was found to be what the manifest says.

`datasets` itself verifies neither hashes nor page checksums: of 1,500 flipped bits in a shard it noticed 3. Nor does it
know which images a publisher took back: here a version says so in the log, and whoever asks for one by id is told why.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xrarchive.archive.content import read_shard
from xrarchive.archive.manifest import Manifest
from xrarchive.archive.readme import schema_of
from xrarchive.archive.schema import CONFIG_NAMES, DATA, PROVENANCE
from xrarchive.archive.source import Source
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import sha256_file
from xrarchive.findings import require_known

Filter = tuple[str, str, Any]
_log = logging.getLogger(__name__)
_NAMED = 5  # of many images that are not there


def load_archive(
    source: Source,
    *,
    config: str = "default",
    split: str | None = None,
    filters: Sequence[Filter] | None = None,
    ids: Sequence[str] | None = None,
    streaming: bool = False,
    manifest_sha256: str | None = None,
) -> Any:
    """A `datasets.Dataset` of one split, or a `DatasetDict` of all; with `streaming`, their iterable twins.

    Args:
        source: An archive; only the shards that are needed are opened.
        config: `default` (images, labels, scores) or `provenance`.
        split: One of the archive's; None = all.
        filters: Conditions that all hold, as ``("judge_Edema", ">", .5)`` or ``("label", "in", ["Edema", "Mass"])``;
            labels by name.
        ids: Only these images, in archive order; one that was withdrawn is an error that names it.
        streaming: Rows one by one, nothing written to the cache of `datasets`; the shards are verified before.
        manifest_sha256: What the manifest must hash to: pins the content of every file; None = any sound manifest.

    Raises:
        ValueError: If a filter is none.
        InputDataError: If there is no such config, split, column, label or image.
        DamageError: If a file is not what the manifest says, or the manifest not what was pinned.
    """
    from datasets import load_dataset

    manifest = source.manifest
    if manifest_sha256 not in (None, manifest.sha256):
        raise DamageError(
            f"The manifest of {source.name} has sha256 {manifest.sha256}, expected {manifest_sha256}.",
            fix="Get the archive again, or ask its publisher which manifest is the right one.",
        )
    folder_of = {name: inner for inner, name in CONFIG_NAMES.items()}
    _require_known("config", config, tuple(folder_of))
    if split is not None:
        _require_known("split", split, tuple(manifest.splits))
    if manifest.withdrawn:
        _log.info("%s: %d images were withdrawn by version %s.", source.name, len(manifest.withdrawn), manifest.version)
    if ids is not None:
        _require_there(source, ids, [split] if split else list(manifest.splits))
    features = schema_of(folder_of[config], manifest)
    wanted = [_condition(each, features, manifest) for each in filters or ()]
    wanted += [] if ids is None else [("image_id", "in", sorted(set(ids)))]
    paths = {
        name: [_verified(source, path) for path in manifest.shards(folder_of[config], name)]
        for name in ([split] if split else manifest.splits)
    }
    files = {name: found for name, found in paths.items() if found}
    return load_dataset(
        "parquet", data_files=files, features=features, split=split, streaming=streaming, filters=wanted or None
    )


def find_rows(source: Source, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the provenance, in the order of `ids`.

    Raises:
        InputDataError: If an image is not in the archive; one that was withdrawn is named with the reason.
        DamageError: If a shard is not what the manifest says.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in source.manifest.shards(PROVENANCE):
        if len(found) == len(set(ids)):
            break
        table = read_shard(Path(_verified(source, name)), fix="Get the file again.")
        kept = table.filter(pc.is_in(table["image_id"], value_set=pa.array([*ids], pa.string())))
        found |= {row["image_id"]: row for row in kept.to_pylist()}
    if missing := [image_id for image_id in ids if image_id not in found]:
        raise _not_there(source, missing)
    return [found[image_id] for image_id in ids]


def _require_there(source: Source, ids: Sequence[str], splits: Sequence[str]) -> None:
    missing = set(ids)
    for name in (path for split in splits for path in source.manifest.shards(DATA, split)):
        missing -= set(
            read_shard(source.open_shard(name), ["image_id"], fix="Get the file again.")["image_id"].to_pylist()
        )
    if missing:
        raise _not_there(source, sorted(missing))


def _not_there(source: Source, missing: Sequence[str]) -> InputDataError:
    """Which images are not there, and of those that were withdrawn, since when and why."""
    gone = {item.image_id: item for item in source.manifest.withdrawn}
    told = [
        f"{name} (withdrawn in {gone[name].version}: {gone[name].reason})" if name in gone else f"{name} (never there)"
        for name in missing[:_NAMED]
    ]
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return InputDataError(
        f"{source.name} lacks {len(missing)} of these images: {', '.join(told)}{more}.",
        fix="Leave them out, name the split they are in, or load a version from before; `xrarchive log` names all "
        "withdrawals.",
    )


def _condition(given: Filter, features: Mapping[str, Any], manifest: Manifest) -> tuple[str, str, Any]:
    """A filter as pyarrow takes it: labels are numbers in the files, and names to people."""
    if len(given) != 3:
        raise ValueError(f"a filter is (column, operator, value), got {given!r}")
    column, operator, value = given
    _require_known("column", column, tuple(features))
    if column != "label" or isinstance(value, int):
        return column, operator, value
    names = [value] if isinstance(value, str) else list(value)
    require_known(names, manifest.findings, where="filters", fix="Give findings of the archive.")
    numbers = [manifest.findings.index(name) for name in names]
    return column, operator, numbers[0] if isinstance(value, str) else numbers


def _verified(source: Source, name: str) -> str:
    path, expected = source.open_shard(name), source.manifest.files[name].sha256
    found = sha256_file(path) if path.is_file() else "no file"
    if found != expected:
        raise DamageError(
            f"{path} is not what the manifest names: expected sha256 {expected[:12]}, found {found[:12]}.",
            fix="Get the file again; `xrarchive check --read-data` says what else is wrong.",
            path=path,
        )
    return str(path)


def _require_known(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InputDataError(f"The archive has no {what} {given!r}.", fix=f"Give one of: {', '.join(known)}.")
