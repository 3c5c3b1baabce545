"""Train a PGGAN on a radiograph set: pixels in, checkpoints and snapshots out.

Progress is counted in images shown (nimg). The order of radiographs and every latent are functions of (seed, nimg),
so that a resumed run is the straight run. Under torchrun every process runs this; the first one writes the files.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import logging
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from xrarchive.errors import DamageError, InputDataError, storage_errors
from xrarchive.files import atomic_path, locked, write_json
from xrarchive.gan.checkpoints import load_newest, save_checkpoint
from xrarchive.gan.devices import Devices, open_devices, with_precision
from xrarchive.gan.draws import batch_of, draw_augmentation, fixed_latents
from xrarchive.gan.health import SATURATED_GAP, feature_variance
from xrarchive.gan.loading import augment, load_batch
from xrarchive.gan.memory import measure_memory
from xrarchive.gan.monitor import Monitor, Tick, peak_memory_bytes
from xrarchive.gan.ranges import grey, signed
from xrarchive.gan.realism import HeldOut, kid_to_radiographs, reference_features
from xrarchive.gan.runs import BEST_NAME, RUN_NAME, SNAPSHOT_NAME, Start, begin, claim_run, films_seen
from xrarchive.gan.sampling import generate
from xrarchive.gan.schedule import Stage, stage_at, stages
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import save_snapshot
from xrarchive.gan.state import TrainingState, new_state
from xrarchive.gan.step import Losses, NotFiniteError, train_step
from xrarchive.gan.stopping import stop_requests
from xrarchive.pixels import Pixels, write_grid
from xrarchive.radiographs import RadiographSet
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.trained_films import Names

TRAINING_SPLITS = ("train", "unlabelled")
MAX_ROLLBACKS = 3
TICK_NIMG = 4_000
METRIC_NIMG = 50_000
METRIC_IMAGES = 1_000
_GRID_COLUMNS = 8
_VARIANCE_FILMS = 256
# The fields of `Tick` that the fields of `Losses` go to, in their order.
_TICKED = ("loss_d", "loss_g", "score_real", "score_fake", "grad_norm_d", "grad_norm_g")

logger = logging.getLogger(__name__)
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Watch:
    """What is looked at while training; none of it changes the weights.

    Attributes:
        tick_nimg: Radiographs between two lines of figures, with a grid of the fixed latents.
        metric_nimg: Radiographs between two measurements of KID to held-out films, and of the discriminator's memory of
            its own, from the last stage on; 0 = never.
        tensorboard: Whether to write TensorBoard's files as well.
    """

    tick_nimg: int = TICK_NIMG
    metric_nimg: int = METRIC_NIMG
    tensorboard: bool = False


@dataclass(frozen=True)
class TrainingReport:
    """What a finished training leaves: the snapshot, its sha256 and the images shown."""

    out: Path
    snapshot: Path
    sha256: str
    nimg: int
    radiographs: int
    images_per_s: float


def train_generator(
    radiographs: RadiographSet,
    out: Path,
    *,
    settings: GeneratorSettings,
    start: Start = Start(),  # noqa: B008  (frozen)
    watch: Watch = Watch(),
    on_nan: Literal["stop", "rollback"] = "stop",
    timeout_s: float = 600.0,
    on_status: OnStatus = ignore_status,
) -> TrainingReport:
    """Train, or continue, the run in `out` until `settings.nimg` images were shown.

    SIGINT, SIGTERM and SIGUSR1 save a checkpoint first and take effect afterwards.

    Args:
        radiographs: The set; only its splits `train` and `unlabelled` are learned from.
        out: The run's folder, the same for all processes.
        settings: What decides the weights.
        start: Where a new run begins.
        watch: What is measured on the way.
        on_nan: What to do when a loss or gradient is no number: end, or go back to the newest checkpoint and on from
            there in another order, `MAX_ROLLBACKS` times at most.
        timeout_s: How long to wait for the other processes of a torchrun in one exchange.
        on_status: Told after every step.

    Raises:
        InputDataError: If the set is too small or lacks the resolution, the start does not fit, or the loss is no
            number.
        PlanChangedError: If `out` holds a run of other settings, radiographs or start.
        LockedError, StorageError: If `out` cannot be written.
        DamageError: If processes hold different weights.
        RemoteError: If another process of the torchrun died or did not answer in time.
    """
    rows = radiographs.rows(*TRAINING_SPLITS)
    with open_devices(timeout_s=timeout_s) as devices:
        _require_usable(radiographs, rows, settings, devices.world)
        keep_heap()
        with locked(out) if devices.first else contextlib.nullcontext(), storage_errors(out):
            claim = claim_run(out, radiographs, settings, start, devices) if devices.first else None
            settings, record = devices.tell(claim)
            films = None
            devices = with_precision(devices, settings.precision)
            state = new_state(settings, devices.device)
            resumed = load_newest(out, state, settings)
            if resumed:
                logger.info("resumed %s at %d images", out, state.nimg)
            else:
                begin(state, settings, start, record)
            _require_agreement(devices, state)
            if devices.first:
                films = films_seen(out, radiographs, rows, start)
                write_json(out / RUN_NAME, record)
                if not resumed and (start != Start() or on_nan == "rollback"):
                    save_checkpoint(out, state, settings)
            before = (record["start"] or {}).get("nimg", 0)
            run = _Run(radiographs, rows, out, settings, watch, devices, on_nan, on_status, before, films)
            started_s, started_nimg = time.monotonic(), state.nimg
            _train(run, state)
            rate = (state.nimg - started_nimg) / max(time.monotonic() - started_s, 1e-9)
            snapshot = out / SNAPSHOT_NAME
            sha256 = devices.tell(_save_snapshot(snapshot, state, run) if devices.first else None)
    return TrainingReport(out, snapshot, sha256, state.nimg, len(rows), rate)


@dataclass
class _Run:
    """What stays the same throughout a run, and what is reused from step to step."""

    radiographs: RadiographSet
    rows: Indices
    out: Path
    settings: GeneratorSettings
    watch: Watch
    devices: Devices
    on_nan: str
    on_status: OnStatus
    nimg_before: int
    films: Names | None
    losses: list[Losses] = field(default_factory=list)
    ticked_s: float = field(default_factory=time.monotonic)


def _train(run: _Run, state: TrainingState) -> None:
    """The loop: a step per batch, growth by the schedule, ticks, metrics and checkpoints when they are due."""
    settings, devices, watch = run.settings, run.devices, run.watch
    monitor = _open_monitor(run, state) if devices.first else None
    films = _held_out(run, monitor) if monitor and watch.metric_nimg else None
    saved_nimg = state.nimg
    with stop_requests() as stop:
        while state.nimg < settings.nimg:
            before = state.nimg
            stage, alpha = stage_at(settings, before)
            try:
                losses = _step(run, state, stage, alpha)
            except NotFiniteError as err:
                saved_nimg = _roll_back(run, state, err)
                if monitor:
                    monitor.rewind(saved_nimg)
                continue
            run.on_status(_status(state, settings, stage, alpha, losses))
            ending = state.nimg >= settings.nimg
            stopping = devices.any(bool(stop))
            if monitor:
                run.losses.append(losses)
                if _due(before, state.nimg, watch.tick_nimg) or ending:
                    _tick(monitor, run, state, stage, alpha)
                if ending or stage_at(settings, state.nimg)[0] != stage:
                    _write_stage_grid(run, state, stage)
            measuring = stage.px == settings.resolution and _metric_due(before, state.nimg, watch, ending)
            # A checkpoint goes with the best snapshot, so that no rollback leads to before it.
            best = measuring and devices.any(_measure(monitor, run, state, films) if monitor and films else False)
            if state.nimg - saved_nimg >= settings.checkpoint_nimg or ending or stopping or best:
                _require_agreement(devices, state)
                if devices.first:
                    save_checkpoint(run.out, state, settings)
                saved_nimg = state.nimg
            if stopping:
                stop.signal = stop.signal or signal.SIGTERM  # another process was asked
                logger.info("stopped at %d images; the same command goes on from there", state.nimg)
                break
    if monitor:
        monitor.close()


def _step(run: _Run, state: TrainingState, stage: Stage, alpha: float) -> Losses:
    devices = run.devices
    rows = batch_of(run.rows, run.settings, state.nimg, stage.batch, retry=state.retry)
    count = stage.batch // devices.world
    mine = rows[devices.rank * count : (devices.rank + 1) * count]
    real = load_batch(run.radiographs, mine, stage.px, alpha, run.settings).to(devices.device)
    if run.settings.shift or run.settings.contrast:
        spread = devices.part(draw_augmentation(run.settings, state.nimg, stage.batch, retry=state.retry))
        real = augment(real, spread, run.settings)
    return train_step(state, run.settings, real, batch=stage.batch, alpha=alpha, devices=devices)


def _due(before: int, after: int, every: int) -> bool:
    return bool(every) and after // every != before // every


def _metric_due(before: int, after: int, watch: Watch, ending: bool) -> bool:
    return bool(watch.metric_nimg) and (ending or _due(before, after, watch.metric_nimg))


def _status(state: TrainingState, settings: GeneratorSettings, stage: Stage, alpha: float, losses: Losses) -> Status:
    text = f"{stage.px} px, alpha {alpha:.2f}, D {losses.discriminator:.3f}, G {losses.generator:.3f}"
    return Status(min(state.nimg, settings.nimg), settings.nimg, "images", text)


def _roll_back(run: _Run, state: TrainingState, err: NotFiniteError) -> int:
    """Return to the newest checkpoint and take another order from there; the images shown there.

    Raises:
        InputDataError: If that is not wanted, was done too often, or there is nothing to return to.
    """
    retry = state.retry + 1
    fix = "The last good checkpoint is kept; start a new run with a lower learning_rate, or add --on-nan rollback."
    if run.on_nan == "rollback":
        fix = f"It came back after {state.retry} rollbacks; start a new run with a lower learning_rate."
        if retry <= MAX_ROLLBACKS and load_newest(run.out, state):
            logger.warning("%s; back at %d images, rollback %d of %d", err, state.nimg, retry, MAX_ROLLBACKS)
            state.retry = retry
            run.losses.clear()
            return state.nimg
    raise InputDataError(f"{run.out}: {err}.", fix=fix, path=run.out) from err


def _open_monitor(run: _Run, state: TrainingState) -> Monitor:
    settings = run.settings
    some = run.rows[:: max(1, len(run.rows) // _VARIANCE_FILMS)]  # spread, since neighbours may be of one patient
    return Monitor(
        run.out,
        total_nimg=settings.nimg,
        nimg=state.nimg,
        tensorboard=run.watch.tensorboard,
        radiograph_variance=feature_variance(run.radiographs.read(some, settings.start_px)),
        saturated_gap=SATURATED_GAP if settings.loss == "logistic" else None,
    )


def _tick(monitor: Monitor, run: _Run, state: TrainingState, stage: Stage, alpha: float) -> None:
    now = time.monotonic()
    means = np.mean([dataclasses.astuple(losses) for losses in run.losses], axis=0)
    tick = Tick(
        nimg=state.nimg,
        total_nimg=run.settings.nimg,
        steps=state.steps,
        px=stage.px,
        alpha=alpha,
        batch=stage.batch,
        **dict(zip(_TICKED, map(float, means), strict=True)),
        seconds=now - run.ticked_s,
        memory_bytes=peak_memory_bytes(run.devices.device.type),
    )
    monitor.tick(tick, _images(run, state, _GRID_COLUMNS**2, stage.px, alpha))
    run.losses.clear()
    run.ticked_s = now


def _held_out(run: _Run, monitor: Monitor) -> HeldOut | None:
    films = reference_features(run.radiographs, run.out, px=run.settings.resolution, seen=TRAINING_SPLITS)
    if films is None:
        monitor.say("KID is not measured: the set holds too few films in the splits holdout, test and validation")
    return films


def _measure(monitor: Monitor, run: _Run, state: TrainingState, films: HeldOut) -> bool:
    """KID of the averaged generator to held-out films, and what the discriminator knows by heart.

    Returns:
        Whether KID is the lowest so far; that snapshot is kept.
    """
    images = _images(run, state, METRIC_IMAGES, run.settings.resolution, 1.0)
    kid = kid_to_radiographs(images, films.features, patients=films.patients)
    memory = measure_memory(state.discriminator, run.radiographs, run.rows, films.rows)
    best = monitor.measured(state.nimg, kid, memory)
    if best:
        _save_snapshot(run.out / BEST_NAME, state, run)
    return best


def _images(run: _Run, state: TrainingState, count: int, px: int, alpha: float) -> Pixels:
    latents = fixed_latents(run.settings, count)
    return generate(grey(state.averaged), latents, px=px, alpha=alpha, dtype=run.devices.dtype)


def _save_snapshot(path: Path, state: TrainingState, run: _Run) -> str:
    origin = {
        "radiographs_sha256": run.radiographs.sha256,
        "radiographs": len(run.rows),
        "splits": list(TRAINING_SPLITS),
        "terms": list(run.radiographs.terms),
        # A run from a snapshot goes on where that one was: so many radiographs its weights had been shown.
        **({"nimg_before": run.nimg_before} if run.nimg_before else {}),
    }
    networks = signed(state.averaged, state.discriminator)
    return save_snapshot(path, *networks, nimg=state.nimg, origin=origin, films=run.films)


def _write_stage_grid(run: _Run, state: TrainingState, stage: Stage) -> None:
    pixels = _images(run, state, _GRID_COLUMNS**2, stage.px, 1.0)
    with atomic_path(run.out / "grids" / f"stage-{stage.px:04d}px.png") as path:
        write_grid(path, pixels, columns=_GRID_COLUMNS)


def keep_heap() -> None:
    """Let glibc keep freed memory: giving each activation back to the system costs a tenth of a step on CPUs.

    Numbers from malloc.h: M_MMAP_MAX = -4, M_TRIM_THRESHOLD = -1. Where there is no glibc, nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)
        libc.mallopt(-1, 2**31 - 1)


def _require_agreement(devices: Devices, state: TrainingState) -> None:
    if not devices.same_weights(state.generator, state.discriminator):
        raise DamageError(
            f"The {devices.world} processes hold different weights after {state.nimg} images.",
            fix="Look for a faulty device or a run folder that not all machines share; then run the same command "
            "again, it goes on from the checkpoint before.",
        )


def _require_usable(radiographs: RadiographSet, rows: Indices, settings: GeneratorSettings, world: int) -> None:
    if radiographs.size_px < settings.resolution:
        raise InputDataError(
            f"{radiographs.folder} holds {radiographs.size_px} px images, "
            f"the generator is to make {settings.resolution} px.",
            fix=f"Ingest with --size {settings.resolution}, or train with --resolution {radiographs.size_px}.",
            path=radiographs.folder,
        )
    for stage in stages(settings):
        group = settings.group_of(stage.batch)
        if len(rows) < stage.batch:
            raise InputDataError(
                f"{radiographs.folder} has {len(rows)} radiographs in the splits {', '.join(TRAINING_SPLITS)}; "
                f"one batch takes {stage.batch}.",
                fix="Ingest more radiographs, or lower the batch.",
                path=radiographs.folder,
            )
        if stage.batch % (group * world):
            raise InputDataError(
                f"A batch of {stage.batch} in groups of {group} cannot be shared out to {world} processes at "
                f"{stage.px} px: each takes whole groups.",
                fix="Change batch or group, or the number of processes.",
            )
