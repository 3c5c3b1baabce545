"""`xrarchive validate`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option, names, validation_parts, weights_options
from xrarchive.cli.output import Result, cell, emit, say, table
from xrarchive.cli.progress import progress
from xrarchive.errors import EXIT_OK, GateError
from xrarchive.settings import DEFAULT_SPACES, FEATURE_SPACES, VALIDATION_PARTS, gate_settings, load_project


@click.command(
    epilog=example(
        "xrarchive validate archive",
        "xrarchive validate archive --radiographs radiographs --referee runs/referee",
        "xrarchive validate --images theirs --labels theirs/labels.csv --radiographs radiographs",
    )
)
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--images", metavar="DIR", type=FOLDER, help="Audit this folder of labelled images, not an archive.")
@click.option("--labels", metavar="CSV", type=FILE, help="What its images were asked to show.")
@click.option("--findings", metavar="NAME,...", type=names, help="What its labels may name.  [default: as the judge]")
@click.option("--out", metavar="FILE", type=FILE, help="Report of the audit.  [default: ./NAME.validation.json]")
@click.option(
    "--radiographs",
    metavar="SET",
    type=FOLDER,
    multiple=True,
    help="Compare with.  May be repeated: the first is the reference, all are searched for copies.  "
    "[default: bundled statistics]",
)
@weights_options("generator", "guide", "judge")
@click.option(
    "--referee", metavar="W", type=FILE, help="Weights or run folder of a classifier that measures the labels too."
)
@click.option(
    "--space",
    "spaces",
    metavar="NAME[=WEIGHTS]",
    multiple=True,
    help=f"Feature space to compare in: {', '.join(FEATURE_SPACES)}.  May be repeated.  "
    f"[default: {', '.join(DEFAULT_SPACES)}]",
)
@click.option("--no-cache", is_flag=True, help="Compute features again that were computed before, and keep none.")
@click.option("--only", metavar="PART,...", type=validation_parts, help=f"Of {', '.join(VALIDATION_PARTS)}.")
@click.option("--quick", is_flag=True, help="Fewer resamples and trials: for a first look, not for a release.")
@click.option(
    "--workers", metavar="N", type=click.IntRange(min=1), help="Processes to measure with.  [default: all cores]"
)
@click.option(
    "--strip",
    metavar="PNG",
    type=FILE,
    help="Show the images nearest to training films beside those. Real films: for your eyes, outside the archive.",
)
@click.option("--waive", metavar="GATE", multiple=True, help="Accept a closed gate, for all to read.  May be repeated.")
@click.option("--reason", metavar="TEXT", help="Why the waived gates are accepted.")
@click.option(
    "--as-measured", is_flag=True, help="With --waive: measure nothing again, keep the figures that are there."
)
@json_option("the content of validation.json")
def validate(
    as_json: bool,
    archive: Path | None,
    images: Path | None,
    labels: Path | None,
    findings: tuple[str, ...] | None,
    out: Path | None,
    radiographs: tuple[Path, ...],
    spaces: tuple[str, ...],
    no_cache: bool,
    only: tuple[str, ...] | None,
    quick: bool,
    workers: int | None,
    strip: Path | None,
    waive: tuple[str, ...],
    reason: str | None,
    as_measured: bool,
    **weights: Path | None,
) -> int:
    """Measure an archive: integrity, fidelity, diversity, labels, utility, privacy.

    Weights are those it was built with. Where the judge was asked to filter, only a referee can measure labels. Ends
    with exit code 11 if a gate is closed that must be open before publishing.

    With --images and --labels, measure a folder of synthetic images that any tool made. The CSV names an image in each
    line (column image or file_name) and its findings: joined by | in a column labels or findings, or as 1 and 0 in
    columns of their own. Nothing is written into the folder.

    On many processors: torchrun --nproc-per-node N -m xrarchive validate ...
    """
    from xrarchive import pipeline

    of_folders, of_archives = (
        {"--findings": findings, "--out": out},
        {"--generator": weights["generator"], "--strip": strip},
    )
    _require_one_subject(archive, images, labels, of_folders, of_archives)
    project = load_project(Path())
    settings, waivers = project.validate, dict.fromkeys(waive, reason or "")
    if as_measured and (images or not waive):
        raise click.UsageError("--as-measured goes with --waive, of an archive.")
    given: dict[str, Any] = {
        "radiographs": radiographs or settings.radiographs,
        "guide": weights["guide"] or project.build.guide,
        "judge": weights["judge"] or project.build.judge,
        "referee": weights["referee"] or settings.referee,
        "spaces": spaces or settings.spaces,
        "cache": None if no_cache else pipeline.user_cache(),
        "only": only or (),
        "quick": quick,
        "gates": gate_settings(project),
        "waivers": waivers,
        "workers": workers or os.cpu_count() or 1,
    }
    folder = archive or project.build.out
    first = os.environ.get("RANK", "0") == "0"  # of the processes of a torchrun, the one that speaks
    with progress("validate") if first else contextlib.nullcontext(lambda _: None) as on_status:
        if as_measured:
            report = pipeline.waive(folder, waivers)
        elif images is not None and labels is not None:
            report = pipeline.audit(images, labels, findings=findings, out=out, on_status=on_status, **given)
        else:
            generator = weights["generator"] or project.build.generator
            report = pipeline.validate(folder, generator=generator, strip=strip, on_status=on_status, **given)

    if not first:
        return EXIT_OK

    def render(result: Result) -> None:
        _show(result)
        if images is not None:
            say("", f"Report: {out or pipeline.report_path(images)}")
        elif report["gates"]["open"]:
            say("", f"Next: xrarchive card {folder}")

    emit("validate", report, render, as_json=as_json)
    return EXIT_OK if report["gates"]["open"] else GateError.code


def _require_one_subject(
    archive: Path | None,
    images: Path | None,
    labels: Path | None,
    of_folders: Mapping[str, object],
    of_archives: Mapping[str, object],
) -> None:
    """An archive, or a folder with its labels; options of the one do not go with the other."""
    if (images is None) != (labels is None):
        raise click.UsageError("--images DIR and --labels CSV go together.")
    if images is not None and archive is not None:
        raise click.UsageError("Name an archive or --images DIR, not both.")
    foreign, home = (of_folders, "--images DIR") if images is None else (of_archives, "an archive")
    if strays := [name for name, value in foreign.items() if value is not None]:
        raise click.UsageError(f"{strays[0]} goes with {home}.")


def _show(result: Result) -> None:
    from xrarchive.validation.summary import summary_rows

    if resized := result.get("subject", {}).get("resized"):
        say(resized, "")
    rows = [row for row in summary_rows(result) if not row.part.startswith("labels") or not row.subject]
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
    _show_labels(result)
    _show_gates(result["gates"]["list"])
    problems = [item for item in result.get("problems", []) if item["severity"] != "note"]
    say(*(f"{item['severity']}: {item['message']}" for item in problems))


def _show_gates(gates: Sequence[Result]) -> None:
    say("", "Gates:")
    passed = [gate for gate in gates if gate["status"] == "passed"]
    table(
        ["gate", "", "", ""],
        [
            (gate["name"], "for weights" if gate["weights"] else "", gate["status"], gate["reason"] or gate["message"])
            for gate in gates
            if gate["status"] != "passed"
        ],
    )
    say(f"{len(passed)} of {len(gates)} passed: {', '.join(gate['name'] for gate in passed) or 'none'}.")
    say(*dict.fromkeys(f"To open {gate['name']}: {gate['help']}" for gate in gates if gate["help"]))


def _show_labels(result: Result) -> None:
    """A line a finding; the rest of what is known of it is in the report."""
    from xrarchive.validation.summary import label_rows

    def told(found: Mapping[str, Any]) -> str | None:
        if found["value"] is None:
            return None
        return cell(found["value"]) + (
            "" if found.get("low") is None else f" ({cell(found['low'])} to {cell(found['high'])})"
        )

    rows = [
        (
            row.finding,
            row.by,
            row.auroc.get("n"),
            told(row.auroc),
            (row.auroc.get("ceiling") or {}).get("value"),
            told(row.transfer),
            told(row.purity),
            row.reason or row.transfer.get("reason", ""),
        )
        for row in label_rows(result)
    ]
    if rows:
        say("", "Labels, by classifiers that steered nothing; transfer: 1 = as when choosing among real films:")
        table(["finding", "by", "n", "AUROC", "on films", "transfer", "P(shown)", ""], rows)
