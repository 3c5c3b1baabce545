"""SHA256SUMS: the sha256 of every file of an archive, for `sha256sum -c` and for `check`.

The manifest covers the shards; this file also covers the manifest itself and everything else that `publish` sends.
"""

from __future__ import annotations

from pathlib import Path

from xrarchive.archive.companions import COMPANIONS, find_companions
from xrarchive.archive.manifest import (
    CHANGELOG_NAME,
    MANIFEST_NAME,
    README_NAME,
    REPORT_NAME,
    SUMS_NAME,
    VALIDATION_NAME,
    Manifest,
)
from xrarchive.files import sha256_file, write_bytes

_SMALL = (README_NAME, VALIDATION_NAME, REPORT_NAME, CHANGELOG_NAME)


def write_sums(folder: Path, manifest: Manifest) -> None:
    """Write SHA256SUMS."""
    write_bytes(folder / SUMS_NAME, render_sums(folder, manifest).encode())


def render_sums(folder: Path, manifest: Manifest) -> str:
    """SHA256SUMS of the small files as they are now, and of the manifest and what it says of the shards."""
    sums = {path: record.sha256 for path, record in manifest.files.items()}
    sums |= {name: sha256_file(folder / name) for name in _small_files(folder)}
    sums[MANIFEST_NAME] = manifest.sha256
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def sums_problems(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    """Path and words for every file that is not what SHA256SUMS says; none if an archive came without it.

    A changelog may be younger than SHA256SUMS, which then does not name it.
    """
    path = folder / SUMS_NAME
    if not path.exists():
        return []
    try:
        lines = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        sums = {name: digest for digest, name in lines}
    except ValueError:  # not UTF-8, or a line without two spaces
        return [(SUMS_NAME, "is not a list of hashes and names")]
    known = {MANIFEST_NAME: manifest.sha256, **{name: record.sha256 for name, record in manifest.files.items()}}
    known |= {name: sha256_file(folder / name) for name in _small_files(folder)}
    return [
        (
            name if name in {*known, *_SMALL, *COMPANIONS} else SUMS_NAME,
            f"has another sha256 than {SUMS_NAME} says, or is in only one of the two",
        )
        for name in sorted({*known, *sums})
        if known.get(name) != sums.get(name) and not (name == CHANGELOG_NAME and name not in sums)
    ]


def _small_files(folder: Path) -> list[str]:
    return [*(name for name in _SMALL if (folder / name).is_file()), *find_companions(folder)]
