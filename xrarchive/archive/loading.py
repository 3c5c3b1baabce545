"""Archives as `datasets`, after every byte they are read from was found to be what the manifest says.

`datasets` itself verifies neither hashes nor page checksums: of 1,500 flipped bits in a shard it noticed 3.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from xrarchive.archive.manifest import MANIFEST_NAME, Manifest, read_manifest
from xrarchive.archive.readme import schema_of
from xrarchive.archive.schema import CONFIG_NAMES
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import sha256_file


def load_archive(
    fetch: Callable[[str], Path],
    *,
    config: str = "default",
    split: str | None = None,
    manifest_sha256: str | None = None,
) -> Any:
    """A `datasets.Dataset` of one split, or a `DatasetDict` of all.

    Args:
        fetch: Gives the local path of a file of the archive; only what is needed is asked for.
        config: `default` (images, labels, scores) or `provenance`.
        split: One of the archive's; None = all.
        manifest_sha256: What the manifest must hash to: pins the content of every file; None = any sound manifest.

    Raises:
        InputDataError: If there is no archive, no such config or no such split.
        DamageError: If a file is not what the manifest says, or the manifest not what was pinned.
    """
    from datasets import load_dataset

    folder = fetch(MANIFEST_NAME).parent
    manifest = read_manifest(folder)
    if manifest_sha256 not in (None, manifest.sha256):
        raise DamageError(
            f"The manifest in {folder} has sha256 {manifest.sha256}, expected {manifest_sha256}.",
            fix="Get the archive again, or ask its publisher which manifest is the right one.",
            path=folder,
        )
    folder_of = {name: inner for inner, name in CONFIG_NAMES.items()}
    _require_known("config", config, tuple(folder_of))
    if split is not None:
        _require_known("split", split, tuple(manifest.splits))
    wanted = [split] if split else list(manifest.splits)
    paths = {
        name: [_verified(fetch, manifest, path) for path in manifest.shards(folder_of[config], name)] for name in wanted
    }
    features = schema_of(folder_of[config], manifest)
    files = {name: found for name, found in paths.items() if found}
    return load_dataset("parquet", data_files=files, features=features, split=split)


def _verified(fetch: Callable[[str], Path], manifest: Manifest, name: str) -> str:
    path, expected = fetch(name), manifest.files[name].sha256
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
