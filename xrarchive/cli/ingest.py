"""`xrarchive ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option, names
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
    help="Findings to keep; `all`: all that are listed for a public set.  [default: those of NIH's 14 in it]",
)
@click.option("--terms", metavar="NAME", type=names, help="Terms the radiographs came under, such as nih-chestxray14.")
@click.option("--fit", type=click.Choice(["crop", "pad"]), help="How a rectangle becomes a square.  [default: crop]")
@click.option(
    "--max-rejects", metavar="SHARE", type=click.FloatRange(0, 1), help="Unreadable at most.  [default: 0.01]"
)
@click.option("--layout", metavar="NAME", help="Layout of SRC, such as chexpert.  [default: recognised]")
@click.option(
    "--uncertain",
    metavar="WORD",
    multiple=True,
    help="Labels that say `uncertain`: ignore, ones or zeros; Edema=ones for one finding. May be repeated."
    "  [default: ignore]",
)
@click.option(
    "--readers",
    type=click.Choice(["any", "majority", "all"]),
    help="How many of several readers must name a finding.  [default: majority]",
)
@click.option("--views", metavar="A,B,…", type=names, help="frontal, all, or views such as PA.  [default: frontal]")
@click.option(
    "--image-column", metavar="NAME", help="Column of images in a table or Hub dataset.  [default: recognised]"
)
@click.option("--label-column", metavar="NAME", help="Column of labels.  [default: recognised]")
@click.option(
    "--burned-in", type=click.Choice(["reject", "keep"]), help="DICOM that says the patient is named in the pixels."
)
@click.option(
    "--patient-key",
    metavar="FILE",
    type=FILE,
    help="Hide patients and file names with this key; made if it is not there.  [default: for DICOM, beside SET]",
)
@click.option("--dry-run", is_flag=True, help="Say what was recognised and what would be taken; write nothing.")
@json_option("images, patients, findings, splits, rejected, out, sha256 and more")
def ingest(as_json: bool, dry_run: bool, **flags: Any) -> None:
    """Turn radiographs as they come into a radiograph set.

    SRC is a public set as downloaded (NIH ChestX-ray14, CheXpert, MIMIC-CXR-JPG, VinDr-CXR, PadChest, RSNA, SIIM,
    Open-i, ChestMNIST), a folder of DICOM files, a folder with labels.csv (columns image, labels; optionally
    patient_id, view, split) or another table, a folder for each finding, a zip or tar of these, or a dataset of a Hub,
    hf:OWNER/NAME@REVISION. Patients never appear in two splits.
    """
    from xrarchive import pipeline

    flags["uncertain"] = flags["uncertain"] or None
    chosen = resolve(load_project(Path()).ingest, **flags)
    source = require(chosen.source, "SRC", "ingest.source")
    if dry_run:
        found = pipeline.survey(source, findings=chosen.findings, choices=chosen.choices)
        emit("ingest-dry-run", found, _show_survey, as_json=as_json)
        return
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
            choices=chosen.choices,
            burned_in=chosen.burned_in,
            patient_key=chosen.patient_key,
            on_status=on_status,
        )
    emit("ingest", report, _show, as_json=as_json)


def _show(result: Result) -> None:
    table(["finding", "radiographs"], result["findings"].items())
    say("")
    names = ("images", "patients", "splits", "left_out", "size_px", "terms", "enlarged", "ignored_columns", "out")
    fields({name: result[name] for name in names if result.get(name)})
    if lettered := result.get("lettered"):
        say(f"lettered  {len(lettered):,}, the first {lettered[0]}: look whether they name anybody")
    _show_unmapped(result)
    rejected = result["rejected"]
    say(*(f"rejected  {item['image']}: {item['reason']}" for item in rejected[:_LISTED]))
    if len(rejected) > _LISTED:
        say(f"rejected  {len(rejected) - _LISTED} more; all of them with --json")


def _show_survey(result: Result) -> None:
    fields({"layout": result["layout"], "recognised by": result["why"]})
    say("")
    splits = list(result["splits"])
    rows = [
        (name, *labels.values(), *(result["by_split"][split][name] for split in splits))
        for name, labels in result["findings"].items()
    ]
    table(["finding", "present", "absent", "uncertain", "unknown", *splits], rows)
    say("")
    shown = ("listed", "images", "patients", "splits", "views", "left_out", "missing", "policies", "terms")
    views = {view or "unknown": count for view, count in result["views"].items()}
    fields({name: {**result, "views": views}[name] for name in shown if result[name]})
    say(*(f"missing   {name}" for name in result["first_missing"]))
    _show_unmapped(result)
    say(*(f"note      {note}" for note in result["notes"]), "", "Nothing was written.")


def _show_unmapped(result: Result) -> None:
    """Labels of the source that are not kept, the commonest by name."""
    unmapped = list(result.get("unmapped", {}).items())
    if unmapped:
        named = ", ".join(f"{name} {count:,}" for name, count in unmapped[:_LISTED])
        more = f" and {len(unmapped) - _LISTED} more: --json" if len(unmapped) > _LISTED else ""
        say(f"not kept  {named}{more}; --findings keeps what it names")
