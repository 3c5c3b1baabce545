"""`xrarchive train generator` and `xrarchive train classifier`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option, set_option
from xrarchive.cli.output import Result, emit, fields, say, table
from xrarchive.cli.progress import progress
from xrarchive.settings import Project, generator_settings, layered, load_project, require

if TYPE_CHECKING:
    from xrarchive.classifier.settings import Role


_TIMEOUT_HELP = "Under torchrun: seconds to wait for another process before giving up."


@click.group()
def train() -> None:
    """Train a generator, a guide, a judge or a referee."""


@train.command(epilog=example("xrarchive train generator radiographs --out runs/generator --resolution 64"))
@click.argument("radiographs", metavar="[SET]", type=FOLDER, required=False)
@click.option("--out", metavar="RUN", type=FOLDER, help="Run folder.  [default: runs/generator]")
@click.option("--preset", metavar="NAME", help="balanced, segal2020 or tiny: what other settings start from.")
@click.option("--resolution", metavar="PX", type=int, help="A power of two from 16 to 1024.  [default: 64]")
@click.option("--nimg", metavar="N", type=int, help="Radiographs shown in all.  [default: by resolution]")
@click.option("--batch", metavar="N", type=int, help="Radiographs per step, on all devices.  [default: by resolution]")
@click.option("--loss", type=click.Choice(["logistic", "wgan-gp"]), help="[default: logistic]")
@click.option("--seed", metavar="N", type=int, help="Of weights, data order and latents.  [default: 0]")
@set_option
@click.option("--init-from", metavar="FILE", type=FILE, help="Start a new run from a snapshot's weights.")
@click.option("--fork", metavar="RUN", type=FOLDER, help="Start a new run from another run's newest checkpoint.")
@click.option("--metric-every", metavar="N", type=click.IntRange(0), help="Radiographs between two KIDs; 0 = never.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's files to RUN/tensorboard.")
@click.option(
    "--on-nan",
    type=click.Choice(["stop", "rollback"]),
    default="stop",
    show_default=True,
    help="If a loss is no number: end, or go back to the newest checkpoint, 3 times at most.",
)
@click.option("--timeout", "timeout_s", metavar="S", type=float, default=600.0, show_default=True, help=_TIMEOUT_HELP)
@click.option("--dry-run", is_flag=True, help="Print images, FLOPs, memory and time, and train nothing.")
@click.option(
    "--devices", metavar="N", type=click.IntRange(1), default=1, help="For --dry-run: how many to reckon with."
)
@json_option("out, snapshot, sha256, nimg, radiographs, images_per_s")
def generator(
    as_json: bool,
    radiographs: Path | None,
    out: Path | None,
    preset: str | None,
    assignments: tuple[tuple[str, object], ...],
    init_from: Path | None,
    fork: Path | None,
    metric_every: int | None,
    tensorboard: bool,
    on_nan: Literal["stop", "rollback"],
    timeout_s: float,
    dry_run: bool,
    devices: int,
    **flags: Any,
) -> None:
    """Train a progressive GAN on a radiograph set, or go on with a run that was stopped.

    On many devices: torchrun --nproc-per-node N -m xrarchive train generator ...
    """
    from xrarchive import pipeline

    project = load_project(Path())
    settings = generator_settings(project, preset, _given(assignments, flags))
    if dry_run:
        planned = radiographs or project.train.radiographs or project.ingest.out
        emit(
            "train-generator-cost",
            pipeline.estimate_cost(planned, settings=settings, devices=devices),
            _show_cost,
            as_json=as_json,
        )
        return
    first = os.environ.get("RANK", "0") == "0"  # of the processes of a torchrun, the one that speaks
    with progress("train generator") if first else contextlib.nullcontext(lambda _: None) as on_status:
        report = pipeline.train_generator(
            _set(project, radiographs),
            out or project.train.generator_out,
            settings=settings,
            init_from=init_from,
            fork=fork,
            metric_nimg=metric_every,
            tensorboard=tensorboard,
            on_nan=on_nan,
            timeout_s=timeout_s,
            on_status=on_status,
        )
    if first:
        emit("train-generator", report, _show, as_json=as_json)


@train.command(epilog=example("xrarchive train classifier radiographs --role guide --out runs/guide"))
@click.argument("radiographs", metavar="[SET]", type=FOLDER, required=False)
@click.option(
    "--role",
    type=click.Choice(["guide", "judge", "referee"]),
    required=True,
    help="The guide steers the latents; judge and referee only measure, and learn from other patients than the guide.",
)
@click.option("--out", metavar="RUN", type=FOLDER, help="Run folder.  [default: runs/<role>]")
@click.option(
    "--guide",
    metavar="RUN",
    type=FOLDER,
    help="For judge and referee: the run folder of the guide to compare with, film by film.",
)
@click.option("--epochs", metavar="N", type=int, help="Passes over the role's radiographs.")
@click.option("--batch", metavar="N", type=int, help="Radiographs per step.")
@click.option("--seed", metavar="N", type=int, help="Of weights, data order and folds.  [default: 0]")
@set_option
@json_option("out, weights, sha256, role, patients, radiographs, findings with their figures")
def classifier(
    as_json: bool,
    radiographs: Path | None,
    role: Role,
    out: Path | None,
    guide: Path | None,
    assignments: tuple[tuple[str, object], ...],
    **flags: Any,
) -> None:
    """Train a classifier of findings on a radiograph set, with thresholds and AUROC per finding."""
    from xrarchive import pipeline
    from xrarchive.classifier.settings import ClassifierSettings

    if guide is not None and role == "guide":
        raise click.UsageError("--guide is for judge and referee: leave it out, or choose another --role.")
    project = load_project(Path())
    settings = layered(ClassifierSettings, "classifier", project.classifier, _given(assignments, flags))
    outs = {"guide": project.train.guide_out, "judge": project.train.judge_out, "referee": project.train.referee_out}
    with progress(f"train {role}") as on_status:
        report = pipeline.train_classifier(
            _set(project, radiographs),
            out or outs[role],
            role=role,
            settings=settings,
            guide=guide,
            on_status=on_status,
        )
    emit("train-classifier", report, _show_classifier, as_json=as_json)


def _given(assignments: tuple[tuple[str, object], ...], flags: dict[str, Any]) -> dict[str, object]:
    return dict(assignments) | {name: value for name, value in flags.items() if value is not None}


def _set(project: Project, radiographs: Path | None) -> Any:
    return require(radiographs or project.train.radiographs or project.ingest.out, "SET", "train.radiographs")


def _show(result: Result) -> None:
    fields({name: value for name, value in result.items() if not isinstance(value, dict | list)})


def _show_cost(result: Result) -> None:
    columns = ("px", "batch", "images", "steps", "FLOPs", "memory", "hours", "by")
    rows = []
    for stage in result["stages"]:
        hours = None if stage["seconds"] is None else stage["seconds"] / 3600
        figures = float(stage["flops"]), f"{stage['memory_bytes'] / 1e9:.2f} GB", hours, stage["seconds_from"]
        rows.append((stage["px"], stage["batch"], stage["images"], stage["steps"], *figures))
    table(columns, rows)
    say("")
    fields(result["summary"])


def _show_classifier(result: Result) -> None:
    columns = ["finding", "positives", "AUROC", "low", "high", "on test"]
    table(columns, [(finding, *_figures(found)) for finding, found in result["findings"].items()])
    say("")
    _show(result)


def _figures(found: Result) -> tuple[object, ...]:
    cross, test = found.get("cross_fitted") or {}, found.get("test") or {}
    return found.get("positives"), cross.get("value"), cross.get("low"), cross.get("high"), test.get("value")
