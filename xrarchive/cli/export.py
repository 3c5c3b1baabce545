"""`xrarchive export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xrarchive.cli.options import FOLDER, example, json_option
from xrarchive.cli.output import emit, fields
from xrarchive.cli.progress import progress
from xrarchive.settings import load_project

if TYPE_CHECKING:
    from xrarchive.archive.exporting import Format


@click.command(epilog=example("xrarchive export archive --to folder --out exported"))
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.option(
    "--to",
    type=click.Choice(["folder", "webdataset", "dicom", "csv"]),
    required=True,
    help='Images by label with metadata.csv, tars, DICOM files (needs "xrarchive[dicom]"), or CSV alone.',
)
@click.option("--out", metavar="OUT", type=FOLDER, required=True, help="The folder to make.")
@json_option("out, to, rows, files, bytes, manifest_sha256")
def export(as_json: bool, archive: Path | None, to: Format, out: Path) -> None:
    """Write an archive for tools that read no Parquet. OUT appears whole or not at all."""
    from xrarchive import pipeline

    folder = archive or load_project(Path()).build.out
    with progress("export") as on_status:
        report = pipeline.export_archive(folder, out, to=to, on_status=on_status)
    emit("export", report, fields, as_json=as_json)
