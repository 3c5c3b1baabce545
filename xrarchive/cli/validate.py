"""`xrarchive validate`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option, validation_parts, weights_options
from xrarchive.cli.output import Result, cell, emit, say, table
from xrarchive.cli.progress import progress
from xrarchive.errors import EXIT_OK, GateError
from xrarchive.settings import VALIDATION_PARTS, gate_settings, load_project


@click.command(
    epilog=example(
        "xrarchive validate archive",
        "xrarchive validate archive --radiographs radiographs --referee runs/referee",
    )
)
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
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
@click.option("--only", metavar="PART,...", type=validation_parts, help=f"Of {', '.join(VALIDATION_PARTS)}.")
@click.option("--quick", is_flag=True, help="Fewer resamples and trials: for a first look, not for a release.")
@click.option(
    "--workers", metavar="N", type=click.IntRange(min=1), help="Processes to measure with.  [default: all cores]"
)
@click.option("--waive", metavar="GATE", multiple=True, help="Accept a closed gate, for all to read.  May be repeated.")
@click.option("--reason", metavar="TEXT", help="Why the waived gates are accepted.")
@json_option("the content of validation.json")
def validate(
    as_json: bool,
    archive: Path | None,
    radiographs: tuple[Path, ...],
    only: tuple[str, ...] | None,
    quick: bool,
    workers: int | None,
    waive: tuple[str, ...],
    reason: str | None,
    **weights: Path | None,
) -> int:
    """Measure an archive: integrity, fidelity, labels, privacy.

    Weights are those it was built with. Where the judge was asked to filter, only a referee can measure labels. Ends
    with exit code 11 if a gate is closed that must be open before publishing.
    """
    from xrarchive import pipeline

    project = load_project(Path())
    folder = archive or project.build.out
    settings = project.validate
    with progress("validate") as on_status:
        report = pipeline.validate(
            folder,
            radiographs=radiographs or settings.radiographs,
            generator=weights["generator"] or project.build.generator,
            guide=weights["guide"] or project.build.guide,
            judge=weights["judge"] or project.build.judge,
            referee=weights["referee"] or settings.referee,
            only=only or (),
            quick=quick,
            gates=gate_settings(project),
            waivers=dict.fromkeys(waive, reason or ""),
            workers=workers or os.cpu_count() or 1,
            on_status=on_status,
        )

    def render(result: Result) -> None:
        _show(result)
        if report["gates"]["open"]:
            say("", f"Next: xrarchive card {folder}")

    emit("validate", report, render, as_json=as_json)
    return EXIT_OK if report["gates"]["open"] else GateError.code


def _show(result: Result) -> None:
    from xrarchive.validation.summary import moved_rows, summary_rows

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
    _show_purity(result)
    if moved := moved_rows(result):
        say("", "Share on the positive side by the guide's own head, of the draws → of the images made from them:")
        table(["label", *result["labels"]["nuisances"]], [(label, *cells) for label, cells in moved.items()])
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


def _show_purity(result: Result) -> None:
    from xrarchive.validation.summary import purity_rows

    rows = []
    for row in purity_rows(result):
        low, high = row.calls.get("low"), row.calls.get("high")
        interval = None if low is None else f"{cell(low)} to {cell(high)}"
        others = (found["value"] for found in (row.noisy, row.scores, row.soft))
        rows.append((row.finding, row.by, row.calls.get("n"), row.calls["value"], interval, *others, row.reason))
    if rows:
        say("", "How many of the images asked to show a finding show it:")
        columns = ["finding", "by", "n", "by calls", "interval", "10 % of labels wrong", "by scores", "soft label", ""]
        table(columns, rows)
