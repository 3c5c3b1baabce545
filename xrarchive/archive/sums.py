"""SHA256SUMS: the sha256 of every file of an archive, for `sha256sum -c` and for `check`.

The manifest covers the shards; this file also covers the manifest itself, README and validation.
"""

from __future__ import annotations

from pathlib import Path

from xrarchive.archive.manifest import (
    MANIFEST_NAME,
    README_NAME,
    REPORT_NAME,
    SUMS_NAME,
    VALIDATION_NAME,
    Manifest,
)
from xrarchive.files import sha256_file, write_bytes

_SMALL = (README_NAME, VALIDATION_NAME, REPORT_NAME)


def write_sums(folder: Path, manifest: Manifest) -> None:
    """Write SHA256SUMS."""
    write_bytes(folder / SUMS_NAME, render_sums(folder, manifest).encode())


def render_sums(folder: Path, manifest: Manifest) -> str:
    """SHA256SUMS of the small files as they are now, and of the manifest and what it says of the shards."""
    found = {name: sha256_file(folder / name) for name in _SMALL if (folder / name).exists()}
    sums = {**{path: record.sha256 for path, record in manifest.files.items()}, **found, MANIFEST_NAME: manifest.sha256}
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def sums_problems(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    """Path and words for every file that is not what SHA256SUMS says; none if an archive came without it."""
    path = folder / SUMS_NAME
    if not path.exists():
        return []
    try:
        lines = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        sums = {name: digest for digest, name in lines}
    except ValueError:  # not UTF-8, or a line without two spaces
        return [(SUMS_NAME, "is not a list of hashes and names")]
    small = [name for name in _SMALL if (folder / name).exists()]
    known = {MANIFEST_NAME: manifest.sha256, **{name: record.sha256 for name, record in manifest.files.items()}}
    known |= {name: sha256_file(folder / name) for name in small}
    return [
        (
            name if name in known or name in _SMALL else SUMS_NAME,
            f"has another sha256 than {SUMS_NAME} says, or is in only one of the two",
        )
        for name in sorted({*known, *sums})
        if known.get(name) != sums.get(name)
    ]
