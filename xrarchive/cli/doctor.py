"""`xrarchive doctor`."""

from __future__ import annotations

import click

from xrarchive.cli.options import example, json_option
from xrarchive.cli.output import Result, emit, fields, say, table
from xrarchive.errors import EXIT_BUG, EXIT_OK


@click.command(epilog=example("xrarchive doctor"))
@json_option("ok, checks, machine, versions")
def doctor(as_json: bool) -> int:
    """Check that this machine can do the work; something to paste into an issue. Exit code 1 if it cannot."""
    from xrarchive.doctor import doctor as examine

    report = examine()
    emit("doctor", report, _show, as_json=as_json)
    return EXIT_OK if report["ok"] else EXIT_BUG


def _show(result: Result) -> None:
    for part in ("machine", "versions"):
        fields(result[part])
        say("")
    table(["check", "ok", "detail"], [(item["name"], item["ok"], item["detail"]) for item in result["checks"]])
    say(*(f"Fix ({item['name']}): {item['fix']}" for item in result["checks"] if not item["ok"]))
