"""`xrarchive show`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option
from xrarchive.cli.output import Result, emit, fields, say, table
from xrarchive.settings import load_project


@click.command(epilog=example("xrarchive show archive --contact-sheet sheet.png"))
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--contact-sheet", metavar="FILE", type=FILE, help="Also write a PNG of images by finding.")
@json_option("rows, counts, findings, weights, seed, versions and more")
def show(as_json: bool, archive: Path | None, contact_sheet: Path | None) -> None:
    """Say what an archive holds, from its manifest."""
    from xrarchive import pipeline

    folder = archive or load_project(Path()).build.out
    emit("show", pipeline.show(folder, contact_sheet=contact_sheet), _show, as_json=as_json)


def _show(result: Result) -> None:
    table(["label", "images"], result["counts"].items())
    say("")
    fields({name: value for name, value in result.items() if not isinstance(value, dict | list)})
