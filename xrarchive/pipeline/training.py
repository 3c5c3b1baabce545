"""Radiograph sets in, run folders with weights out: what is trained, what it would cost, how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xrarchive.errors import InputDataError
from xrarchive.files import is_locked, read_json
from xrarchive.records import OnStatus, ignore_status

if TYPE_CHECKING:
    from xrarchive.classifier.settings import ClassifierSettings, Role
    from xrarchive.classifier.training import ClassifierReport
    from xrarchive.gan.cost import CostEstimate
    from xrarchive.gan.settings import GeneratorSettings
    from xrarchive.gan.training import TrainingReport


def estimate_cost(set_dir: Path | None, *, settings: GeneratorSettings, devices: int = 1) -> CostEstimate:
    """What a generator training would cost: images, FLOPs, memory, disk, and time at a rate measured here.

    Args:
        set_dir: Radiograph set, for the disk it takes; None = none yet.
        settings: Of the training.
        devices: How many devices would train together.

    Raises:
        InputDataError: If the batch cannot be shared out to the devices.
    """
    import torch

    from xrarchive.gan.cost import estimate_cost, measure_rates
    from xrarchive.gan.devices import computes_bfloat16
    from xrarchive.radiographs import open_set

    halved = settings.precision == "auto" and computes_bfloat16(torch.device("cpu"))
    dtype = torch.bfloat16 if halved or settings.precision == "bfloat16" else torch.float32
    radiographs = len(open_set(set_dir)) if set_dir else 0
    try:
        estimate_cost(settings, radiographs=radiographs, devices=devices, dtype=dtype)  # refuses before measuring
    except ValueError as err:
        raise InputDataError(f"{err}.", fix="Change batch, group or the number of devices.") from err
    rates = measure_rates(settings, dtype)
    return estimate_cost(settings, radiographs=radiographs, devices=devices, rates=rates, dtype=dtype)


def train_generator(
    set_dir: Path,
    out: Path,
    *,
    settings: GeneratorSettings,
    init_from: Path | None = None,
    fork: Path | None = None,
    metric_nimg: int | None = None,
    tensorboard: bool = False,
    on_nan: Literal["stop", "rollback"] = "stop",
    timeout_s: float = 600.0,
    on_status: OnStatus = ignore_status,
) -> TrainingReport:
    """Train, or continue, a PGGAN; see `xrarchive.gan.training.train_generator`.

    Args:
        set_dir: Radiograph set.
        out: Run folder.
        settings: What decides the weights.
        init_from: Snapshot whose weights a new run starts from.
        fork: Run whose newest checkpoint a new run starts from.
        metric_nimg: Radiographs between two KIDs, 0 = never; None = the default.
        tensorboard: Whether to write TensorBoard's files.
        on_nan: What to do when a loss is no number.
        timeout_s: How long to wait for another process of a torchrun.
        on_status: Told after every step.
    """
    from xrarchive.gan.runs import Start
    from xrarchive.gan.training import METRIC_NIMG, Watch, train_generator
    from xrarchive.radiographs import open_set

    return train_generator(
        open_set(set_dir),
        out,
        settings=settings,
        start=Start(init_from, fork),
        watch=Watch(metric_nimg=METRIC_NIMG if metric_nimg is None else metric_nimg, tensorboard=tensorboard),
        on_nan=on_nan,
        timeout_s=timeout_s,
        on_status=on_status,
    )


def train_classifier(
    set_dir: Path,
    out: Path,
    *,
    role: Role,
    settings: ClassifierSettings,
    guide: Path | None = None,
    on_status: OnStatus = ignore_status,
) -> ClassifierReport:
    """Train a guide, a judge or a referee; see `xrarchive.classifier.training.train_classifier`.

    Args:
        set_dir: Radiograph set.
        out: Run folder.
        role: What it is for.
        settings: What decides the weights.
        guide: Run folder of the guide that a judge or referee is compared with; None = not compared.
        on_status: Told after every network.
    """
    from xrarchive.classifier import training
    from xrarchive.radiographs import open_set

    return training.train_classifier(
        open_set(set_dir), out, role=role, settings=settings, guide=guide, on_status=on_status
    )


def status(run_dir: Path, *, plot: Path | None = None) -> dict[str, Any]:
    """How far a generator's training is, from its files, without disturbing it; `plot` also gets its curves as a PNG.

    Returns:
        `state` (`running`, `stopped` or `finished`), `nimg` of `total` images, `px` and `alpha` of the stage,
        `images_per_s` and, if it runs, `left_s` at that speed, `last` (the whole last tick), its `warnings`,
        `best` (nimg and kid of the lowest KID), `critic` (nimg, auroc, low and high of the newest measure of how well
        the discriminator tells its films from others), the newest `checkpoint`, `finished`. None = not known.

    Raises:
        InputDataError: If there is no training at `run_dir`, or its curves cannot be drawn.
    """
    from xrarchive.gan.curves import plot_curves
    from xrarchive.gan.stats import best_measurement, measurements, read_stats, ticks

    run = read_json(
        run_dir / "run.json", what="generator run", fix=f"Start one: xrarchive train generator SET --out {run_dir}"
    )
    records, running = read_stats(run_dir), is_locked(run_dir)
    last = next(reversed(ticks(records)), {})
    best = best_measurement(records)
    critic = next((record for record in reversed(measurements(records)) if "critic" in record), None)
    checkpoint = max((path.name for path in (run_dir / "checkpoints").glob("nimg-*")), default=None)
    nimg = max(last.get("nimg", 0), int(checkpoint.removeprefix("nimg-")) if checkpoint else 0)
    total = run["settings"]["nimg"]
    # A run that was prolonged still has the snapshot of its first end.
    finished = not running and nimg >= total and (run_dir / "generator.safetensors").exists()
    if plot is not None:
        plot_curves(run_dir, plot)
    return {
        "run": str(run_dir),
        "state": "running" if running else "finished" if finished else "stopped",
        "nimg": nimg,
        "total": total,
        "finished": finished,
        **{name: last.get(name) for name in ("px", "alpha", "images_per_s")},
        "left_s": last.get("left_s") if running else None,
        "last": last,
        "warnings": last.get("warnings", []),
        "best": best and {"nimg": best["nimg"], "kid": best["kid"]},
        "critic": critic
        and {
            "nimg": critic["nimg"],
            "auroc": critic["critic"],
            "low": critic["critic_low"],
            "high": critic["critic_high"],
        },
        "checkpoint": checkpoint,
    }
