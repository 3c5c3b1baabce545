"""What a training will cost before it starts: images, steps, FLOPs, memory, disk, and time at a measured rate.

Settings in, a `CostEstimate` out, which says of every figure whether it was measured or computed. FLOPs and memory are
counted on the shapes of the real networks (`xrarchive.gan.flops`). Time comes from a few real steps; stages that do not
fit here get their time by their FLOPs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

from xrarchive.gan.checkpoints import KEPT
from xrarchive.gan.devices import Devices
from xrarchive.gan.flops import (
    FLOAT_BYTES,
    Networks,
    count_parameters,
    gradient_bytes,
    memory_bytes,
    meta_networks,
    step_flops,
)
from xrarchive.gan.schedule import Stage, stages
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState, new_state
from xrarchive.gan.step import train_step
from xrarchive.radiographs.table import pyramid_px

Source = Literal["measured", "computed"]
# Measured peaks of resident memory lie within this factor of the computed ones (tests/gan/test_cost.py; at 64 px on a
# CPU, in float32 and bf16, with both losses and with twice the width: 0.86 to 1.08).
MEMORY_FACTOR = 1.3
# Of all measuring together; and how much of the free memory it may take.
MEASURE_S = 15.0
_FREE_SHARE = 0.5
_SNAPSHOT_BYTES = 2  # float16
# Python with torch, numpy and pyarrow, and what oneDNN sets up for its first convolutions (measured, Linux, CPU).
_PROCESS_BYTES = 450_000_000
_COMPUTED = (
    *("images", "steps", "flops", "generator_parameters", "discriminator_parameters", "memory_bytes"),
    *("checkpoint_bytes", "checkpoints_bytes", "snapshot_bytes", "radiographs_bytes"),
)


@dataclass(frozen=True)
class Rate:
    """How fast one stage was on this machine: `seconds` a step of `batch` images, its penalty's share included."""

    px: int
    batch: int
    seconds: float


@dataclass(frozen=True)
class Rates:
    """Measured rates, smallest stage first, and what they were measured on."""

    stages: tuple[Rate, ...]
    dtype: str
    device: str
    threads: int


@dataclass(frozen=True)
class StageCost:
    """One stage: `flops` and `seconds` of all its steps together, on all devices together.

    Attributes:
        px: Resolution.
        batch: Images per step over all devices.
        images: Images of the schedule.
        steps: Updates of both networks.
        flops: Of the whole stage.
        memory_bytes: Of each device at its peak.
        all_reduce_bytes: Gradients each device hands in per step; 0 for one device.
        seconds: At the measured rate divided by the devices, without the exchange; None if nothing was measured.
        seconds_from: Whether this very stage was measured, or computed from others by its FLOPs.
    """

    px: int
    batch: int
    images: int
    steps: int
    flops: int
    memory_bytes: int
    all_reduce_bytes: int
    seconds: float | None
    seconds_from: Source | None


@dataclass(frozen=True)
class CostEstimate:
    """What a training costs; `sources` says for each figure whether it is measured or computed.

    Attributes:
        resolution: Final size in px.
        devices: How many train together.
        dtype: What convolutions compute in.
        stages: Smallest first.
        images: Shown in all.
        steps: Updates of both networks.
        flops: In all.
        generator_parameters: Weights and biases.
        discriminator_parameters: Weights and biases.
        memory_bytes: Of each device at the largest stage; within `MEMORY_FACTOR`.
        checkpoint_bytes: One checkpoint on disk.
        checkpoints_bytes: All that stand there at a time, the one being written included.
        snapshot_bytes: The weights to use, on disk.
        radiographs: In the set.
        radiographs_bytes: Their pixels on disk at all resolutions.
        seconds: At the measured rates; None if nothing was measured.
        rates: What was measured, and where.
        sources: By field.
    """

    resolution: int
    devices: int
    dtype: str
    stages: tuple[StageCost, ...]
    images: int
    steps: int
    flops: int
    generator_parameters: int
    discriminator_parameters: int
    memory_bytes: int
    checkpoint_bytes: int
    checkpoints_bytes: int
    snapshot_bytes: int
    radiographs: int
    radiographs_bytes: int
    seconds: float | None
    rates: Rates | None
    sources: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `summary` holds the totals in words."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["stages"] = [dataclasses.asdict(stage) for stage in self.stages]
        values["rates"] = self.rates and dataclasses.asdict(self.rates)
        return {**values, "sources": dict(self.sources), "summary": self.summary()}

    def summary(self) -> dict[str, str]:
        """The totals in words, each with where it comes from."""
        parameters = f"{self.generator_parameters:,} generator, {self.discriminator_parameters:,} discriminator"
        memory = f"{_told_bytes(self.memory_bytes)} per device, within a factor of {MEMORY_FACTOR:g}"
        disk = (
            f"{_told_bytes(self.checkpoints_bytes)} checkpoints, {_told_bytes(self.snapshot_bytes)} snapshot, "
            f"{_told_bytes(self.radiographs_bytes)} radiographs"
        )
        words = {
            "images": f"{self.images:,} in {self.steps:,} steps",
            "FLOPs": f"{self.flops:.3g}",
            "parameters": parameters,
            "memory": memory,
            "disk": disk,
        }
        if self.devices > 1:
            most = max(stage.all_reduce_bytes for stage in self.stages)
            words["exchange"] = f"{_told_bytes(most)} of gradients per step and device at most, its time not counted"
        told = {name: f"{text} (computed)" for name, text in words.items()}
        return {**told, "time": self._time()}

    def _time(self) -> str:
        if self.seconds is None or self.rates is None:
            return "not measured"
        measured = [str(rate.px) for rate in self.rates.stages]
        others = [str(stage.px) for stage in self.stages if str(stage.px) not in measured]
        where = f"{self.rates.device}, {self.rates.threads} threads, {self.rates.dtype}"
        by_flops = f"; {', '.join(others)} px computed by FLOPs" if others else ""
        shared = f"; computed: divided by {self.devices} devices" if self.devices > 1 else ""
        return f"{_told_time(self.seconds)} ({', '.join(measured)} px measured on {where}{by_flops}{shared})"


def estimate_cost(
    settings: GeneratorSettings,
    *,
    radiographs: int,
    devices: int = 1,
    rates: Rates | None = None,
    dtype: torch.dtype = torch.float32,
) -> CostEstimate:
    """Count and compute what `settings` cost.

    Args:
        settings: Of the training.
        radiographs: How many are in the set.
        devices: How many train together, each with its part of the batch.
        rates: What `measure_rates` found on a device like those; None = no times.
        dtype: What convolutions compute in; decides memory.

    Raises:
        ValueError: If a batch cannot be shared out to the devices in whole groups.
    """
    for stage in stages(settings):
        group = settings.group_of(stage.batch)
        if devices < 1 or stage.batch % (group * devices):
            raise ValueError(
                f"a batch of {stage.batch} in groups of {group} cannot be shared out to {devices} devices "
                f"at {stage.px} px"
            )
    networks = meta_networks(settings)
    generator, discriminator = count_parameters(networks.generator), count_parameters(networks.discriminator)
    found, shown, steps = [], 0, 0
    for stage in stages(settings):
        cost = _stage_cost(settings, networks, stage, (shown, steps), devices, rates, dtype)
        found.append(cost)
        shown, steps = shown + cost.steps * stage.batch, steps + cost.steps
    checkpoint = FLOAT_BYTES * (4 * generator + 3 * discriminator)  # weights, the average, two moments of each
    each_bytes = sum(px * px for px in pyramid_px(settings.resolution))
    seconds = [cost.seconds for cost in found if cost.seconds is not None]
    time_from: Source = "computed" if devices > 1 or any(c.seconds_from == "computed" for c in found) else "measured"
    return CostEstimate(
        resolution=settings.resolution,
        devices=devices,
        dtype=dtype_name(dtype),
        stages=tuple(found),
        images=sum(cost.images for cost in found),
        steps=steps,
        flops=sum(cost.flops for cost in found),
        generator_parameters=generator,
        discriminator_parameters=discriminator,
        memory_bytes=max(cost.memory_bytes for cost in found),
        checkpoint_bytes=checkpoint,
        checkpoints_bytes=(KEPT + 1) * checkpoint,
        snapshot_bytes=_SNAPSHOT_BYTES * (generator + discriminator),
        radiographs=radiographs,
        radiographs_bytes=radiographs * each_bytes,
        seconds=sum(seconds) if seconds else None,
        rates=rates,
        sources=MappingProxyType(dict.fromkeys(_COMPUTED, "computed") | ({"seconds": time_from} if seconds else {})),
    )


def measure_rate(
    settings: GeneratorSettings,
    stage: Stage,
    dtype: torch.dtype,
    *,
    batch: int | None = None,
    state: TrainingState | None = None,
) -> Rate:
    """Time real steps at full fade weight: one to warm up, two of each kind, the faster counts.

    Args:
        settings: Of the training.
        stage: Which one.
        dtype: What convolutions compute in.
        batch: Images per step; None = the stage's.
        state: Networks to train on, which are spoilt by it; None = new ones.
    """
    state, batch = state or new_state(settings, _device()), batch or stage.batch
    device = next(state.generator.parameters()).device
    devices = Devices(device=device, dtype=dtype)
    noise = torch.rand(batch, settings.channels, stage.px, stage.px, device=device)
    real = (noise * (1 - settings.black) + settings.black).contiguous(memory_format=torch.channels_last)

    def timed(steps: int) -> float:
        state.steps = steps
        started = time.perf_counter()
        train_step(state, settings, real, batch=batch, alpha=1.0, devices=devices)  # reads its losses: synchronises
        return time.perf_counter() - started

    timed(0)  # the larger kind, so that memory is there
    plain = min(timed(1), timed(1))
    every = _penalty_interval(settings)
    penalised = plain if every == 1 else min(timed(0), timed(0))
    return Rate(stage.px, batch, plain + max(penalised - plain, 0.0) / every)


def measure_rates(
    settings: GeneratorSettings, dtype: torch.dtype, *, seconds: float = MEASURE_S, memory: int | None = None
) -> Rates:
    """Measure the stages from the smallest on, as long as their predicted time and memory fit.

    A stage whose whole batch does not fit is measured with one group of images, the smallest batch there is.

    Args:
        settings: Of the training.
        dtype: What convolutions compute in.
        seconds: For all of it; the first stage is measured whatever it takes.
        memory: Bytes a stage may need; None = half of what is free.
    """
    deadline = time.monotonic() + seconds
    most_bytes = memory or int(_free_bytes() * _FREE_SHARE)
    networks, state = meta_networks(settings), new_state(settings, _device())
    steps = 3 if _penalty_interval(settings) == 1 else 5  # as measure_rate takes them
    found: list[Rate] = []
    for stage in stages(settings):
        for batch in (stage.batch, settings.group_of(stage.batch)):
            needed_s = steps * _predicted(settings, networks, stage.px, batch, found[-1]) if found else 0.0
            in_time = not found or needed_s < deadline - time.monotonic()
            if in_time and memory_bytes(networks, stage.px, batch, dtype) < most_bytes:
                found.append(measure_rate(settings, stage, dtype, batch=batch, state=state))
                break
        else:
            break
    cuda = _device().type == "cuda"
    device = torch.cuda.get_device_name() if cuda else f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return Rates(tuple(found), dtype_name(dtype), device, torch.get_num_threads())


def _stage_cost(
    settings: GeneratorSettings,
    networks: Networks,
    stage: Stage,
    before: tuple[int, int],
    devices: int,
    rates: Rates | None,
    dtype: torch.dtype,
) -> StageCost:
    """One stage that starts after `before` images shown and steps taken."""
    shown, steps_before = before
    steps = _steps_to(stage.end_nimg, shown, stage.batch)
    fading = min(_steps_to(stage.start_nimg + stage.fade_nimg, shown, stage.batch), steps)
    every = _penalty_interval(settings)
    penalties = _ceil(steps_before + steps, every) - _ceil(steps_before, every)
    plain = step_flops(networks, stage.px, stage.batch, fading=False, penalty=False)
    faded = step_flops(networks, stage.px, stage.batch, fading=True, penalty=False)
    penalised = step_flops(networks, stage.px, stage.batch, fading=False, penalty=True)
    rate = next((rate for rate in rates.stages if rate.px == stage.px), None) if rates else None
    each_s = None
    if rate:
        each_s = rate.seconds * stage.batch / rate.batch
    elif rates and rates.stages:
        each_s = _predicted(settings, networks, stage.px, stage.batch, rates.stages[-1])
    return StageCost(
        px=stage.px,
        batch=stage.batch,
        images=stage.end_nimg - stage.start_nimg,
        steps=steps,
        flops=steps * plain + fading * (faded - plain) + penalties * (penalised - plain),
        memory_bytes=_PROCESS_BYTES + memory_bytes(networks, stage.px, stage.batch // devices, dtype),
        all_reduce_bytes=gradient_bytes(networks, stage.px, fading=fading > 0) if devices > 1 else 0,
        seconds=None if each_s is None else each_s * steps / devices,
        seconds_from=None if each_s is None else "measured" if rate and devices == 1 else "computed",
    )


def _predicted(settings: GeneratorSettings, networks: Networks, px: int, batch: int, rate: Rate) -> float:
    """Seconds of a step, from a measured rate by FLOPs."""

    def flops(px: int, batch: int) -> float:
        plain = step_flops(networks, px, batch, fading=False, penalty=False)
        penalised = step_flops(networks, px, batch, fading=False, penalty=True)
        return plain + (penalised - plain) / _penalty_interval(settings)

    return rate.seconds * flops(px, batch) / flops(rate.px, rate.batch)


def _penalty_interval(settings: GeneratorSettings) -> int:
    """Steps from one gradient penalty to the next."""
    return settings.r1_interval if settings.loss == "logistic" else 1


def _steps_to(nimg: int, shown: int, batch: int) -> int:
    return max(_ceil(nimg - shown, batch), 0)


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _free_bytes() -> int:
    if _device().type == "cuda":
        return torch.cuda.mem_get_info()[0]
    with contextlib.suppress(OSError):  # free memory alone leaves out what the page cache would give back
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def dtype_name(dtype: torch.dtype) -> str:
    """`float32`, `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def _told_bytes(count: int) -> str:
    value, units = float(count), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 1000 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"


def _told_time(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
