"""Make images of an archive again, from latents and weights, and compare: the deepest check.

On both sides of the waist, as `pipeline` is, which calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.archive.schema import PROVENANCE
from xrarchive.errors import InputDataError
from xrarchive.files import sha256_file
from xrarchive.pixels import AnyPixels, Pixels

# Two processors round differently; an image that is another one is far below this.
LEAST_PSNR_DB = 50.0


@dataclass(frozen=True)
class Regenerated:
    """What came of making images again.

    Attributes:
        count: Images made again.
        identical: Of these, equal to the stored ones in every pixel.
        least_psnr_db: Of the worst of the others; None = all were identical.
        versions: Package versions and processor that differ from those of the builds: (there, here).
        failed: Ids below `LEAST_PSNR_DB`.
    """

    count: int
    identical: int
    least_psnr_db: float | None
    versions: dict[str, tuple[str, str]]
    failed: tuple[str, ...]


def regenerate(archive_dir: Path, generator: Path, *, count: int) -> Regenerated:
    """Render `count` images again, evenly spread over those this generator made, and compare them with the archive's.

    Raises:
        ValueError: If `count` is less than 1.
        InputDataError: If no image is of this generator.
    """
    import torch

    from xrarchive.building.making import package_versions
    from xrarchive.gan.layers import kernels_ready
    from xrarchive.gan.snapshots import load_snapshot
    from xrarchive.synthesis import render

    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    manifest = read_manifest(archive_dir)
    found = sha256_file(generator) if generator.is_file() else "no file"
    own = [index for index, build in enumerate(manifest.builds) if build.weights["generator"].sha256 == found]
    if not own:
        expected = ", ".join(sorted({build.weights["generator"].sha256[:12] for build in manifest.builds}))
        raise InputDataError(
            f"{generator} is not a generator of {archive_dir}: expected sha256 {expected}, found {found[:12]}.",
            fix="Name the generator of the build with --generator.",
            path=generator,
        )
    columns = ["image_id", "latent", *(["build"] if manifest.format > 1 else [])]
    table = read_table(archive_dir, columns, PROVENANCE)
    builds = table["build"].to_numpy() if manifest.format > 1 else np.zeros(table.num_rows, np.int64)
    rows = np.flatnonzero(np.isin(builds, own))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64))]
    latents = torch.tensor(np.array(table["latent"].take(rows).to_pylist(), np.float32))
    network = load_snapshot(generator).generator
    with kernels_ready(network, torch.float32):
        made = render(network, latents)
    return _compare(
        table["image_id"].take(rows).to_pylist(),
        made,
        read_pixels(archive_dir, rows),
        _differing([manifest.builds[index].versions for index in own], package_versions()),
    )


def _compare(ids: list[str], made: Pixels, stored: AnyPixels, versions: dict[str, tuple[str, str]]) -> Regenerated:
    squared = ((made.astype(np.float64) - stored) ** 2).mean(axis=(1, 2))
    off = squared > 0
    psnr_db = 10 * np.log10(255**2 / squared[off])
    failed = tuple(name for name, value in zip(np.array(ids)[off], psnr_db, strict=True) if value < LEAST_PSNR_DB)
    return Regenerated(
        count=len(ids),
        identical=int((~off).sum()),
        least_psnr_db=round(float(psnr_db.min()), 1) if off.any() else None,
        versions=versions,
        failed=tuple(map(str, failed)),
    )


def _differing(there: Sequence[Mapping[str, str]], here: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {
        name: (versions[name], here.get(name, "none"))
        for versions in there
        for name in versions
        if versions[name] != here.get(name)
    }
