"""`xrarchive card`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option
from xrarchive.cli.output import emit, say
from xrarchive.settings import load_project


@click.command(epilog=example("xrarchive card archive"))
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--study", metavar="FILE", type=FILE, help="score.json of a reader study of this archive.")
@json_option("path")
def card(as_json: bool, archive: Path | None, study: Path | None) -> None:
    """Write the archive's card, README.md, from its manifest and its validation."""
    from xrarchive import pipeline

    folder = archive or load_project(Path()).build.out
    path = pipeline.write_card(folder, study=study)
    emit(
        "card",
        {"path": path},
        lambda result: say(result["path"], f"Next: xrarchive publish {folder} OWNER/NAME --version 1.0.0 --dry-run"),
        as_json=as_json,
    )
