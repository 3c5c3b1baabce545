"""`xrarchive card`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option
from xrarchive.cli.output import emit, say
from xrarchive.settings import load_project


@click.command(epilog=example("xrarchive card archive", "xrarchive card archive --templates my-cards"))
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--study", metavar="FILE", type=FILE, help="score.json of a reader study of this archive.")
@click.option("--templates", metavar="FOLDER", type=FOLDER, help="Your own copies of the templates in cards/.")
@click.option(
    "--date",
    metavar="YYYY-MM-DD",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Day of the card.  [default: that of the card of the same archive, else today, UTC]",
)
@click.option("--facts", metavar="FILE", type=FILE, help="Also write all that templates may use, as JSON.")
@json_option("path")
def card(
    as_json: bool,
    archive: Path | None,
    study: Path | None,
    templates: Path | None,
    date: datetime.datetime | None,
    facts: Path | None,
) -> None:
    """Write the archive's card: README.md, scorecard, citation, croissant.json and pictures."""
    from xrarchive import pipeline

    folder = archive or load_project(Path()).build.out
    day = None if date is None else date.date().isoformat()
    path = pipeline.write_card(folder, study=study, templates=templates, date=day, facts=facts)
    emit(
        "card",
        {"path": path},
        lambda result: say(result["path"], f"Next: xrarchive publish {folder} OWNER/NAME --version 1.0.0 --dry-run"),
        as_json=as_json,
    )
