"""`xrarchive log`, `extend`, `withdraw`, `split`, `merge`, `gc`: the life of an archive after it was built."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import click

from xrarchive.cli.options import (
    FILE,
    FOLDER,
    example,
    ids,
    json_option,
    require_one_process,
    units_option,
    weights_options,
)
from xrarchive.cli.output import Result, emit, say, table
from xrarchive.cli.progress import progress
from xrarchive.errors import EXIT_OK, EXIT_SHORTFALL
from xrarchive.settings import load_project

_ARCHIVE = click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)


def _folder(given: Path | None) -> Path:
    return given or load_project(Path()).build.out


@click.command(epilog=example("xrarchive log OWNER/NAME@v1.0.0", "xrarchive log archive"))
@click.argument("archive", metavar="[DIR]", required=False)
@json_option("archive, version, manifest_sha256, history, withdrawn")
def log(as_json: bool, archive: str | None) -> None:
    """Say what happened to an archive: versions, what changed, why.

    DIR is a folder, or OWNER/NAME@REVISION on the Hub.
    """
    from xrarchive import pipeline

    emit("log", pipeline.log(archive or load_project(Path()).build.out), _show_log, as_json=as_json)


def _show_log(result: Result) -> None:
    columns = ("version", "change", "added", "removed", "date", "reason")
    table(list(columns), [[item[name] for name in columns] for item in result["history"]])


@click.command(epilog=example("xrarchive extend archive --per-class 100"))
@_ARCHIVE
@click.option("--per-class", metavar="N", type=click.IntRange(min=1), help="Images there are to be of each, in all.")
@click.option("--requests", metavar="FILE", type=FILE, help="CSV of finding sets and totals, instead.")
@weights_options("generator", "guide", "judge")
@click.option("--workers", metavar="N", type=click.IntRange(min=1), help="Processes.  [default: one per processor]")
@units_option
@json_option("out, manifest_sha256, rows, counts, tallies, shortfall, unfinished")
def extend(
    as_json: bool,
    archive: Path | None,
    per_class: int | None,
    requests: Path | None,
    generator: Path | None,
    guide: Path | None,
    judge: Path | None,
    workers: int | None,
    units: tuple[int, int] | None,
) -> int:
    """Add images, in new shards: what is there stays as it is, byte for byte.

    Made with the weights, seed and settings of the build. Stopped and run again, it goes on.
    """
    from xrarchive import pipeline

    if (per_class is None) == (requests is None):
        raise click.UsageError("Give --per-class or --requests.")
    require_one_process(units, workers)
    with progress("extend") as on_status:
        report = pipeline.extend(
            _folder(archive),
            per_class=per_class,
            requests=requests,
            generator=generator,
            guide=guide,
            judge=judge,
            workers=workers,
            units=units,
            on_status=on_status,
        )
    emit("extend", report, _show_extended, as_json=as_json, shortfall=report.shortfall)
    return EXIT_SHORTFALL if report.shortfall else EXIT_OK


def _show_extended(result: Result) -> None:
    if result["unfinished"]:
        say(f"This share is done; others still make units of {result['out']}. Whoever ends last joins them.")
        return
    added = sum(tally["accepted"] for tally in result["tallies"])
    say(f"{added:,} images added, {result['rows']:,} in {result['out']}" if added else "There was enough already.")
    if result["shortfall"]:
        say("Some findings could not be reached as often as asked; the manifest records it.")
    say(f"Next: xrarchive validate {result['out']}")


@click.command(
    epilog=example(
        'xrarchive withdraw archive --ids s0-Effusion-000003 --reason "burned-in text"',
        'xrarchive withdraw archive --where "label == \'Edema\' and judge_Edema < .1" --reason "judge disagrees"',
    )
)
@_ARCHIVE
@click.option(
    "--ids",
    "named",
    metavar="A,B,…|@FILE",
    type=ids,
    multiple=True,
    help="Images to withdraw; a file holds one id a line. May be given again.",
)
@click.option("--where", metavar="EXPR", help="Withdraw all that fit, as in pandas.DataFrame.query.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; kept in the manifest.")
@click.option("--date", metavar="YYYY-MM-DD", type=click.DateTime(["%Y-%m-%d"]), help="[default: today, UTC]")
@json_option("version, manifest_sha256, rows, removed (ids), rewritten (shards)")
def withdraw(
    as_json: bool,
    archive: Path | None,
    named: tuple[tuple[str, ...], ...],
    where: str | None,
    reason: str,
    date: datetime.datetime | None,
) -> None:
    """Take images out for good: pixels, labels and latents go, a note with id and reason stays.

    Asks nothing. Whoever holds the weights and a seed can still make such an image again.
    """
    from xrarchive import pipeline

    if not (named or where):
        raise click.UsageError("Give --ids or --where.")
    if not reason.strip():
        raise click.UsageError("--reason is empty.")
    if any("\ud800" <= character <= "\udfff" for character in reason):
        raise click.UsageError("--reason holds bytes that are no UTF-8.")
    day = (date or datetime.datetime.now(datetime.UTC)).date().isoformat()
    chosen = [image_id for given in named for image_id in given]
    report = pipeline.withdraw(_folder(archive), ids=chosen, where=where, reason=reason, date=day)
    emit("withdraw", report, _show_withdrawn, as_json=as_json)


def _show_withdrawn(result: Result) -> None:
    count = len(result["removed"])
    say(f"{count:,} images withdrawn, {result['rows']:,} left, version {result['version']}.")
    say("Next: xrarchive validate, card, publish" if count else "They were withdrawn before.")


@click.command(epilog=example("xrarchive split archive --train .8 --validation .1 --test .1"))
@_ARCHIVE
@click.option(
    "--train", metavar="SHARE", type=click.FloatRange(0, 1), default=0.8, show_default=True, help="For training."
)
@click.option(
    "--validation", metavar="SHARE", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="For choosing."
)
@click.option(
    "--test", metavar="SHARE", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="For the last word."
)
@json_option("version, manifest_sha256, rows, rewritten (shards)")
def split(as_json: bool, archive: Path | None, train: float, validation: float, test: float) -> None:
    """Deal the images to train, validation and test, by a hash of their ids; extensions follow the same rule."""
    from xrarchive import pipeline

    shares = {"train": train, "validation": validation, "test": test}
    try:
        report = pipeline.split(_folder(archive), shares)
    except ValueError as err:
        raise click.UsageError(f"{err}.") from err
    emit(
        "split", report, lambda result: say(f"{result['rows']:,} images, version {result['version']}."), as_json=as_json
    )


@click.command(epilog=example("xrarchive merge archive-a archive-b --out both"))
@click.argument("first", metavar="A", type=FOLDER)
@click.argument("second", metavar="B", type=FOLDER)
@click.option("--out", metavar="DIR", type=FOLDER, required=True, help="The new archive.")
@json_option("out, version, manifest_sha256, rows, counts")
def merge(as_json: bool, first: Path, second: Path, out: Path) -> None:
    """Join two archives of the same findings, guide and judge; everything that stands against it is named first."""
    from xrarchive import pipeline

    made = pipeline.merge(first, second, out)
    result = {
        "out": str(out),
        "version": made.version,
        "manifest_sha256": made.sha256,
        "rows": made.rows,
        "counts": dict(made.counts),
    }
    emit("merge", result, lambda found: say(f"{found['rows']:,} images in {found['out']}"), as_json=as_json)


@click.command(epilog=example("xrarchive gc archive --yes"))
@_ARCHIVE
@click.option("--unfinished", is_flag=True, help="Also units of a build or extension that was not finished.")
@click.option("--yes", is_flag=True, help="Remove them; else they are only shown, or a terminal is asked.")
@json_option("leftovers (path, bytes, what), removed")
def gc(as_json: bool, archive: Path | None, unfinished: bool, yes: bool) -> None:
    """Show what crashes left in an archive, and remove it."""
    from xrarchive import pipeline

    folder = _folder(archive)
    found = pipeline.find_leftovers(folder, unfinished=unfinished)
    if found and not yes and not as_json and sys.stdin.isatty():
        _show_leftovers({"leftovers": [vars(item) for item in found], "removed": False})
        yes = click.confirm("Remove them?", err=True)
    if found and yes:
        found = pipeline.remove_leftovers(folder, unfinished=unfinished)
    result = {"leftovers": [vars(item) for item in found], "removed": bool(found and yes)}
    emit("gc", result, _show_leftovers, as_json=as_json)


def _show_leftovers(result: Result) -> None:
    for item in result["leftovers"]:
        say(f"{item['path']}: {item['what']}, {item['bytes']:,} bytes")
    if not result["leftovers"]:
        say("Nothing is left over.")
    elif result["removed"]:
        say("Removed.")
