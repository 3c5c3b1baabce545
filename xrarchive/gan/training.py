"""Train a PGGAN on a radiograph set: pixels in, checkpoints and a snapshot out.

No horizontal flips: a mirrored heart is a finding (situs inversus). Progress is counted in images shown (nimg).
The order of radiographs and every latent are functions of (seed, nimg), so that a resumed run is the straight run.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xrarchive.errors import InputDataError, PlanChangedError, storage_errors
from xrarchive.files import locked, read_json, write_bytes, write_json
from xrarchive.gan.checkpoints import TrainingState, load_newest, save_checkpoint
from xrarchive.gan.losses import discriminator_loss, generator_loss, gradient_penalty, r1_penalty
from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.gan.schedule import Stage, resolved_growth, stage_at
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import save_snapshot
from xrarchive.pixels import to_pixels, to_planes, write_grid
from xrarchive.radiographs import RadiographSet
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.weights import channels_last

TRAINING_SPLITS = ("train", "unlabelled")
SNAPSHOT_NAME = "generator.safetensors"
_GRID_COLUMNS = 8
_TICK_NIMG = 2_000
_LATENT_STREAM, _ORDER_STREAM, _MIX_STREAM, _GRID_STREAM = range(4)

logger = logging.getLogger(__name__)


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
    radiographs: RadiographSet, out: Path, *, settings: GeneratorSettings, on_status: OnStatus = ignore_status
) -> TrainingReport:
    """Train, or continue, the run in `out` until `settings.nimg` images were shown.

    Raises:
        InputDataError: If the set is too small or of a smaller size than the resolution.
        PlanChangedError: If `out` holds a run of other settings or radiographs.
        LockedError, StorageError: If `out` cannot be written.
    """
    rows = radiographs.rows(*TRAINING_SPLITS)
    _require_usable(radiographs, rows, settings)
    with locked(out), storage_errors(out):
        settings = _claim_run(out, radiographs, settings)
        state = _new_state(settings)
        if load_newest(out, state):
            logger.info("resumed %s at %d images", out, state.nimg)
        started_s, started_nimg = time.monotonic(), state.nimg
        _train(radiographs.pixels, rows, out, state, settings, on_status)
        origin = _origin(radiographs, rows)
        snapshot = out / SNAPSHOT_NAME
        sha256 = save_snapshot(snapshot, state.averaged, state.discriminator, nimg=state.nimg, origin=origin)
        rate = (state.nimg - started_nimg) / max(time.monotonic() - started_s, 1e-9)
    return TrainingReport(out, snapshot, sha256, state.nimg, len(rows), rate)


def _train(
    pixels: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    out: Path,
    state: TrainingState,
    settings: GeneratorSettings,
    on_status: OnStatus,
) -> None:
    """The loop: one discriminator and one generator step per batch, growth by the schedule."""
    half = wants_bfloat16(settings)
    stats = _Stats(out / "stats.jsonl", state.nimg)
    saved_nimg = state.nimg
    stage, alpha = stage_at(settings, state.nimg)
    for indices in batches(rows, settings, state.nimg):
        previous = stage
        stage, alpha = stage_at(settings, state.nimg)
        if stage != previous:
            _write_stage_grid(out, state, settings, previous)
        real = _at_stage(pixels[indices], stage.px, alpha)
        losses = _step(state, settings, real, stage, alpha, half)
        state.nimg += settings.batch
        state.steps += 1
        text = f"{stage.px} px, alpha {alpha:.2f}, D {losses[0]:.3f}, G {losses[1]:.3f}"
        if not all(np.isfinite(losses)):
            raise InputDataError(
                f"{out}: the loss became {losses} after {state.nimg} images.",
                fix="The last good checkpoint is kept; start a new run with a lower learning_rate.",
                path=out,
            )
        on_status(Status(min(state.nimg, settings.nimg), settings.nimg, "images", text))
        if state.nimg // _TICK_NIMG != (state.nimg - settings.batch) // _TICK_NIMG:
            stats.append({"nimg": state.nimg, "px": stage.px, "alpha": alpha, "loss_d": losses[0], "loss_g": losses[1]})
        if state.nimg - saved_nimg >= settings.checkpoint_nimg or state.nimg >= settings.nimg:
            save_checkpoint(out, state)
            saved_nimg = state.nimg
    _write_stage_grid(out, state, settings, stage)


def batches(rows: npt.NDArray[np.int64], settings: GeneratorSettings, nimg: int) -> Iterator[npt.NDArray[np.int64]]:
    """Row indices of each batch from image `nimg` on, until `settings.nimg`: one permutation of `rows` per pass."""
    order, epoch = np.empty(0, np.int64), -1
    while nimg < settings.nimg:
        wanted = np.arange(nimg, nimg + settings.batch)
        taken = np.empty(settings.batch, np.int64)
        for current in range(wanted[0] // len(rows), wanted[-1] // len(rows) + 1):
            if current != epoch:
                order, epoch = _rng(settings.seed, _ORDER_STREAM, current).permutation(rows), current
            here = wanted // len(rows) == current
            taken[here] = order[wanted[here] % len(rows)]
        yield taken
        nimg += settings.batch


def draw_latents(settings: GeneratorSettings, nimg: int, part: int) -> Tensor:
    """float32 [batch, Z] standard normal latents of the step at `nimg`; `part` 0 feeds D, 1 feeds G."""
    rng = _rng(settings.seed, _LATENT_STREAM, nimg, part)
    return torch.from_numpy(rng.standard_normal((settings.batch, settings.latent_size), dtype=np.float32))


def wants_bfloat16(settings: GeneratorSettings) -> bool:
    """Whether convolutions run in bf16: on request, or by default where the processor has the instructions."""
    if settings.precision == "auto":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return settings.precision == "bfloat16"


def _step(
    state: TrainingState, settings: GeneratorSettings, real: Tensor, stage: Stage, alpha: float, half: bool
) -> tuple[float, float]:
    """One update of both networks and of the average. Returns both losses."""
    generator, discriminator = state.generator, state.discriminator
    with torch.no_grad(), _autocast(half):
        fake = generator(draw_latents(settings, state.nimg, 0), stage.px, alpha)

    discriminator.requires_grad_(True)
    with _autocast(half):
        scores = discriminator(torch.cat([real, fake]).contiguous(memory_format=torch.channels_last), alpha)
        loss_d = discriminator_loss(scores[: len(real)], scores[len(real) :], settings)
        loss_d = loss_d + _penalty(state, settings, discriminator, real, fake, alpha)
    state.discriminator_optimiser.zero_grad(set_to_none=True)
    loss_d.backward()  # type: ignore[no-untyped-call]
    state.discriminator_optimiser.step()

    discriminator.requires_grad_(False)
    with _autocast(half):
        made = generator(draw_latents(settings, state.nimg, 1), stage.px, alpha)
        loss_g = generator_loss(discriminator(made, alpha), settings)
    state.generator_optimiser.zero_grad(set_to_none=True)
    loss_g.backward()  # type: ignore[no-untyped-call]
    state.generator_optimiser.step()

    with torch.no_grad():
        torch._foreach_lerp_(list(state.averaged.parameters()), list(generator.parameters()), 1 - settings.averaging)
    return loss_d.item(), loss_g.item()


def _penalty(
    state: TrainingState,
    settings: GeneratorSettings,
    discriminator: Discriminator,
    real: Tensor,
    fake: Tensor,
    alpha: float,
) -> Tensor:
    if settings.loss == "wgan-gp":
        uniform = _rng(settings.seed, _MIX_STREAM, state.nimg).random((len(real), 1, 1, 1), dtype=np.float32)
        mix = torch.from_numpy(uniform)
        return settings.gp_lambda * gradient_penalty(discriminator, real, fake, mix, alpha)
    if state.steps % settings.r1_interval:
        return torch.zeros(())
    return settings.r1_gamma / 2 * settings.r1_interval * r1_penalty(discriminator, real, alpha)


def _at_stage(pixels: npt.NDArray[np.uint8], px: int, alpha: float) -> Tensor:
    """uint8 [N, H, W] -> float [N, 1, px, px] in [-1, 1], area-averaged; fading in like the generator's images."""
    planes = torch.from_numpy(to_planes(pixels))
    planes = F.avg_pool2d(planes, planes.shape[-1] // px)
    if alpha < 1:
        coarse = F.interpolate(F.avg_pool2d(planes, 2), scale_factor=2, mode="nearest")
        planes = torch.lerp(coarse, planes, alpha)
    return planes.contiguous(memory_format=torch.channels_last)


def _new_state(settings: GeneratorSettings) -> TrainingState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        generator = channels_last(Generator(settings))
        discriminator = channels_last(Discriminator(settings))
    averaged = copy.deepcopy(generator).requires_grad_(False).eval()
    return TrainingState(generator, discriminator, averaged, _adam(generator, settings), _adam(discriminator, settings))


def _adam(network: nn.Module, settings: GeneratorSettings) -> torch.optim.Adam:
    return torch.optim.Adam(
        network.parameters(), settings.learning_rate, betas=(0.0, settings.beta2), eps=1e-8, fused=True
    )


def _require_usable(radiographs: RadiographSet, rows: npt.NDArray[np.int64], settings: GeneratorSettings) -> None:
    if radiographs.size_px < settings.resolution:
        raise InputDataError(
            f"{radiographs.folder} holds {radiographs.size_px} px images, "
            f"the generator is to make {settings.resolution} px.",
            fix=f"Ingest with --size {settings.resolution}, or train with --resolution {radiographs.size_px}.",
            path=radiographs.folder,
        )
    if len(rows) < settings.batch:
        raise InputDataError(
            f"{radiographs.folder} has {len(rows)} radiographs in the splits {', '.join(TRAINING_SPLITS)}; "
            f"one batch takes {settings.batch}.",
            fix="Ingest more radiographs, or lower the batch.",
            path=radiographs.folder,
        )


def _claim_run(out: Path, radiographs: RadiographSet, settings: GeneratorSettings) -> GeneratorSettings:
    """Record the run's settings, or refuse to continue a run that has others; only `nimg` may be raised.

    Returns:
        The settings with the growth written out, which a run keeps when it is prolonged.
    """
    path = out / "run.json"
    found = read_json(path, what="run record", fix=f"Choose another folder than {out}.") if path.exists() else None
    growth = settings.growth_nimg or (found["settings"]["growth_nimg"] if found else resolved_growth(settings))
    settings = dataclasses.replace(settings, growth_nimg=growth)
    wanted: dict[str, object] = {"settings": dataclasses.asdict(settings), "radiographs_sha256": radiographs.sha256}
    if found:
        _require_same(out, _flat(found), _flat(wanted))
    write_json(path, wanted)
    return settings


def _require_same(out: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = [
        f"{key}: {before.get(key)} -> {value}"
        for key, value in after.items()
        if before.get(key) != value and not (key == "nimg" and before[key] < value)
    ]
    if changed:
        raise PlanChangedError(
            f"{out} holds a run of another configuration: {'; '.join(changed)}.",
            fix="Give the settings of that run to continue it (only nimg may rise), or another --out for a new one.",
            path=out,
        )


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    settings = record.get("settings")
    return {**(settings if isinstance(settings, dict) else {}), "radiographs_sha256": record.get("radiographs_sha256")}


def _origin(radiographs: RadiographSet, rows: npt.NDArray[np.int64]) -> dict[str, object]:
    return {
        "radiographs_sha256": radiographs.sha256,
        "radiographs": len(rows),
        "splits": list(TRAINING_SPLITS),
        "terms": list(radiographs.terms),
    }


def _write_stage_grid(out: Path, state: TrainingState, settings: GeneratorSettings, stage: Stage) -> None:
    latents = _rng(settings.seed, _GRID_STREAM).standard_normal(
        (_GRID_COLUMNS**2, settings.latent_size), dtype=np.float32
    )
    with torch.no_grad():
        images = state.averaged(torch.from_numpy(latents), stage.px)
    folder = out / "grids"
    folder.mkdir(exist_ok=True)
    write_grid(folder / f"stage-{stage.px:04d}px.png", to_pixels(images.numpy()), columns=_GRID_COLUMNS)


class _Stats:
    """The lines of stats.jsonl; lines past the point of resumption, or cut short, are dropped."""

    def __init__(self, path: Path, nimg: int) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["nimg"] <= nimg]
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())

    def append(self, record: dict[str, object]) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps(record) + "\n")


def _rng(*keys: int) -> np.random.Generator:
    return np.random.default_rng(keys)


def _autocast(enabled: bool) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)
