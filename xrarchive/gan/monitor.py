"""Seeing a generator train: ticks in, files to look at out. Called by the training loop.

RUN/stats.jsonl        one line a tick or measurement, see `xrarchive.gan.stats`
RUN/log.txt            the same for people; from 5 MB on its older half is log.1.txt
RUN/grids/nimg-*.png   images of fixed latents at evenly spread ticks, at most `keep_grids` of them
RUN/best.json          the lowest KID and where it was
RUN/tensorboard/       on request

All but the log are functions of the ticks: a run that was stopped and goes on ends with the files of a straight one.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xrarchive.errors import InputDataError
from xrarchive.files import atomic_path, write_json
from xrarchive.gan.health import SATURATED_GAP, duplicate_rate, feature_variance, find_troubles
from xrarchive.gan.stats import Record, StatsFile, best_measurement, ticks
from xrarchive.pixels import Pixels, area_average, write_grid
from xrarchive.trained_films import ATTACK_BAR

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from xrarchive.gan.memory import Memory
    from xrarchive.gan.realism import Kid

LOG_NAME = "log.txt"
OLD_LOG_NAME = "log.1.txt"
LOG_LIMIT_BYTES = 5_000_000
BEST_NAME = "best.json"
GRIDS_NAME = "grids"
# Larger images are area-averaged for their grid: 64 of 1024 px would be a PNG of 60 MB at every tick.
GRID_IMAGE_PX = 256
# The time left is told from the speed of this many ticks, measurements and checkpoints included.
_SPEED_TICKS = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Where a training stands.

    Attributes:
        nimg: Radiographs shown so far.
        total_nimg: Radiographs to be shown in all.
        steps: Updates of both networks so far.
        px: Resolution of the stage.
        alpha: Fade weight of the stage, in (0, 1].
        batch: Radiographs per step.
        loss_d: Discriminator's loss, mean since the tick before.
        loss_g: Generator's loss, mean since the tick before.
        score_real: Discriminator's output for radiographs, mean since the tick before.
        score_fake: Discriminator's output for images, mean since the tick before.
        seconds: Time since the tick before.
        memory_bytes: Most memory used so far, see `peak_memory_bytes`.
        grad_norm_d: Norm of the discriminator's gradient, mean since the tick before; None = not taken.
        grad_norm_g: As `grad_norm_d`, of the generator's.
    """

    nimg: int
    total_nimg: int
    steps: int
    px: int
    alpha: float
    batch: int
    loss_d: float
    loss_g: float
    score_real: float
    score_fake: float
    seconds: float
    memory_bytes: int
    grad_norm_d: float | None = None
    grad_norm_g: float | None = None


class Monitor:
    """Writes what there is to see of the run in `run`, which goes on at `nimg`.

    Args:
        run: Folder of the run, locked by the caller.
        total_nimg: Radiographs to be shown in all.
        nimg: Radiographs shown so far; what an interrupted run left beyond that point is dropped.
        keep_grids: Grids of ticks to keep, at least 2; those of finished stages (`stage-*.png`) are not touched.
        tensorboard: Whether to write for TensorBoard, too.
        radiograph_variance: `feature_variance` of some radiographs, to tell a collapse by; None = do not.
        saturated_gap: From which gap in scores on the discriminator wins; None for a critic (wgan-gp).
        clock: Seconds, for the time left.

    Raises:
        InputDataError: If TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        run: Path,
        *,
        total_nimg: int,
        nimg: int,
        keep_grids: int = 20,
        tensorboard: bool = False,
        radiograph_variance: float | None = None,
        saturated_gap: float | None = SATURATED_GAP,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if keep_grids < 2:
            raise ValueError(f"keep_grids must be at least 2, got {keep_grids}")
        self._board = _open_board(run, nimg) if tensorboard else None  # first: it may be refused
        self._run, self._keep_grids = run, keep_grids
        self._variance, self._saturated_gap, self._clock = radiograph_variance, saturated_gap, clock
        self.rewind(nimg)
        if nimg:
            self.say(f"goes on at {nimg:,} of {total_nimg:,} images")

    @property
    def best(self) -> Record | None:
        """The record of the lowest KID so far (`nimg`, `kid`, ...); None if none was measured."""
        return best_measurement(self._stats.records)

    def rewind(self, nimg: int) -> None:
        """Drop what lies beyond `nimg` images, to which the training has gone back."""
        self._stats = StatsFile(self._run, nimg)
        self._passed = deque([(self._clock(), nimg)], maxlen=_SPEED_TICKS + 1)
        self._thin_grids()
        self._write_best()

    def tick(self, tick: Tick, images: Pixels) -> list[str]:
        """Record a tick and the images of the averaged generator for fixed latents.

        Args:
            tick: Where the training stands.
            images: uint8 [N, H, H], N at least 1, for the same latents at every tick.

        Returns:
            A sentence for each thing that looks wrong; each is logged at the first of the ticks it lasts.
        """
        past = [record for record in ticks(self._stats.records) if record["nimg"] < tick.nimg]
        record = self._describe(tick, images)
        limits = {"variance": self._variance, "saturated_gap": self._saturated_gap}
        troubles = find_troubles(record, past, total_nimg=tick.total_nimg, **limits)
        record = self._stats.put({**record, "warnings": list(troubles.values()) or None})
        self._write_grid(tick.nimg, images)
        self.say(_line(record, tick.total_nimg, troubles))
        known = {text.partition(":")[0] for text in past[-1].get("warnings", [])} if past else set()
        for name, text in troubles.items():
            if name not in known:
                self.say(text, level=logging.WARNING)
        if self._board is not None:
            _write_board(self._board, record, images)
        return list(troubles.values())

    def measured(self, nimg: int, kid: Kid, memory: Memory | None = None) -> bool:
        """Record a KID, and what the discriminator knows by heart; those of the same `nimg` are replaced.

        Returns:
            Whether the KID is the lowest of the run; of equal ones, the earliest is.
        """
        figures: Record = {"kid": kid.value, "kid_low": kid.low, "kid_high": kid.high, "n": kid.n, "n_real": kid.n_real}
        if memory is not None:
            figures |= {"critic": memory.value, "critic_low": memory.low, "critic_high": memory.high}
        self._stats.put({"nimg": nimg, **figures})
        self._write_best()
        best = self.best
        is_best = best is not None and best["nimg"] == nimg
        words = "the best so far" if is_best else f"best {best['kid']:.4g} at {best['nimg']:,}" if best else "no figure"
        self.say(f"KID {kid.value:.4g} ({kid.low:.4g} to {kid.high:.4g}, {kid.n:,} images) at {nimg:,}: {words}")
        if memory is not None:
            self._say_memory(memory)
        if self._board is not None:
            for name in sorted(figures.keys() & {"kid", "critic"}):
                self._board.add_scalar(name, figures[name], nimg)
            self._board.flush()
        return is_best

    def _say_memory(self, memory: Memory) -> None:
        told = f"AUROC {memory.value:.3f} ({memory.low:.3f} to {memory.high:.3f}, {memory.n:,} films of either)"
        if memory.leaks:
            self.say(
                f"memory: the discriminator tells films it was trained on from others, {told}. `publish` would keep "
                f"these weights back (upper end above {ATTACK_BAR}); the images are not concerned. Earlier snapshots "
                "know less by heart; more films, shift, contrast or a larger r1_gamma may help.",
                level=logging.WARNING,
            )
        else:
            self.say(f"training films told from others by the discriminator: {told}")

    def say(self, text: str, *, level: int = logging.INFO) -> None:
        """Add a line to log.txt and to `logging`."""
        logger.log(level, "%s", text)
        path = self._run / LOG_NAME
        if path.exists() and path.stat().st_size >= LOG_LIMIT_BYTES:
            path.replace(self._run / OLD_LOG_NAME)
        word = "WARNING " if level >= logging.WARNING else ""
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z  {word}{text}\n")

    def close(self) -> None:
        """End the writing for TensorBoard; the other files need no end."""
        if self._board is not None:
            self._board.close()

    def _describe(self, tick: Tick, images: Pixels) -> Record:
        """The tick as a record, with its speed and what the health checks look at."""
        now_s, before_nimg = self._clock(), self._passed[-1][1]
        self._passed.append((now_s, tick.nimg))
        (first_s, first_nimg), left = self._passed[0], max(tick.total_nimg - tick.nimg, 0)
        shown = tick.nimg - first_nimg
        record = dataclasses.asdict(tick)
        del record["total_nimg"]  # run.json says it
        return {
            **record,
            "images_per_s": max(tick.nimg - before_nimg, 0) / tick.seconds if tick.seconds > 0 else None,
            "left_s": left * (now_s - first_s) / shown if shown > 0 else None,
            "variance": feature_variance(images),
            "duplicates": duplicate_rate(images),
        }

    def _write_grid(self, nimg: int, images: Pixels) -> None:
        if images.shape[1] > GRID_IMAGE_PX:
            images = np.rint(area_average(images, GRID_IMAGE_PX)).astype(np.uint8)
        with atomic_path(self._run / GRIDS_NAME / _grid_name(nimg)) as path:
            write_grid(path, images, columns=math.isqrt(len(images) - 1) + 1)
        self._thin_grids()

    def _thin_grids(self) -> None:
        kept = {
            _grid_name(nimg) for nimg in kept_ticks([r["nimg"] for r in ticks(self._stats.records)], self._keep_grids)
        }
        for path in (self._run / GRIDS_NAME).glob("nimg-*.png"):
            if path.name not in kept:
                path.unlink()

    def _write_best(self) -> None:
        """Bring best.json to what stats.jsonl says, which a run stopped in between may have left behind."""
        if self.best is None:
            (self._run / BEST_NAME).unlink(missing_ok=True)
        else:
            write_json(self._run / BEST_NAME, {"nimg": self.best["nimg"], "kid": self.best["kid"]})


def kept_ticks(nimgs: list[int], count: int) -> list[int]:
    """Which ticks keep their grid: every 2^k-th from the first on, and the newest; `count` at most.

    Whatever was dropped at a tick is dropped at all later ones, so that a resumed run keeps what a straight one does.
    """
    stride = 1
    while -(-len(nimgs) // stride) > count - 1:
        stride *= 2
    return [*nimgs[::stride], *nimgs[-1:]]


def peak_memory_bytes(device: str = "cpu") -> int:
    """Most memory this process has used: resident on the machine, or allocated by torch on a CUDA device."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.exists():  # getrusage also counts what the process that started this one held at that moment
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def _grid_name(nimg: int) -> str:
    return f"nimg-{nimg:09d}.png"


def _line(record: Record, total_nimg: int, troubles: dict[str, str]) -> str:
    """``64 px, alpha 0.50 | 4,000 of 370,000 images (1.1 %) | 120 images/s, 0:51:00 left | D 0.81, G 1.4 | ...``."""
    left_s, speed = record.get("left_s"), record.get("images_per_s")
    parts = (
        f"{record['px']} px, alpha {record['alpha']:.2f}",
        f"{record['nimg']:,} of {total_nimg:,} images ({100 * record['nimg'] / max(total_nimg, 1):.1f} %)",
        f"{'–' if speed is None else format(speed, '.3g')} images/s, "
        f"{'–' if left_s is None else timedelta(seconds=round(left_s))} left",
        f"D {_figure(record['loss_d'])}, G {_figure(record['loss_g'])}",
        f"scores {_figure(record['score_real'])} radiographs, {_figure(record['score_fake'])} images",
        f"{record['memory_bytes'] / 1e9:.2f} GB",
        *([", ".join(troubles)] if troubles else []),
    )
    return " | ".join(parts)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _open_board(run: Path, nimg: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as err:
        raise InputDataError(
            f"TensorBoard cannot be written for {run}: {err}.",
            fix='Install it: pip install "xrarchive[tensorboard]", or train without it.',
        ) from err
    return SummaryWriter(str(run / "tensorboard"), purge_step=nimg + 1)


def _write_board(board: SummaryWriter, record: Record, images: Pixels) -> None:
    nimg = record["nimg"]
    for name, value in record.items():
        if name != "nimg" and isinstance(value, int | float):
            board.add_scalar(name, value, nimg)
    board.add_images("images", images[:, None], nimg)
    board.flush()
