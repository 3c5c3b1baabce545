"""`xrarchive radiographs show`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option
from xrarchive.cli.output import Result, emit, fields, say, table
from xrarchive.cli.progress import progress
from xrarchive.settings import load_project, require

_NAMED_PAIRS = 5


@click.group()
def radiographs() -> None:
    """Look into a radiograph set."""


@radiographs.command("show", epilog=example("xrarchive radiographs show radiographs --html set.html --sheet films.png"))
@click.argument("folder", metavar="[SET]", type=FOLDER, required=False)
@click.option("--html", metavar="FILE", type=FILE, help="Also write a page of it, without films.")
@click.option("--sheet", metavar="FILE", type=FILE, help="Also write a PNG: a row of films for each finding.")
@json_option("images, patients, findings, co_occurrence, views, ages, duplicates, rejects and more")
def show_set(as_json: bool, folder: Path | None, html: Path | None, sheet: Path | None) -> None:
    """Say what a set holds: findings, patients, views and ages, films that are there twice, what was not taken."""
    from xrarchive import pipeline

    chosen = require(folder or load_project(Path()).ingest.out, "SET", "ingest.out")
    with progress("radiographs show") as on_status:
        found = pipeline.show_radiographs(chosen, html=html, sheet=sheet, on_status=on_status)
    emit("radiographs-show", found, _show, as_json=as_json)


def _show(result: Result) -> None:
    rows = [
        (name, one["present"], one["absent"], one["uncertain"], one["unknown"], _percent(one["prevalence"]))
        for name, one in result["findings"].items()
    ]
    table(["finding", "present", "absent", "uncertain", "unknown", "prevalence"], rows)
    say("")
    names = ("images", "patients", "without_patient_id", "patients_in_two_splits", "splits", "views", "sexes", "ages")
    fields({name: result[name] for name in (*names, "sizes_px", "terms", "rejects") if result[name]})
    twice = result["duplicates"]
    fields({f"duplicates_{name}": count for name, count in twice.items() if name != "pairs" and count})
    for pair in twice["pairs"][:_NAMED_PAIRS]:
        say(f"twice     {' = '.join(pair['images'])} ({' and '.join(dict.fromkeys(pair['splits']))})")
    if result["lettered"]:
        say(f"lettered  {len(result['lettered']):,}, the first {result['lettered'][0]}: look whether they name anybody")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
