from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import World, pair, result, spoiled_gradient, start_command, together, torchrun, train
from torch import Tensor

from xrarchive.errors import DamageError, InputDataError, RemoteError
from xrarchive.gan import step, training
from xrarchive.gan.devices import Devices, open_devices
from xrarchive.gan.draws import batch_of, draw_mix
from xrarchive.gan.loading import load_batch
from xrarchive.gan.runs import RUN_NAME
from xrarchive.gan.schedule import stage_at
from xrarchive.gan.settings import PRESETS, GeneratorSettings
from xrarchive.gan.state import TrainingState, new_state
from xrarchive.gan.step import train_step
from xrarchive.radiographs import RadiographSet
from xrarchive.records import Status

COMPARED_STEPS = 50
Figures = dict[str, Tensor]


def steps_of(radiographs: RadiographSet, settings: GeneratorSettings, path: Path, *, double: bool) -> None:
    """`COMPARED_STEPS` steps of this process and the others; the first one writes losses and weights to `path`."""
    if double:  # the networks answer in float32, whatever they compute in
        torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
        step.draw_mix = lambda *place, **retry: draw_mix(*place, **retry).double()  # type: ignore[attr-defined]
    with open_devices(timeout_s=60) as devices:
        devices = dataclasses.replace(devices, dtype=torch.float64 if double else torch.float32)
        state, rows, losses = new_state(settings), radiographs.rows("train"), []
        for network in (state.generator, state.discriminator, state.averaged):
            network.to(devices.dtype)
        for _ in range(COMPARED_STEPS):
            stage, alpha = stage_at(settings, state.nimg)
            mine = devices.part(torch.from_numpy(batch_of(rows, settings, state.nimg, stage.batch)))
            real = load_batch(radiographs, mine.numpy(), stage.px, alpha, settings).to(devices.dtype)
            done = train_step(state, settings, real, batch=stage.batch, alpha=alpha, devices=devices)
            losses.append(dataclasses.astuple(done))
        assert devices.same_weights(state.generator, state.discriminator)
        if devices.first:
            weights = {**state.averaged.state_dict(), **state.discriminator.state_dict()}
            torch.save({"losses": torch.tensor(losses, dtype=torch.float64), **weights}, path)


def apart(a: Figures, b: Figures) -> float:
    """The largest difference between losses or weights of two runs."""
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def compare_world_sizes(
    radiographs: RadiographSet, settings: GeneratorSettings, folder: Path, size: int, *, double: bool = False
) -> float:
    """How far losses and weights of `size` processes are from those of one."""
    found = []
    for processes in (1, size):
        path = folder / f"{processes}.pt"
        assert not any(together(processes, lambda path=path: steps_of(radiographs, settings, path, double=double)))  # type: ignore[misc]
        found.append(torch.load(path))
    return apart(*found)


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_world_sizes_agree_in_float32(radiographs: RadiographSet, tmp_path: Path, size: int) -> None:
    """At the first stage: 6e-7 measured. Once it grows, a feature on the other side of leaky ReLU's kink makes
    any two float32 runs part, by 1e-2 in the losses. That is no fault of the exchange: see the test in float64, 6e-14.
    """
    settings = GeneratorSettings(**{**PRESETS["tiny"], "batch": 16, "nimg": 4_000})  # type: ignore[arg-type]
    assert stage_at(settings, 16 * COMPARED_STEPS)[0].px == settings.start_px
    assert compare_world_sizes(radiographs, settings, tmp_path, size) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("loss", ["logistic", "wgan-gp"])
def test_world_sizes_agree_through_growth_in_float64(
    radiographs: RadiographSet, tmp_path: Path, loss: str, size: int
) -> None:
    settings = GeneratorSettings(**{**PRESETS["tiny"], "batch": 16, "nimg": 800, "loss": loss})  # type: ignore[arg-type]
    assert {stage_at(settings, nimg)[0].px for nimg in range(0, 800, 16)} == {8, 16}
    assert compare_world_sizes(radiographs, settings, tmp_path, size, double=True) < 1e-9


def test_two_processes_killed_and_run_again_are_two_undisturbed_ones(world: World, tmp_path: Path) -> None:
    def on_status(status: Status) -> None:
        if status.done >= 120 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    assert together(2, lambda: train(world, tmp_path / "run", on_status=on_status)) == [
        RemoteError.code,
        -signal.SIGKILL,
    ]
    assert together(2, lambda: train(world, tmp_path / "run")) == [0, 0]
    assert result(tmp_path / "run") == pair(world)


@pytest.mark.slow
def test_a_process_that_does_not_answer_ends_the_training_in_time(world: World, tmp_path: Path) -> None:
    def on_status(status: Status) -> None:
        if status.done >= 16 and os.environ["RANK"] == "1":
            (tmp_path / "frozen").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)

    def half() -> None:
        try:
            train(world, tmp_path / "run", on_status=on_status, timeout_s=10.0)
        except RemoteError as err:
            (tmp_path / "told").write_text(err.message)
            os.kill(int((tmp_path / "frozen").read_text()), signal.SIGKILL)  # as torchrun would
            raise

    assert together(2, half) == [RemoteError.code, -signal.SIGKILL]
    assert "died or did not answer in time" in (tmp_path / "told").read_text()
    assert together(2, lambda: train(world, tmp_path / "run")) == [0, 0]
    assert result(tmp_path / "run") == pair(world)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_and_says_so(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert together(2, lambda: train(world, tmp_path / "run", nimg=160, growth_nimg=recorded_growth(world))) == [0, 0]
    train(world, tmp_path / "run")
    assert "another environment (world_size: 2 -> 1)" in caplog.text


def recorded_growth(world: World) -> int:
    return int(json.loads((world.straight / RUN_NAME).read_text())["settings"]["growth_nimg"])


def test_a_batch_that_cannot_be_shared_out_is_refused(world: World, tmp_path: Path) -> None:
    """A batch of 8 in groups of 4 makes two shares, not three."""
    told = tmp_path / "told"

    def refused() -> None:
        try:
            train(world, tmp_path / "run")
        except InputDataError as err:
            told.write_text(err.message)
            raise

    assert together(3, refused) == [InputDataError.code] * 3
    assert "cannot be shared out to 3 processes at 8 px" in told.read_text()


def test_processes_that_hold_different_weights_are_stopped(world: World, tmp_path: Path) -> None:
    def differing() -> None:
        made: Any = training.new_state  # type: ignore[attr-defined]

        def new_state(*arguments: Any) -> TrainingState:
            state = made(*arguments)
            if os.environ["RANK"] == "1":
                state.generator.conv.weight.data[0, 0, 0, 0] += 1e-6
            return state  # type: ignore[no-any-return]

        training.new_state = new_state  # type: ignore[attr-defined,assignment]
        train(world, tmp_path / "run")

    assert together(2, differing) == [DamageError.code] * 2


@pytest.mark.slow
def test_nan_on_one_process_stops_both_at_the_same_step(world: World, tmp_path: Path) -> None:
    def spoiled() -> None:
        here = {15} if os.environ["RANK"] == "1" else set[int]()
        try:
            with spoiled_gradient("discriminator", here):
                train(world, tmp_path / "run")
        except InputDataError as err:
            (tmp_path / os.environ["RANK"]).write_text(err.message)
            raise

    assert together(2, spoiled) == [InputDataError.code] * 2
    assert all("after 120 images" in (tmp_path / rank).read_text() for rank in "01")
    assert together(2, lambda: train(world, tmp_path / "run")) == [0, 0]
    assert result(tmp_path / "run") == pair(world)


def test_alone_nothing_is_exchanged() -> None:
    with open_devices(timeout_s=1) as devices:
        assert (devices.rank, devices.world, devices.first) == (0, 1, True)
        assert (devices.any(True), devices.any(False), devices.tell("x")) == (True, False, "x")
        assert devices.same_weights(torch.nn.Linear(2, 2))


def test_a_batch_is_cut_into_consecutive_parts() -> None:
    whole = torch.arange(8)
    parts = [Devices(rank=rank, world=4).part(whole) for rank in range(4)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.slow
def test_torchrun_of_two_trains_as_two_forked_processes_do(world: World, tmp_path: Path) -> None:
    with torchrun(*start_command(world, tmp_path / "run")) as job:
        told, _ = job.communicate()
    assert job.returncode == 0, told
    assert result(tmp_path / "run") == pair(world)


LEAVING = """
from pathlib import Path
import torch
from xrarchive.gan.devices import open_devices
with open_devices(timeout_s=60) as devices:
    torch.optim.Adam([torch.zeros(1)])  # imports more of torch.distributed
    devices.any(False)
print([path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc names a process's threads")
def test_no_thread_of_the_exchange_outlives_it(tmp_path: Path) -> None:
    """One that did has aborted a training at its exit."""
    (tmp_path / "leaving.py").write_text(LEAVING)
    with torchrun(tmp_path / "leaving.py") as job:
        told, _ = job.communicate()
    assert job.returncode == 0, told
    assert told.count("'python'") >= 2, told
    assert "gloo" not in told


@pytest.mark.slow
@pytest.mark.parametrize("everywhere", [False, True], ids=["to torchrun", "to every process, as SLURM does"])
def test_sigterm_under_torchrun_saves_and_ends_badly(world: World, tmp_path: Path, everywhere: bool) -> None:
    """A long run is told to stop once it has a checkpoint, and ends with a newer one and no snapshot."""
    command = start_command(world, tmp_path / "run", "--nimg", "200000", "--set", "checkpoint_nimg=800")
    with torchrun(*command, shutdown_s=200) as job:
        while not list(tmp_path.glob("run/checkpoints/nimg-*")):
            assert job.poll() is None
        workers = children(job.pid) if everywhere else []
        for pid in [*workers, job.pid]:
            os.kill(pid, signal.SIGTERM)
        told, _ = job.communicate(timeout=300)
    assert job.returncode != 0
    newest = max(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert f"stopped at {int(newest.removeprefix('nimg-'))} images" in told or "go on with: xrarchive" in told
    assert int(newest.removeprefix("nimg-")) % 800, "saved at the step, not at the next regular one"
    assert not (tmp_path / "run/generator.safetensors").exists()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
