"""`xrarchive validate`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FOLDER, example, json_option, weights_options
from xrarchive.cli.output import Result, cell, emit, say, table
from xrarchive.cli.progress import progress
from xrarchive.settings import load_project


@click.command(epilog=example("xrarchive validate archive", "xrarchive validate archive --radiographs radiographs"))
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--radiographs", metavar="SET", type=FOLDER, help="Compare with.  [default: bundled statistics]")
@weights_options("judge")
@json_option("the content of validation.json")
def validate(as_json: bool, archive: Path | None, radiographs: Path | None, judge: Path | None) -> None:
    """Measure an archive: distances with their floors, label agreement, duplicates.

    The judge is the one the archive was built with.
    """
    from xrarchive import pipeline

    project = load_project(Path())
    folder = archive or project.build.out
    with progress("validate") as on_status:
        report = pipeline.validate(
            folder,
            radiographs=radiographs or project.validate.radiographs,
            judge=judge or project.build.judge,
            on_status=on_status,
        )

    def render(result: Result) -> None:
        _show(result)
        say("", f"Next: xrarchive card {folder}")

    emit("validate", report, render, as_json=as_json)


def _show(result: Result) -> None:
    from xrarchive.validation.summary import summary_rows

    rows = summary_rows(result)
    columns = ["measure", "value", "interval", "n", "beside", ""]
    table(
        columns,
        [
            (
                f"{row.subject}: {row.measure}" if row.subject else row.measure,
                row.value,
                None if row.low is None else f"{cell(row.low)} to {cell(row.high)}",
                row.n,
                row.beside,
                row.reason or row.beside_text,
            )
            for row in rows
        ],
    )
    problems = [item for item in result.get("problems", []) if item["severity"] != "note"]
    say(*(f"{item['severity']}: {item['message']}" for item in problems))
