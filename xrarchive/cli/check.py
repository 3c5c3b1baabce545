"""`xrarchive check`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FOLDER, example, json_option
from xrarchive.cli.output import Result, emit, say
from xrarchive.cli.progress import progress
from xrarchive.errors import EXIT_OK, DamageError
from xrarchive.settings import load_project


@click.command(epilog=example("xrarchive check archive --read-data"))
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--read-data", is_flag=True, help="Hash and decode everything, not only the structure.")
@json_option("ok, problems (id, path, message), files, rows, manifest_sha256, read_data")
def check(as_json: bool, archive: Path | None, read_data: bool) -> int:
    """Compare an archive with its manifest. Exit code 6 if anything differs."""
    from xrarchive import pipeline

    folder = archive or load_project(Path()).build.out
    with progress("check") as on_status:
        report = pipeline.check(folder, read_data=read_data, on_status=on_status)
    emit("check", report, _show, as_json=as_json, ok=not report.problems)
    return DamageError.code if report.problems else EXIT_OK


def _show(result: Result) -> None:
    for problem in result["problems"]:
        say(f"{problem['path']}: {problem['message']}")
    count = len(result["problems"])
    say("No problem found." if not count else f"{count} problem{'s' if count > 1 else ''} found.")
