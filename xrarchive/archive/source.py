"""Where an archive is read from: a folder, or shards that are fetched when they are asked for (`hub.fetching`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xrarchive.archive.manifest import Manifest, read_manifest


@dataclass(frozen=True)
class Source:
    """An archive to read: what to call it, its manifest, and what gives the local path of one of its shards."""

    name: str
    manifest: Manifest
    open_shard: Callable[[str], Path]


def open_folder(folder: Path) -> Source:
    """The archive in a folder.

    Raises:
        InputDataError, DamageError: If there is none, or its manifest is damaged.
    """
    return Source(str(folder), read_manifest(folder), lambda path: folder / path)
