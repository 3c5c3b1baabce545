#!/usr/bin/env python3
"""What the trainer is worth beside pro-gan-pth 3.4: prints tables, then one JSON object.

.venv/bin/python scripts/bench_train.py [--quick]

1. A training step with the peer's widths and WGAN-GP, and images per second, the two sides taking turns in one run.
2. The share of our step that its convolutions alone would take, each in its best layout and precision.
3. Unless --quick: KID to held-out films after --minutes of training at 32 px on all processors, ours against the peer's
   trainer with our widths, at equal time and at equal images. An interrupted bench goes on with what --work holds.

Needs radiographs in --data (mednist) for the third part, and a package index for the peer (XRARCHIVE_PIP_ARGS).
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import hashlib
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from xrarchive.features import IMAGENET, imagenet_features
from xrarchive.files import write_json
from xrarchive.gan.checkpoints import load_newest
from xrarchive.gan.cost import estimate_cost, measure_rates
from xrarchive.gan.devices import Devices, computes_bfloat16
from xrarchive.gan.draws import fixed_latents
from xrarchive.gan.sampling import generate
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState, new_state
from xrarchive.gan.step import train_step
from xrarchive.gan.training import TRAINING_SPLITS, Watch, keep_heap, train_generator
from xrarchive.pixels import Pixels
from xrarchive.radiographs import RadiographSet, ingest, open_set
from xrarchive.records import Status
from xrarchive.validation.fidelity import KERNEL, measure_fidelity

REPOSITORY = Path(__file__).resolve().parent.parent
PEER = ("pro-gan-pth", "3.4")
PEER_SCRIPT = REPOSITORY / "scripts" / "bench_train_peer.py"
KEYS = (
    *("train_ratio_32", "train_ratio_64", "conv_share_64", "sample_ratio_64", "sample_ratio_256"),
    *("kid_ratio_time", "kid_ratio_images"),
)
QUALITY_PX, QUALITY_IMAGES = 32, 2_000
SAMPLE_BATCHES = 4
# Of the time a run is given, what steps may take: the rest goes to grids and checkpoints, which measuring leaves out.
STEP_SHARE = 0.95
_PROGRESS_S, _CLOCK_S = 30.0, 5.0
_CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
_LAYOUTS = (torch.contiguous_format, torch.channels_last)

Json = dict[str, Any]
Call = tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """How much is measured, and at what size: other sizes are for trying the bench out.

    Attributes:
        train_rounds: By resolution, turns of a step each.
        sample_rounds: By resolution, turns of a batch each.
        sample_batch: By resolution, images in it.
        cycles: Penalty cycles timed for the share of the convolutions.
        width_max: Widths are as in the peer, min(width_max, 32768 / px); 512 is its own.
    """

    train_rounds: dict[int, int]
    sample_rounds: dict[int, int]
    sample_batch: dict[int, int]
    cycles: int = 8
    width_max: int = 512


QUICK = Plan({32: 3, 64: 2}, {64: 2, 256: 2}, {64: 16, 256: 4}, cycles=4)
FULL = Plan({32: 6, 64: 4}, {64: 5, 256: 5}, {64: 16, 256: 4})


def main() -> int:
    arguments = parse(sys.argv[1:])
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads)
    keep_heap()  # as a training does
    arguments.work.mkdir(parents=True, exist_ok=True)
    with Peer(make_environment(arguments.work), threads) as peer:
        result = measure_speed(peer, QUICK if arguments.quick else FULL)
        result |= dict.fromkeys(("kid_ratio_time", "kid_ratio_images"))
        if not arguments.quick:
            result |= measure_quality(peer, arguments.data, arguments.work, arguments.minutes * 60)
        versions = {name: metadata.version(name) for name in ("torch", "numpy", "xrarchive")}
        result |= {
            "machine": machine(),
            "threads": threads,
            "versions": {**versions, PEER[0]: PEER[1], "python": platform.python_version()},
            "peer": peer.hello,
            "dtype": dtype_name(auto_dtype()),
            "idle_share": peer.idle_share(),
        }
    print(
        f"\n{result['machine']}, {threads} threads; {result['versions']}; idle side's processor: {result['idle_share']}"
    )
    print(json.dumps({**{key: result[key] for key in KEYS}, **result}))
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("XRARCHIVE_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--quick", action="store_true", help="speed only, few rounds: under 10 minutes on 2 processors")
    parser.add_argument("--minutes", type=float, default=20, help="of each side's training [default: 20]")
    parser.add_argument("--data", type=Path, default=data, help="folder with mednist [default: XRARCHIVE_DATA]")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "runs" / "bench", help="[default: runs/bench]")
    return parser.parse_args(words)


# --- the peer -----------------------------------------------------------------------------------------------------


def make_environment(work: Path) -> Path:
    """The Python of the peer's own environment, made if it is not there: our version of torch, and the peer."""
    wanted = metadata.version("torch").partition("+")[0]
    folder = work / f"peer-torch-{wanted}"
    python, stamp = folder / "bin" / "python", folder / "complete"
    if not stamp.exists():
        say("making the peer's environment")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        more = shlex.split(os.environ.get("XRARCHIVE_PIP_ARGS", ""))
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *more]
        pip += ["--constraint", REPOSITORY / "scripts" / "constraints.txt"]
        with_torch = [*pip, "setuptools", "wheel", f"torch=={wanted}", "numpy", "pillow"]
        subprocess.run(with_torch, check=True, stdout=sys.stderr)
        itself = [*pip, "--no-deps", "--no-build-isolation", "==".join(PEER)]
        subprocess.run(itself, check=True, stdout=sys.stderr)
        stamp.touch()
    return python


class Peer:
    """The peer's process; it waits while we compute, and we wait while it does."""

    def __init__(self, python: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [python, "-I", PEER_SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self._waited_s = self._waited_cpu_s = 0.0
        self.hello = self.ask("hello", threads=threads)
        self._opened_s, self._opened_cpu_s = time.monotonic(), self.ask("processor")["seconds"]
        self._busy_s = self._busy_cpu_s = 0.0

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # ends it
        self._process.wait(timeout=60)

    def ask(self, do: str, **what: object) -> Json:
        """Have it do something, and wait."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        started, processor = time.monotonic(), time.process_time()
        try:
            self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the peer's process ended while asked to {do}; what it said stands above")
        self._waited_s += time.monotonic() - started
        self._waited_cpu_s += time.process_time() - processor
        answer: Json = json.loads(line)
        return answer

    def timed_by(self, work: Callable[[], float]) -> float:
        """What `work`, which is ours, gives, while the peer's use of the processor is looked at."""
        before, started = self.ask("processor")["seconds"], time.monotonic()
        found = work()
        self._busy_s += time.monotonic() - started
        self._busy_cpu_s += self.ask("processor")["seconds"] - before
        return found

    def idle_share(self) -> dict[str, float]:
        """Processors each side used while the other computed: 0 if it slept."""
        theirs = self._busy_cpu_s / max(self._busy_s, 1e-9)
        return {"theirs": round(theirs, 4), "ours": round(self._waited_cpu_s / max(self._waited_s, 1e-9), 4)}


# --- speed --------------------------------------------------------------------------------------------------------


def measure_speed(peer: Peer, plan: Plan) -> Json:
    """Everything but quality."""
    result: Json = {}
    for px, rounds in plan.train_rounds.items():
        found = train_ratio(peer, px, rounds, plan.width_max)
        result |= {f"train_ratio_{px}": found["ratio"]["median"], f"train_{px}": found}
    result |= conv_share(64, plan.cycles)
    for px, rounds in plan.sample_rounds.items():
        found = sample_ratio(peer, px, rounds, plan.sample_batch[px], plan.width_max)
        result |= {f"sample_ratio_{px}": found["ratio"]["median"], f"sample_{px}": found}
    return result


def train_ratio(peer: Peer, px: int, rounds: int, width_max: int, batch: int = 16) -> Json:
    """Their seconds per step over ours, at full resolution, with their widths and loss.

    Both draw their latents within the step, and neither loads radiographs. A turn is a step of the peer and one of
    ours. Ours is warmed up with a whole step, the peer with a step of 4 images: beside its own steps what is left to
    set up is nothing.
    """
    settings = peer_settings(px, width_max, loss="wgan-gp", batch=batch)
    opened = peer.ask("open_networks", px=px, latent_size=512, widths=peer_widths(settings))
    step = our_step(settings, auto_dtype())
    peer.ask("train_step", batch=4)
    peer.timed_by(step)
    theirs, ours = [], []
    for _ in range(rounds):
        theirs += peer.ask("train_step", batch=batch)["seconds"]
        ours.append(peer.timed_by(step))
    found = {"ratio": spread(ratios(theirs, ours)), "theirs_s": spread(theirs), "ours_s": spread(ours)}
    print(
        f"Training step, {px} px, {batch} images: {told(found['ratio'])} times faster in {dtype_name(auto_dtype())} "
        f"({told(found['ours_s'])} s against {told(found['theirs_s'])} s in float32, {rounds} rounds)",
        flush=True,
    )
    return {**found, "rounds": rounds, "batch": batch, "peer_parameters": opened["parameters"]}


def sample_ratio(peer: Peer, px: int, rounds: int, batch: int, width_max: int) -> Json:
    """Our images per second over theirs, latents to uint8 pixels; ours also in float32, which is all they have.

    A turn is `SAMPLE_BATCHES` batches on each side: ours makes its kernels ready once for all of them, as in use.
    """
    settings = peer_settings(px, width_max)
    peer.ask("open_networks", px=px, latent_size=512, widths=peer_widths(settings))
    count = SAMPLE_BATCHES * batch
    generator, latents = new_state(settings).averaged, fixed_latents(settings, count)
    precisions = list(dict.fromkeys((torch.float32, auto_dtype())))

    def ours(dtype: torch.dtype) -> float:
        started = time.perf_counter()
        generate(generator, latents, batch=batch, dtype=dtype)
        return time.perf_counter() - started

    peer.ask("sample", batch=1)
    for dtype in precisions:
        ours(dtype)
    theirs: list[float] = []
    mine: dict[str, list[float]] = {dtype_name(dtype): [] for dtype in precisions}
    for _ in range(rounds):
        theirs.append(sum(peer.ask("sample", batch=batch)["seconds"] for _ in range(SAMPLE_BATCHES)))
        for dtype in precisions:
            mine[dtype_name(dtype)].append(peer.timed_by(lambda dtype=dtype: ours(dtype)))  # type: ignore[misc]
    found: Json = {name: spread(ratios(theirs, seconds)) for name, seconds in mine.items()}
    chosen = dtype_name(auto_dtype())
    best = {name: spread([count / second for second in seconds]) for name, seconds in mine.items()}
    print(
        f"Images, {px} px, {batch} at a time: {told(found[chosen])} times faster in {chosen}, "
        f"{told(found['float32'])} in float32 ({told(best[chosen])} images/s in {chosen}, {rounds} rounds)",
        flush=True,
    )
    their_rate = spread([count / second for second in theirs])
    return {"ratio": found[chosen], "by_dtype": found, "images_per_s": best, "theirs_images_per_s": their_rate}


class Recorded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every convolution by its operation, shapes, dtypes and settings."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: collections.Counter[Call] = collections.Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _CONVOLUTIONS:
            self.calls[(func, *map(signature, args))] += 1
        return func(*args, **(kwargs or {}))


def conv_share(px: int, cycles: int, settings: GeneratorSettings | None = None) -> Json:
    """What the step's convolutions take, each alone at its best, over what the step takes; preset balanced."""
    settings, dtype = settings or GeneratorSettings(resolution=px), auto_dtype()
    every = settings.r1_interval
    step = our_step(settings, dtype)

    def cycle() -> float:
        return sum(step() for _ in range(every)) / every

    cycle()
    with Recorded() as recorded:
        cycle()
    seconds = [cycle() for _ in range(cycles - cycles // 2)]
    best = {call: best_seconds(call) for call in recorded.calls}
    seconds += [cycle() for _ in range(cycles // 2)]  # before and after, lest the machine has changed meanwhile
    costs = {call: best[call][0] * count / every for call, count in recorded.calls.items()}
    alone = sum(costs.values())
    shares = spread([alone / second for second in seconds])
    print(f"Convolutions alone over the step, {px} px, balanced: {told(shares)} ({alone * 1e3:.0f} ms of", end=" ")
    print(f"{told(spread(seconds))} s, {len(best)} distinct calls, {cycles} cycles of {every} steps). The largest:")
    largest = sorted(costs, key=costs.__getitem__, reverse=True)[:10]
    lines = [
        f"{costs[call] * 1e3:7.1f} ms {recorded.calls[call] / every:5.2f} x {describe(call, *best[call][1:])}"
        for call in largest
    ]
    print("\n".join(lines), flush=True)
    return {
        "conv_share_64": shares["median"],
        "conv_64": {"share": shares, "convolutions_s": alone, "step_s": spread(seconds)},
    }


def best_seconds(call: Call) -> tuple[float, str, str]:
    """The fastest of some runs of a recorded call in each layout, as called and in float32; which those were."""
    found = []
    dtypes = {part[2] for part in call[1:] if is_tensor(part)}
    for dtype in dict.fromkeys((*dtypes, torch.float32)):
        for layout in _LAYOUTS:
            arguments = [rebuilt(part, dtype, layout) for part in call[1:]]
            call[0](*arguments)
            seconds = min(timed(lambda: call[0](*arguments)) for _ in range(8))  # noqa: B023  (called at once)
            found.append((seconds, dtype_name(dtype), str(layout).removeprefix("torch.")))
    return min(found)


def signature(value: Any) -> Any:
    """An argument as a key: a tensor by shape and dtype, lists as tuples."""
    if isinstance(value, Tensor):
        return ("tensor", tuple(value.shape), value.dtype)
    return tuple(value) if isinstance(value, list | tuple) else value


def rebuilt(part: Any, dtype: torch.dtype, layout: torch.memory_format) -> Any:
    """An argument from its key, a tensor of noise in another dtype and layout."""
    if not is_tensor(part):
        return list(part) if isinstance(part, tuple) else part
    noise = torch.randn(part[1]).to(dtype)
    return noise.contiguous(memory_format=layout) if noise.dim() == 4 else noise


def is_tensor(part: Any) -> bool:
    return isinstance(part, tuple) and part[:1] == ("tensor",)


def describe(call: Call, dtype: str, layout: str) -> str:
    shapes = " ".join("x".join(map(str, part[1])) for part in call[1:] if is_tensor(part))
    wanted = f", wanted {list(call[-1])}" if "backward" in call[0].name() else ""
    return f"{call[0].name().removeprefix('aten::')} {shapes}{wanted}; best in {dtype}, {layout}"


def our_step(settings: GeneratorSettings, dtype: torch.dtype) -> Callable[[], float]:
    """Seconds of a step at full resolution and fade weight, on radiographs that are noise."""
    state, devices = new_state(settings), Devices(dtype=dtype)
    real = torch.rand(settings.batch, 1, settings.resolution, settings.resolution) * 2 - 1
    real = real.contiguous(memory_format=torch.channels_last)
    return lambda: timed(lambda: train_step(state, settings, real, batch=settings.batch, alpha=1.0, devices=devices))


def peer_settings(px: int, width_max: int, **more: Any) -> GeneratorSettings:
    """Ours with the peer's widths: its stage s, of 2^(s + 1) px, has min(512, 16384 / 2^s) channels."""
    return GeneratorSettings(resolution=px, width_max=width_max, width_base=32_768, latent_size=512, **more)


def peer_widths(settings: GeneratorSettings) -> list[int]:
    """Channels of its stages, 4 px first."""
    return [settings.width(4 << index) for index in range((settings.resolution // 4).bit_length())]


# --- quality ------------------------------------------------------------------------------------------------------


def measure_quality(peer: Peer, data: Path, work: Path, seconds: float) -> Json:
    """KID of both sides after the same time, and of ours after as many images as the peer had shown."""
    films = mednist(data, work)
    held_out = films.unseen_rows("holdout", seen=TRAINING_SPLITS)
    real = imagenet_features(films.read(held_out, QUALITY_PX))
    patients = np.unique(films.patients[held_out], return_inverse=True)[1].astype(np.int64)

    def kid(images: Pixels) -> Json:
        return dict(
            measure_fidelity(KERNEL, imagenet_features(images), real, patients=patients, seed=0, space=IMAGENET)
        )

    theirs = train_theirs(peer, films, work, seconds)
    same_time = train_ours(films, work, planned(seconds), seconds)
    same_images = train_ours(films, work, GeneratorSettings(resolution=QUALITY_PX, nimg=theirs["nimg"]), None)
    sides = {"theirs": theirs, "ours_time": same_time, "ours_images": same_images}
    for side in sides.values():
        side["kid"] = kid(np.load(side["images"]))
    for name, side in sides.items():
        found, floor = side["kid"], side["kid"]["floor"]
        print(
            f"KID, {name}: {found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f}), real vs real "
            f"{floor['value']:.4f}; {side['nimg']:,} images in {side['seconds']:.0f} s",
            flush=True,
        )
    value = theirs["kid"]["value"]
    kept = ("nimg", "seconds", "kid", "settings", "shown")
    return {
        "kid_ratio_time": same_time["kid"]["value"] / value,
        "kid_ratio_images": same_images["kid"]["value"] / value,
        "quality": {name: {key: side[key] for key in kept if key in side} for name, side in sides.items()},
    }


def mednist(data: Path, work: Path) -> RadiographSet:
    """The radiographs at the size of the comparison."""
    folder = work / f"mednist{QUALITY_PX}"
    ingest(data / "mednist", folder, size_px=QUALITY_PX, terms=("mednist",))
    return open_set(folder)


def planned(seconds: float) -> GeneratorSettings:
    """The preset balanced, as long as fills the time at the rates of its stages measured now."""
    base = GeneratorSettings(resolution=QUALITY_PX)
    needed = estimate_cost(base, radiographs=1, rates=measure_rates(base, auto_dtype())).seconds
    assert needed is not None
    nimg = int(base.nimg * STEP_SHARE * seconds / needed)
    return GeneratorSettings(resolution=QUALITY_PX, nimg=max(nimg, base.batch * base.stages))


class TimeUpError(Exception):
    """The time a training was given is over."""


def train_ours(films: RadiographSet, work: Path, settings: GeneratorSettings, seconds: float | None) -> Json:
    """Train by `train_generator`, at most for `seconds`, and keep images of the averaged generator.

    What was begun goes on: with the images it was planned for, and with the time it has had.
    """
    key = "time" if seconds else "images"
    asked = seconds or settings.nimg
    folder = work / f"ours-{key}-{cache_key(films.sha256, asked, dtype_name(auto_dtype()), sources())}"
    result = folder / "result.json"
    if result.exists():
        return read(result)
    folder.mkdir(exist_ok=True)
    clock = Clock(folder / "clock.json", settings.nimg, seconds)
    settings = dataclasses.replace(settings, nimg=clock.nimg, growth_nimg=0)
    previous = signal.signal(signal.SIGUSR1, raise_time_up)
    try:
        train_generator(films, folder / "run", settings=settings, watch=Watch(metric_nimg=0), on_status=clock.tell)
    except TimeUpError:
        say("the time is over before the images are")
    finally:
        signal.signal(signal.SIGUSR1, previous)
    state = new_state(settings)
    load_newest(folder / "run", state)
    save_images(folder / "images.npy", state, settings)
    made = {"nimg": state.nimg, "seconds": clock.spent(), "images": str(folder / "images.npy")}
    write_json(result, {**made, "settings": dataclasses.asdict(settings)})
    return read(result)


def save_images(path: Path, state: TrainingState, settings: GeneratorSettings) -> None:
    np.save(path, generate(state.averaged, fixed_latents(settings, QUALITY_IMAGES)))


def raise_time_up(_number: int, _frame: FrameType | None) -> None:
    raise TimeUpError


class Clock:
    """How long a training has taken, over interruptions; at the limit it asks the training to save and stop."""

    def __init__(self, path: Path, nimg: int, limit_s: float | None) -> None:
        before = read(path) if path.exists() else {"nimg": nimg, "seconds": 0.0}
        self.nimg = int(before["nimg"])
        self._path, self._limit_s, self._before_s = path, limit_s, float(before["seconds"])
        self._started_s = time.monotonic()
        self._now_s = self._kept_s = self._told_s = 0.0
        self._keep()

    def tell(self, status: Status) -> None:
        """`on_status` of the training."""
        self._now_s = time.monotonic() - self._started_s
        if self._now_s - self._kept_s > _CLOCK_S:
            self._keep()
        if self._now_s - self._told_s > _PROGRESS_S:
            self._told_s = self._now_s
            say(f"ours: {status.text}, {status.done:,} of {status.total:,} images, {self.spent():.0f} s")
        if self._limit_s is not None and self.spent() >= self._limit_s:
            self._limit_s = None  # asks once
            signal.raise_signal(signal.SIGUSR1)

    def spent(self) -> float:
        """Seconds, those before an interruption included."""
        return self._before_s + self._now_s

    def _keep(self) -> None:
        self._kept_s = self._now_s
        write_json(self._path, {"nimg": self.nimg, "seconds": self.spent()})


def train_theirs(peer: Peer, films: RadiographSet, work: Path, seconds: float) -> Json:
    """Train by the peer's own steps with our widths and latents; see `bench_train_peer.train`."""
    ours = GeneratorSettings(resolution=QUALITY_PX)
    asked = {"px": QUALITY_PX, "latent_size": ours.latent_size, "widths": peer_widths(ours), "seconds": seconds}
    folder = work / f"theirs-{cache_key(films.sha256, asked, peer.hello, PEER_SCRIPT.read_text())}"
    result = folder / "result.json"
    if not result.exists():
        folder.mkdir(exist_ok=True)
        data = folder / "films.npy"
        np.save(data, films.read(films.rows(*TRAINING_SPLITS), QUALITY_PX))
        made = peer.ask("train", data=str(data), out=str(folder), images=QUALITY_IMAGES, **asked)
        write_json(result, {**made, "images": str(folder / "images.npy"), "settings": asked})
    return read(result)


# --- small things -------------------------------------------------------------------------------------------------


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """How many times faster we are, turn by turn."""
    return [their / our for their, our in zip(theirs, ours, strict=True)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, middle and largest of some values."""
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}


def told(found: dict[str, float]) -> str:
    """`2.31 (2.2 to 2.4)`."""
    return f"{found['median']:.3g} ({found['min']:.3g} to {found['max']:.3g})"


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def auto_dtype() -> torch.dtype:
    """What precision `auto` means here."""
    return torch.bfloat16 if computes_bfloat16(torch.device("cpu")) else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def cache_key(*parts: object) -> str:
    """Names what a result depends on."""
    return hashlib.sha256(json.dumps([parts, metadata.version("torch"), torch.get_num_threads()]).encode()).hexdigest()[
        :12
    ]


def sources() -> str:
    """Sha256 over the code of the trainer: other code, other results."""
    files = sorted((REPOSITORY / "xrarchive" / "gan").glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} processors, {torch.backends.cpu.get_cpu_capability()}"


def read(path: Path) -> Json:
    found: Json = json.loads(path.read_text())
    return found


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
