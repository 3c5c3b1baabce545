"""The files beside README.md that `card` writes, and a signature: description, citation, scorecard, pictures.

Each holds the sha256 of the manifest it was made for, so that one of another state is found by reading it. They show
and describe images, and therefore leave with the state they belong to.
"""

from __future__ import annotations

from pathlib import Path

from xrarchive.archive.manifest import (
    CITATION_NAME,
    CROISSANT_NAME,
    SAMPLES,
    SCORECARD_NAME,
    SIGNATURE_NAME,
    Manifest,
)

COMPANIONS = (CROISSANT_NAME, CITATION_NAME, SCORECARD_NAME, SIGNATURE_NAME)


def find_companions(folder: Path) -> list[str]:
    """Those that are there, as posix paths relative to the archive, in a fixed order."""
    samples = sorted(path.name for path in (folder / SAMPLES).glob("*.png"))
    texts = [name for name in COMPANIONS if (folder / name).is_file()]
    return [*texts, *(f"{SAMPLES}/{name}" for name in samples)]


def stale_companions(folder: Path, manifest: Manifest) -> list[str]:
    """Those that do not name this manifest: made for another state of the archive."""
    named = manifest.sha256.encode()
    return [name for name in find_companions(folder) if named not in (folder / name).read_bytes()]


def remove_stale(folder: Path, manifest: Manifest) -> None:
    """Remove the companions of another state: their pictures may show what was withdrawn."""
    for name in stale_companions(folder, manifest):
        (folder / name).unlink()
    samples = folder / SAMPLES
    if samples.is_dir() and not any(samples.iterdir()):
        samples.rmdir()
