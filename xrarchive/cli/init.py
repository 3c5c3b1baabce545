"""`xrarchive init`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import example, json_option
from xrarchive.cli.output import emit, say
from xrarchive.settings import write_template


@click.command(epilog=example("xrarchive init"))
@json_option("path")
def init(as_json: bool) -> None:
    """Write xrarchive.toml here, every setting in it commented out. An existing file is left alone."""
    path = write_template(Path())
    emit("init", {"path": path}, lambda result: say(f"Wrote {result['path']}."), as_json=as_json)
