"""`xrarchive ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xrarchive.cli.options import FOLDER, example, json_option, names
from xrarchive.cli.output import Result, emit, fields, say, table
from xrarchive.cli.progress import progress
from xrarchive.settings import load_project, require, resolve

_LISTED = 10


@click.command(epilog=example("xrarchive ingest ChestX-ray14 --out radiographs --size 64"))
@click.argument("source", metavar="[SRC]", type=FOLDER, required=False)
@click.option("--out", metavar="SET", type=FOLDER, help="Folder of the radiograph set.")
@click.option("--size", "size_px", metavar="PX", type=int, help="Side of the stored squares.  [default: 64]")
@click.option(
    "--findings",
    metavar="A,B,…",
    type=names,
    help="Findings the labels may hold.  [default: the 14 of NIH ChestX-ray14]",
)
@click.option("--terms", metavar="NAME", type=names, help="Terms the radiographs came under, such as nih-chestxray14.")
@click.option("--fit", type=click.Choice(["crop", "pad"]), help="How a rectangle becomes a square.  [default: crop]")
@click.option(
    "--max-rejects", metavar="SHARE", type=click.FloatRange(0, 1), help="Unreadable at most.  [default: 0.01]"
)
@json_option("images, patients, findings, splits, rejected, out, sha256 and more")
def ingest(as_json: bool, **flags: Any) -> None:
    """Turn a folder of radiographs into a radiograph set.

    SRC holds labels.csv (columns image, labels; optionally patient_id, view, split) or NIH ChestX-ray14 as distributed.
    Patients never appear in two splits.
    """
    from xrarchive import pipeline

    chosen = resolve(load_project(Path()).ingest, **flags)
    source = require(chosen.source, "SRC", "ingest.source")
    out = require(chosen.out, "--out", "ingest.out")
    with progress("ingest") as on_status:
        report = pipeline.ingest(
            source,
            out,
            size_px=chosen.size_px,
            findings=chosen.findings,
            terms=chosen.terms,
            fit=chosen.fit,
            max_rejects=chosen.max_rejects,
            on_status=on_status,
        )
    emit("ingest", report, _show, as_json=as_json)


def _show(result: Result) -> None:
    table(["finding", "radiographs"], result["findings"].items())
    say("")
    names = ("images", "patients", "splits", "size_px", "terms", "enlarged", "ignored_columns", "out")
    fields({name: result[name] for name in names if result.get(name)})
    rejected = result["rejected"]
    say(*(f"rejected  {item['image']}: {item['reason']}" for item in rejected[:_LISTED]))
    if len(rejected) > _LISTED:
        say(f"rejected  {len(rejected) - _LISTED} more; all of them with --json")
