"""A finished archive in forms that other tools read: image folders, CSV, WebDataset tars, DICOM files.

In: an archive. Out: a folder that appears whole or not at all, with a README.md that names the archive and its terms.

names       image ids and labels as file names
rows        the data config shard by shard, one row at a time
folder      images and metadata.csv; CSV alone
webdataset  a tar for each shard
dicom       an image as a DICOM file

Every format takes whatever columns the shards have. Memory does not grow with the archive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from xrarchive.archive.exporting import dicom, folder, webdataset
from xrarchive.archive.exporting.rows import Shard, read_shards
from xrarchive.archive.manifest import README_NAME, Manifest, read_manifest
from xrarchive.errors import InputDataError
from xrarchive.files import atomic_folder
from xrarchive.records import OnStatus, ignore_status
from xrarchive.terms import licence_of, require_terms

Format = Literal["folder", "webdataset", "dicom", "csv"]
_WRITERS: Mapping[Format, Callable[[Iterator[Shard], Manifest, Path], None]] = MappingProxyType(
    {
        "folder": folder.write_folder,
        "webdataset": webdataset.write_webdataset,
        "dicom": dicom.write_dicom,
        "csv": folder.write_csv,
    }
)


@dataclass(frozen=True)
class ArchiveExport:
    """What was exported: where to, in which format, from which archive, its images, its files and their size."""

    out: Path
    to: Format
    manifest_sha256: str
    rows: int
    files: int
    bytes: int


def export_archive(archive_dir: Path, out: Path, *, to: Format, on_status: OnStatus = ignore_status) -> ArchiveExport:
    """Write an archive in another format; the same archive always gives the same bytes.

    Args:
        archive_dir: A finished archive.
        out: Folder to make; it must not exist or be empty, and not lie inside the archive.
        to: The format.
        on_status: Told after every image.

    Raises:
        ValueError: If `to` is no format.
        InputDataError: If there is no finished archive, `out` cannot be taken, or a package is missing.
        DamageError, StorageError: If a shard cannot be read, or the disk refuses.
    """
    if to not in _WRITERS:
        raise ValueError(f"to must be one of {', '.join(get_args(Format))}, got {to!r}")
    if to == "dicom":
        dicom.require_pydicom()
    manifest = read_manifest(archive_dir)
    if out.resolve().is_relative_to(archive_dir.resolve()):
        raise InputDataError(
            f"{out} lies inside the archive {archive_dir}, which holds nothing but what its manifest names.",
            fix="Choose a folder outside the archive.",
            path=out,
        )
    with atomic_folder(out) as temporary:
        _WRITERS[to](read_shards(archive_dir, manifest, on_status), manifest, temporary)
        (temporary / README_NAME).write_text(_readme(manifest), encoding="utf-8")
    sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
    return ArchiveExport(out, to, manifest.sha256, manifest.rows, len(sizes), sum(sizes))


def _readme(manifest: Manifest) -> str:
    names = "\n".join(f"{index}. {name}" for index, name in enumerate(manifest.findings))
    terms = "\n".join(f"* {item.notice} {item.url} Cite: {item.citation}" for item in require_terms(manifest.terms))
    return f"""---
license: {licence_of(manifest.terms)}
---
# Synthetic chest X-rays

{manifest.rows:,} images, exported by xrarchive from the archive whose manifest has the sha256 `{manifest.sha256}`.
No person was imaged. Not for clinical use. A label says what was asked for; a blank finding is one nobody asked for.

## Labels by index

{names}

## Terms

{terms or "The radiographs behind these images carry no recorded terms."}
"""
