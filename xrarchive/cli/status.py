"""`xrarchive status`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option
from xrarchive.cli.output import Result, cell, emit, fields, say
from xrarchive.cli.progress import duration
from xrarchive.settings import load_project


@click.command(epilog=example("xrarchive status runs/generator", "xrarchive status runs/generator --plot curves.png"))
@click.argument("run", metavar="[RUN]", type=FOLDER, required=False)
@click.option("--plot", metavar="FILE", type=FILE, help='Also draw its curves as a PNG (needs "xrarchive[plots]").')
@json_option("state, nimg of total, px, alpha, images_per_s, left_s, last tick, warnings, best KID, checkpoint")
def status(as_json: bool, run: Path | None, plot: Path | None) -> None:
    """Say how far a training is, from its files: works while it runs, and after it was killed.

    RUN is the generator's run folder if left out.
    """
    from xrarchive import pipeline

    folder = run or load_project(Path()).train.generator_out
    emit("status", pipeline.status(folder, plot=plot), _show, as_json=as_json)


def _show(result: Result) -> None:
    last, best, critic, left_s = result["last"], result["best"], result["critic"], result["left_s"]
    share = f" ({100 * result['nimg'] / result['total']:.1f} %)" if result["total"] else ""
    left = "" if left_s is None else f", {duration(left_s)} left"
    fields(
        {
            "run": result["run"],
            "state": result["state"],
            "images": f"{cell(result['nimg'])} of {cell(result['total'])}{share}",
            "stage": f"{result['px']} px, alpha {cell(result['alpha'])}" if last else None,
            "speed": f"{cell(result['images_per_s'])} images/s{left}",
            "losses": f"discriminator {cell(last['loss_d'])}, generator {cell(last['loss_g'])}" if last else None,
            "best KID": f"{cell(best['kid'])} at {cell(best['nimg'])} images" if best else None,
            "critic": f"AUROC {cell(critic['auroc'])} of films it was trained on against others" if critic else None,
            "checkpoint": result["checkpoint"],
        }
    )
    say(*(f"warning: {text}" for text in result["warnings"]))
