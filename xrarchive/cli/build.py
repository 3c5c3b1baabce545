"""`xrarchive build`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import click

from xrarchive.cli.options import (
    FILE,
    FOLDER,
    example,
    json_option,
    names,
    require_one_process,
    set_option,
    units_option,
    weights_options,
)
from xrarchive.cli.output import Result, emit, say, table
from xrarchive.cli.progress import progress
from xrarchive.errors import EXIT_OK, EXIT_SHORTFALL
from xrarchive.settings import load_project, resolve_build, search_settings

_STRICTNESS_HELP = "Share of real radiographs that reach a finding's bar.  [default: 0.05]"


@click.command(
    epilog=example(
        "xrarchive build --per-class 20 --out archive",
        "xrarchive build --findings Cardiomegaly,Effusion --per-class 100 --seed 1",
    )
)
@click.option("--per-class", metavar="N", type=click.IntRange(min=1), help="Images for every finding.  [default: 20]")
@click.option(
    "--findings",
    metavar="A,B,…",
    type=names,
    help="Findings to make.  [default: all the weights offer]",
)
@click.option("--requests", metavar="FILE", type=FILE, help="What to make, instead of --per-class and --findings.")
@click.option(
    "--like-real", metavar="N", type=click.IntRange(min=1), help="N images with label sets as common as in reality."
)
@click.option(
    "--boost", metavar="B", type=float, help="With --like-real: rare sets more often; 1 = all alike.  [default: 0]"
)
@click.option(
    "--exclusive", is_flag=True, default=None, help="Findings not asked for must be absent; else nobody asks."
)
@click.option("--strictness", metavar="Q", type=float, help=_STRICTNESS_HELP)
@click.option("--match", metavar="A,B,…", type=names, help="Of view, sex, age, source: as in random draws.")
@click.option("--judge-filter", is_flag=True, default=None, help="Leave out what the judge does not call; recorded.")
@set_option
@weights_options("generator", "guide", "judge")
@click.option("--out", metavar="DIR", type=FOLDER, help="Folder of the archive.  [default: archive]")
@click.option("--seed", metavar="N", type=click.IntRange(min=0), help="Same seed, same archive.  [default: 0]")
@click.option("--workers", metavar="N", type=click.IntRange(min=1), help="Processes.  [default: one per processor]")
@units_option
@json_option("out, manifest_sha256, rows, counts, tallies, offered, shortfall, unfinished")
def build(
    as_json: bool,
    workers: int | None,
    units: tuple[int, int] | None,
    assignments: tuple[tuple[str, object], ...],
    exclusive: bool | None,
    **flags: Any,
) -> int:
    """Generate a labelled archive, or go on with one that was stopped.

    A finding that cannot be reached ends as a recorded shortfall (exit code 10), never as a lowered bar.
    """
    from xrarchive import pipeline

    require_one_process(units, workers)
    project = load_project(Path())
    limits = {name: flags.pop(name) for name in ("strictness", "match", "judge_filter")}
    given = dict(assignments) | {name: value for name, value in limits.items() if value is not None}
    chosen = resolve_build(project.build, exclusive=exclusive, **flags)
    search = search_settings(project, given, like_real=chosen.like_real is not None)
    first = os.environ.get("RANK", "0") == "0"  # of the processes of a torchrun, the one that speaks
    with progress("build") if first else contextlib.nullcontext(lambda _: None) as on_status:
        report = pipeline.build(
            chosen.out,
            per_class=chosen.images_per_class,
            findings=chosen.findings,
            requests=chosen.requests,
            like_real=chosen.like_real,
            boost=chosen.boost,
            exclusive=chosen.exclusive,
            generator=chosen.generator,
            guide=chosen.guide,
            judge=chosen.judge,
            seed=chosen.seed,
            search=search,
            workers=workers,
            units=units,
            on_status=on_status,
        )
    if not first:
        return EXIT_OK
    emit("build", report, _show, as_json=as_json, shortfall=report.shortfall)
    return EXIT_SHORTFALL if report.shortfall else EXIT_OK


def _show(result: Result) -> None:
    if result["unfinished"]:
        say(f"This share is done; others still make units of {result['out']}. Whoever ends last joins them.")
        return
    columns = ["findings", "asked", "accepted", "starts", "median steps", "median travel", "missed by"]
    names = ("asked", "accepted", "starts", "median_steps", "median_travel_deg", "missed_by")
    table(columns, [(" + ".join(t["findings"]), *(t[name] for name in names)) for t in result["tallies"]])
    say("", f"{result['rows']:,} images in {result['out']}")
    if result["shortfall"]:
        say("Some findings could not be reached as often as asked; the manifest records it.")
    say(f"Next: xrarchive validate {result['out']}")
