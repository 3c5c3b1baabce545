"""What can befall a training or a build, done to a tiny one again and again: by `scripts/soak`, and in tests.

Each loop takes a `World`, how often, and a random generator; it gives a `Tally`, whose misses say what did not hold.
A training takes half a second and its imports three, so that children are forked after the imports. This process must
not have threads that a fork would lose: torch must run with one.

Run as `python faults.py SET OUT FAULT RANK NIMG TIMEOUT`, this is one process of a torchrun that is befallen itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from xrarchive.errors import InputDataError, StorageError, XrArchiveError
from xrarchive.files import TEMPORARY_PREFIX, sha256_file
from xrarchive.gan import checkpoints, step, training
from xrarchive.gan.devices import Devices
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState
from xrarchive.gan.training import TrainingReport, Watch, train_generator
from xrarchive.radiographs import RadiographSet, open_set
from xrarchive.records import Status

SETTINGS = GeneratorSettings(
    resolution=16, nimg=240, start_px=8, latent_size=4, width_max=4, batch=8, checkpoint_nimg=80, averaging=0.999,
    precision="float32",
)  # fmt: skip
UNMEASURED = Watch(metric_nimg=0)  # a KID takes seconds
STEPS = SETTINGS.nimg // SETTINGS.batch
_TOUCHES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
_PHASES = ("starting", "8 px", "16 px fading", "16 px", "saving")
_NEW_MOUNTS = 0x0002_0000  # CLONE_NEWNS
_PRIVATE = 0x0004_4000  # MS_REC | MS_PRIVATE
_TMPFS_BYTES = 1 << 20
_LATE_S = 120.0  # a busy machine, and 5 s in which torchrun waits for a process that cannot answer


@dataclass(frozen=True)
class World:
    """A folder to work in, and the undisturbed run to compare with."""

    radiographs: RadiographSet
    folder: Path
    straight: Path


@dataclass
class Tally:
    """What a loop saw; `skipped` says why it could not run."""

    name: str
    count: int = 0
    misses: list[str] = field(default_factory=list)
    detail: str = ""
    skipped: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        words = f"skipped: {self.skipped}" if self.skipped else f"{self.count} times, {len(self.misses)} missed"
        return "\n  ".join([f"{self.name}: {words}, {self.seconds:.0f} s. {self.detail}", *self.misses])


def make_world(radiographs: Path, folder: Path) -> World:
    world = World(open_set(radiographs), folder, folder / "straight")
    train(world, world.straight)
    return world


def train(world: World, out: Path, **changes: Any) -> TrainingReport:
    rest = {name: changes.pop(name) for name in ("on_status", "on_nan", "timeout_s") if name in changes}
    settings = dataclasses.replace(SETTINGS, **changes)
    return train_generator(world.radiographs, out, settings=settings, watch=UNMEASURED, **rest)


def result(out: Path) -> tuple[str, str]:
    """What two equal runs have in common to the last bit: the snapshot, and the newest checkpoint's state."""
    newest = max((out / "checkpoints").glob("nimg-*"))
    return sha256_file(out / "generator.safetensors"), sha256_file(newest / "state.safetensors")


def leftovers(out: Path) -> list[str]:
    return [str(path.relative_to(out)) for path in out.rglob(f"{TEMPORARY_PREFIX}*")]


# Processes


def forked(job: Callable[[], object]) -> int:
    """The id of a child that does `job`, and ends with the exit code a command would."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job()
            code = 0
        except XrArchiveError as err:
            code = err.code
        except SystemExit as err:
            code = err.code if isinstance(err.code, int) else bool(err.code)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child


def wait(child: int) -> int:
    """How a child ended: its exit code, or minus the signal it died of."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def together(size: int, job: Callable[[], object]) -> list[int]:
    """Do `job` in `size` forked processes that are to each other what torchrun would make them; how they ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def member(rank: int) -> None:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()})
        job()

    children = [forked(lambda rank=rank: member(rank)) for rank in range(size)]  # type: ignore[misc]
    return [wait(child) for child in children]


def torchrun(*arguments: object, restarts: int = 0, processes: int = 2, shutdown_s: int = 5) -> subprocess.Popen[str]:
    """Start torchrun with this Python and `arguments`; `shutdown_s` is how long a process may take to end when told."""
    options = ["--standalone", f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    options += [f"--shutdown-timeout={shutdown_s}"]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def start_command(world: World, out: Path, *options: str) -> tuple[str, ...]:
    """What follows `python` to train `SETTINGS` into `out` with the real command."""
    settings = dataclasses.asdict(SETTINGS)
    rest = ("start_px", "latent_size", "width_max", "checkpoint_nimg", "averaging", "precision")
    sets = [word for name in rest for word in ("--set", f"{name}={json.dumps(settings[name])}")]
    named = ["--resolution", "16", "--nimg", "240", "--batch", "8", "--metric-every", "0"]
    command = ("-m", "xrarchive", "train", "generator", str(world.radiographs.folder), "--out", str(out))
    return (*command, *named, *sets, *options)


def befallen(world: World, out: Path, fault: str, *, rank: int, nimg: int, timeout_s: float) -> tuple[object, ...]:
    """Arguments for `torchrun`: train into `out`, and have `rank` do `fault` to itself at `nimg` images, once."""
    return Path(__file__), world.radiographs.folder, out, fault, rank, nimg, timeout_s


# Loops


def same_twice(world: World, count: int, rng: random.Random) -> Tally:  # noqa: ARG001
    tally = Tally("the same run again")
    for index in range(count):
        out = world.folder / f"again-{index}"
        train(world, out)
        _count(tally, world, out, result(world.straight))
    return tally


def kills(world: World, count: int, rng: random.Random) -> Tally:
    """SIGKILL at a random file operation, right after a random step or at a random moment, until the run is through."""
    tally, out, phases = Tally("SIGKILL"), world.folder / "kills", Counter[str]()
    board, started_s = _Board(), time.monotonic()
    assert not wait(forked(lambda: _watched(world, out, board)))
    seconds, touches = time.monotonic() - started_s, board.touches
    shutil.rmtree(out)
    finished = 0
    while tally.count < count:
        board, moment = _Board(), rng.choice(["touch", "step", "time"])
        at = {"touch": rng.randint(1, touches), "step": rng.randint(1, STEPS), "time": 0}[moment]
        child = forked(lambda: _watched(world, out, board, **{moment: at}))  # noqa: B023 - it is forked at once
        if moment == "time":
            time.sleep(rng.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        ended = wait(child)
        if ended == -signal.SIGKILL:
            tally.count += 1
            phases[board.phase] += 1
        elif ended == 0:
            finished += 1
            _compare(tally, out, result(world.straight))
        else:
            tally.misses.append(f"kill {tally.count}: the run ended with {ended}")
            shutil.rmtree(out, ignore_errors=True)
    if wait(forked(lambda: train(world, out))):
        tally.misses.append("the last run failed")
    else:
        _compare(tally, out, result(world.straight))
    killed = ", ".join(f"{name} {phases[name]}" for name in _PHASES)
    tally.detail = f"Killed while {killed}; {finished + 1} runs ended, all compared."
    return tally


class _Board:
    """What a child tells its parent, and a kill does not take away."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 16)

    @property
    def phase(self) -> str:
        return _PHASES[self._shared[0]]

    @phase.setter
    def phase(self, name: str) -> None:
        self._shared[0] = _PHASES.index(name)

    @property
    def touches(self) -> int:
        return int.from_bytes(self._shared[8:16], "little")

    @touches.setter
    def touches(self, count: int) -> None:
        self._shared[8:16] = count.to_bytes(8, "little")


def _watched(world: World, out: Path, board: _Board, *, touch: int = 0, step: int = 0, time: int = 0) -> None:  # noqa: ARG001
    """Train, telling where it is, and die at the `touch`th file operation or after the `step`th step, counted here."""
    steps = 0

    def on_touch(event: str, arguments: tuple[object, ...]) -> None:
        if event in _TOUCHES and any(str(out) in str(argument) for argument in arguments):
            board.touches += 1
            if board.touches == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_status(status: Status) -> None:
        nonlocal steps
        px, alpha = (part.split()[-1 if "alpha" in part else 0] for part in status.text.split(", ")[:2])
        board.phase = f"{px} px fading" if float(alpha) < 1 else f"{px} px"
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def saving(save: Callable[..., Any]) -> Callable[..., Any]:
        def saved(*arguments: Any) -> Any:
            before, board.phase = board.phase, "saving"
            found = save(*arguments)
            board.phase = before
            return found

        return saved

    sys.addaudithook(on_touch)
    for name in ("save_checkpoint", "_save_snapshot"):
        setattr(training, name, saving(getattr(training, name)))
    train(world, out, on_status=on_status)


def fills(world: World, count: int, rng: random.Random) -> Tally:
    """Run out of space on a tmpfs of our own, at `count` levels from none to almost enough."""
    reading, writing = os.pipe()
    child = forked(lambda: os.write(writing, json.dumps(dataclasses.asdict(_fill(world, count, rng))).encode()))
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        told = stream.read()
    return Tally(**json.loads(told)) if wait(child) == 0 else Tally("full disk", misses=["the loop failed"])


def _fill(world: World, count: int, rng: random.Random) -> Tally:
    tally, places = Tally("full disk"), Counter[str]()
    disk = world.folder / "disk"
    disk.mkdir()
    tally.skipped = _mount(disk)
    if tally.skipped:
        return tally
    train(world, disk / "run")
    needed = _TMPFS_BYTES - _free(disk)
    for level in range(count):
        shutil.rmtree(disk / "run")
        ballast = disk / "ballast"
        with ballast.open("wb") as stream:
            stream.write(bytes(_free(disk) - int(needed * (level + rng.random()) / count)))
        told = "it fitted"
        try:
            train(world, disk / "run")
        except StorageError as err:
            told = str(Path(err.path or "").relative_to(disk / "run")).partition("/")[0] if err.path else "?"
        except Exception as err:
            tally.misses.append(f"level {level}: {err!r}")
        places[told] += 1
        if leftovers(disk):
            tally.misses.append(f"level {level}: left {leftovers(disk)}")
        for path in (disk / "run").glob("checkpoints/nimg-*"):
            if not checkpoints._intact(path):
                tally.misses.append(f"level {level}: {path.name} is damaged")
        ballast.unlink()
        train(world, disk / "run")
        tally.count += 1
        if result(disk / "run") != result(world.straight):
            tally.misses.append(f"level {level}: the run went on to another result")
    tally.detail = "Refused at " + ", ".join(f"{name} {times}" for name, times in places.most_common()) + "."
    return tally


def _mount(folder: Path) -> str:
    """Mount a tmpfs there that only this process sees; why not, if it cannot be."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps: list[Callable[[], int]] = [
        lambda: libc.unshare(_NEW_MOUNTS),
        lambda: libc.mount(b"none", b"/", None, _PRIVATE, None),
        lambda: libc.mount(b"none", bytes(folder), b"tmpfs", 0, f"size={_TMPFS_BYTES}".encode()),
    ]
    for do in steps:
        if do():
            return f"no tmpfs of our own here ({os.strerror(ctypes.get_errno())})"
    return ""


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_bsize


def nans(world: World, count: int, rng: random.Random) -> Tally:
    """NaN or infinity in a loss or a gradient of either network, at random steps of all phases."""
    tally, out = Tally("NaN"), world.folder / "nan"
    steps = sorted(rng.sample(range(STEPS), min(count, STEPS)))
    for index, at in enumerate(steps):
        network = ("discriminator", "generator")[index % 2]
        spoil = spoiled_loss if index // 2 % 2 else spoiled_gradient
        value = float("nan") if index // 4 % 2 else float("inf")
        name = f"{value} in the {network}'s {'loss' if spoil is spoiled_loss else 'gradient'} at step {at}"
        with spoil(network, {at}, value), _last_state() as states:
            try:
                train(world, out)
                tally.misses.append(f"{name}: not noticed")
            except InputDataError as err:
                if f"after {at * SETTINGS.batch} images" not in err.message:
                    tally.misses.append(f"{name}: {err.message}")
        if not all(bool(torch.isfinite(value).all()) for value in checkpoints._tensors(states[-1]).values()):
            tally.misses.append(f"{name}: it reached the weights")
        kept = sorted((out / "checkpoints").glob("nimg-*"))
        if len(kept) != min(2, at * SETTINGS.batch // SETTINGS.checkpoint_nimg) or not all(
            map(checkpoints._intact, kept)
        ):
            tally.misses.append(f"{name}: checkpoints {kept}")
        _count(tally, world, out, result(world.straight), name)
    tally.detail = f"At steps {steps}."
    return tally


@contextlib.contextmanager
def _last_state() -> Iterator[list[TrainingState]]:
    made, states = training.new_state, list[TrainingState]()  # type: ignore[attr-defined]

    def keep(*arguments: Any) -> TrainingState:
        states.append(made(*arguments))
        return states[-1]

    with patch.object(training, "new_state", keep):
        yield states


@contextlib.contextmanager
def spoiled_loss(network: str, calls: set[int], value: float = float("nan")) -> Iterator[None]:
    """Add `value` to the loss of a network in those of its updates, counted from 0."""
    name, seen = f"{network}_loss", iter(range(1_000_000))
    loss = getattr(step, name)

    def spoiled(*arguments: Any) -> torch.Tensor:
        return loss(*arguments) + (value if next(seen) in calls else 0.0)  # type: ignore[no-any-return]

    with patch.object(step, name, spoiled):
        yield


@contextlib.contextmanager
def spoiled_gradient(network: str, calls: set[int], value: float = float("nan")) -> Iterator[None]:
    """Put `value` into a gradient of a network in those of its updates, counted from 0."""
    agree, seen = Devices.agree, iter(range(1_000_000))

    def spoiled(self: Devices, module: torch.nn.Module, *figures: torch.Tensor) -> tuple[float, ...]:
        if type(module).__name__.lower() == network and next(seen) in calls:
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            gradients[-1].flatten()[0] = value
        return agree(self, module, *figures)

    with patch.object(Devices, "agree", spoiled):
        yield


def flips(world: World, count: int, rng: random.Random) -> Tally:
    """One bit of the newest checkpoint, in its state or (every fourth time) its record."""
    tally = Tally("flipped byte")
    for index in range(count):
        out = world.folder / "flip"
        shutil.copytree(world.straight, out)
        (out / "generator.safetensors").unlink()
        newest = max((out / "checkpoints").glob("nimg-*"))
        file = newest / ("state.safetensors" if index % 4 else "complete.json")
        data, place, bit = bytearray(file.read_bytes()), 0, rng.randrange(8)
        place = rng.randrange(len(data))
        data[place] ^= 1 << bit
        file.write_bytes(data)
        name, shown = f"bit {bit} of byte {place} of {file.name}", list[Status]()
        train(world, out, on_status=shown.append)
        if len(shown) != SETTINGS.checkpoint_nimg // SETTINGS.batch:
            tally.misses.append(f"{name}: {len(shown)} steps were made")
        _count(tally, world, out, result(world.straight), name)
    return tally


def dead_ranks(world: World, count: int, rng: random.Random) -> Tally:
    """One of two processes of a torchrun is killed; torchrun starts both again, once."""
    tally, expected = Tally("a process killed under torchrun"), pair(world)
    for _ in range(count):
        out, rank, nimg = world.folder / "dead", rng.randrange(2), SETTINGS.batch * rng.randint(1, STEPS)
        with torchrun(*befallen(world, out, "SIGKILL", rank=rank, nimg=nimg, timeout_s=60), restarts=3) as job:
            told, _unused = job.communicate()
        name = f"rank {rank} at {nimg} images"
        if job.returncode or "exitcode: -9" not in told:
            tally.misses.append(f"{name}: torchrun ended with {job.returncode}: {told[-2000:]}")
        _count(tally, world, out, expected, name)
    return tally


def frozen_ranks(world: World, count: int, rng: random.Random) -> Tally:
    """One of two processes of a torchrun freezes; the job ends badly in time, and the same command finishes it."""
    tally, expected, timeout_s, at_once, longest = Tally("a process frozen under torchrun"), pair(world), 8.0, 3, 0.0
    while tally.count < count:
        jobs = []
        for index in range(tally.count, min(tally.count + at_once, count)):
            out = world.folder / f"frozen-{index}"
            rank, nimg = rng.randrange(2), SETTINGS.batch * rng.randint(1, STEPS - 1)
            jobs.append((out, torchrun(*befallen(world, out, "SIGSTOP", rank=rank, nimg=nimg, timeout_s=timeout_s))))
        for out, seconds, ended in _ends(jobs, timeout_s + _LATE_S):
            longest = max(longest, seconds)
            if not ended or (out / "generator.safetensors").exists():
                tally.misses.append(f"{out.name}: torchrun ended with {ended} after {seconds:.0f} s")
            if any(together(2, lambda: train(world, out))):  # noqa: B023 - it is forked at once
                tally.misses.append(f"{out.name}: the same command did not finish it")
            _count(tally, world, out, expected, out.name)
    tally.detail = f"Timeout {timeout_s:.0f} s; the last job ended {longest:.0f} s after it froze."
    return tally


def _ends(jobs: list[tuple[Path, subprocess.Popen[str]]], late_s: float) -> list[tuple[Path, float, int | None]]:
    """When and how jobs ended, in seconds after they froze; None for one that hangs, which is killed."""
    ends: dict[Path, tuple[float, int | None]] = {}
    while len(ends) < len(jobs):
        for out, job in jobs:
            frozen = out / "befallen"
            seconds = time.time() - frozen.stat().st_mtime if frozen.exists() else 0.0
            if out not in ends and (job.poll() is not None or seconds > late_s):
                ends[out] = seconds, job.poll()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(job.pid, signal.SIGKILL)
                job.communicate()
        time.sleep(0.05)
    return [(out, *ends[out]) for out, _ in jobs]


def builds(world: World, count: int, rng: random.Random) -> Tally:
    """SIGKILL of an archive's build at random moments, until it is through: always the same bytes."""
    import kill_builds

    tally = Tally("SIGKILL of builds")
    try:
        told = kill_builds.kill_builds(world.folder, kill_builds.make_weights(world.folder), count, rng)
    except AssertionError as err:
        tally.misses.append(str(err))
        return tally
    states = Counter(told["states"])
    tally.count, left = count, ", ".join(f"{state} {times}" for state, times in sorted(states.items()))
    tally.detail = f"Left {left}; {told['completed']} builds ended, all compared."
    return tally


def pair(world: World) -> tuple[str, str]:
    """The result of two undisturbed processes."""
    out = world.folder / "pair"
    if not (out / "generator.safetensors").exists():
        assert together(2, lambda: train(world, out)) == [0, 0]
    return result(out)


def _count(tally: Tally, world: World, out: Path, expected: tuple[str, str], name: str = "") -> None:
    """Bring the run in `out` to its end, and compare."""
    tally.count += 1
    if not (out / "generator.safetensors").exists():
        train(world, out)
    _compare(tally, out, expected, name)


def _compare(tally: Tally, out: Path, expected: tuple[str, str], name: str = "") -> None:
    if result(out) != expected:
        tally.misses.append(f"{name or tally.count}: other weights than the undisturbed run")
    if leftovers(out):
        tally.misses.append(f"{name or tally.count}: left {leftovers(out)}")
    shutil.rmtree(out)


LOOPS: dict[str, tuple[Callable[[World, int, random.Random], Tally], int]] = {
    "same": (same_twice, 3),
    "kills": (kills, 200),
    "fills": (fills, 30),
    "nans": (nans, 20),
    "flips": (flips, 20),
    "dead": (dead_ranks, 15),
    "frozen": (frozen_ranks, 15),
    "builds": (builds, 200),
}  # with how often `scripts/soak` does each


def run_loop(name: str, world: World, count: int, seed: int) -> Tally:
    """Do a loop in a folder of its own, and take its time."""
    folder, started_s = world.folder / name, time.monotonic()
    folder.mkdir()
    tally = LOOPS[name][0](dataclasses.replace(world, folder=folder), count, random.Random(f"{seed} {name}"))
    tally.seconds = time.monotonic() - started_s
    return tally


def main(radiographs: Path, out: Path, fault: str, rank: int, nimg: int, timeout_s: float) -> None:
    """Train as one of several processes; the fault befalls its first start only."""
    world = World(open_set(radiographs), out, out)
    chosen = int(os.environ["RANK"]) == rank and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"

    def on_status(status: Status) -> None:
        if fault and chosen and status.done >= nimg:
            (out / "befallen").touch()
            os.kill(os.getpid(), getattr(signal, fault))

    train(world, out, on_status=on_status, timeout_s=timeout_s)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]))
