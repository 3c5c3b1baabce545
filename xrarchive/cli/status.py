"""`xrarchive status`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FOLDER, example, json_option
from xrarchive.cli.output import emit, fields
from xrarchive.settings import load_project


@click.command(epilog=example("xrarchive status runs/generator"))
@click.argument("run", metavar="[RUN]", type=FOLDER, required=False)
@json_option("what the run's files say: how far it is, its last losses, its last checkpoint")
def status(as_json: bool, run: Path | None) -> None:
    """Say how far a training is, from its files: works while it runs, and after it was killed.

    RUN is the generator's run folder if left out.
    """
    from xrarchive import pipeline

    emit("status", pipeline.status(run or load_project(Path()).train.generator_out), fields, as_json=as_json)
