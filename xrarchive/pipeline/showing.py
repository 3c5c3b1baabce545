"""A radiograph set or an archive in, what people look at out: figures, pictures, pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xrarchive.archive.manifest import Manifest, read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.files import atomic_path, write_bytes
from xrarchive.pixels import write_grid
from xrarchive.records import OnStatus, ignore_status

if TYPE_CHECKING:
    from xrarchive.browsing.page import BrowseReport

CONTACT_SHEET_COLUMNS = 10


def show_radiographs(
    set_dir: Path, *, html: Path | None = None, sheet: Path | None = None, on_status: OnStatus = ignore_status
) -> dict[str, Any]:
    """What a radiograph set holds; see `xrarchive.radiographs.overview.describe_set`.

    Args:
        set_dir: The set's folder.
        html: Also write a page of it, which holds no film.
        sheet: Also write a PNG with a row of films for each finding.
        on_status: Told how many films have been compared with all others.
    """
    from xrarchive.radiographs import open_set
    from xrarchive.radiographs.overview import SHEET_COLUMNS, contact_sheet, describe_set
    from xrarchive.reporting.radiographs import render_set

    radiographs = open_set(set_dir)
    found = describe_set(radiographs, on_status=on_status)
    if html is not None:
        write_bytes(html, render_set(found, title=f"Radiograph set {set_dir.name}").encode())
    if sheet is not None:
        tiles, found["sheet_rows"] = contact_sheet(radiographs)
        with atomic_path(sheet) as temporary:
            write_grid(temporary, tiles, columns=SHEET_COLUMNS)
    return found


def show(archive_dir: Path, *, contact_sheet: Path | None = None) -> dict[str, Any]:
    """What an archive holds, from its manifest; `contact_sheet` also gets a PNG, a row of ten for each label."""
    manifest = read_manifest(archive_dir)
    if contact_sheet is not None:
        _write_contact_sheet(archive_dir, manifest, contact_sheet)
    return {
        "archive": str(archive_dir),
        "version": manifest.version,
        "manifest_sha256": manifest.sha256,
        **manifest.as_dict(),
    }


def _write_contact_sheet(archive_dir: Path, manifest: Manifest, path: Path) -> None:
    labels = read_table(archive_dir, ["label"])["label"].to_numpy()
    indices = [manifest.findings.index(name) for name in manifest.labels]
    rows = [np.flatnonzero(labels == index)[:CONTACT_SHEET_COLUMNS] for index in indices]
    pixels = iter(read_pixels(archive_dir, np.concatenate(rows)))
    sheet = np.zeros((len(rows), CONTACT_SHEET_COLUMNS, manifest.size_px, manifest.size_px), np.uint8)
    for line, found in enumerate(rows):
        for column in range(len(found)):
            sheet[line, column] = next(pixels)
    with atomic_path(path) as temporary:
        write_grid(temporary, sheet.reshape(-1, *sheet.shape[2:]), columns=CONTACT_SHEET_COLUMNS)


def browse(
    source: Path | str,
    out: Path | None = None,
    *,
    where: str | None = None,
    images: int | None = None,
    seed: int = 0,
    on_status: OnStatus = ignore_status,
) -> BrowseReport:
    """Write a page to look through an archive, a folder or ``owner/name@revision``, with any browser, offline.

    Args:
        source: The archive.
        out: The HTML file; None = the archive's name with ``.html``, in this folder.
        where: See `xrarchive.browsing.page.write_page`, as for the rest.
        images: At most so many; None = as many as make a page of about 85 MB.
        seed: Of the draw, if not all fit.
        on_status: Told of each shard.
    """
    from xrarchive.browsing.page import write_page
    from xrarchive.hub.fetching import open_source

    path = out or Path(
        re.sub(r"[^\w.-]+", "-", Path(source).resolve().name if Path(source).is_dir() else str(source)) + ".html"
    )
    with open_source(source) as opened:
        return write_page(opened, path, where=where, images=images, seed=seed, on_status=on_status)
