from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from xrarchive.errors import InputDataError, LockedError, PlanChangedError, StorageError
from xrarchive.files import locked
from xrarchive.gan import checkpoints, step
from xrarchive.gan.checkpoints import load_newest, save_checkpoint
from xrarchive.gan.devices import Devices
from xrarchive.gan.loading import as_shown
from xrarchive.gan.schedule import resolved_growth
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import load_snapshot
from xrarchive.gan.state import new_state
from xrarchive.gan.step import train_step
from xrarchive.gan.training import TrainingReport, Watch, train_generator
from xrarchive.radiographs import RadiographSet
from xrarchive.records import Status

Train = Callable[..., TrainingReport]


class InterruptedRunError(Exception):
    pass


def stop_at(nimg: int) -> Callable[[Status], None]:
    def on_status(status: Status) -> None:
        if status.done == nimg:
            raise InterruptedRunError

    return on_status


@pytest.mark.parametrize("nimg", [24, 80, 128, 240])
def test_a_resumed_run_is_the_straight_run(train: Train, straight: TrainingReport, nimg: int) -> None:
    """Stopped before the first checkpoint, just before one is saved, in the fade, and at the very end."""
    with pytest.raises(InterruptedRunError):
        train(on_status=stop_at(nimg))
    assert train().sha256 == straight.sha256


def test_the_critic_loss_resumes_exactly_too(train: Train) -> None:
    whole = train("whole", loss="wgan-gp", nimg=160)
    with pytest.raises(InterruptedRunError):
        train("torn", loss="wgan-gp", nimg=160, on_status=stop_at(120))
    assert train("torn", loss="wgan-gp", nimg=160).sha256 == whole.sha256


def test_running_again_changes_nothing(train: Train) -> None:
    first = train(nimg=80)
    assert train(nimg=80) == dataclasses.replace(first, images_per_s=0.0)


def test_the_run_folder_holds_what_it_promises(straight: TrainingReport) -> None:
    kept = sorted(path.name for path in (straight.out / "checkpoints").iterdir())
    assert kept == ["nimg-000000160", "nimg-000000240"]
    grids = ["nimg-000000240.png", "stage-0008px.png", "stage-0016px.png"]
    assert sorted(path.name for path in (straight.out / "grids").iterdir()) == grids
    snapshot = load_snapshot(straight.snapshot)
    assert snapshot.sha256 == straight.sha256
    assert snapshot.meta["nimg"] == straight.nimg == 240
    assert not any(parameter.requires_grad for parameter in snapshot.generator.parameters())


@pytest.mark.parametrize("changes", [{"learning_rate": 1e-3}, {"seed": 1}, {"growth_nimg": 4}, {"loss": "wgan-gp"}])
def test_other_settings_are_refused_by_name(train: Train, changes: dict[str, object]) -> None:
    train(nimg=8)
    with pytest.raises(PlanChangedError, match=f"{next(iter(changes))}: .* -> {next(iter(changes.values()))}"):
        train(**({"nimg": 8} | changes))


def test_fewer_images_than_before_are_refused(train: Train) -> None:
    train(nimg=16)
    with pytest.raises(PlanChangedError, match="nimg: 16 -> 8"):
        train(nimg=8)


def test_a_prolonged_run_is_the_straight_run(train: Train, straight: TrainingReport) -> None:
    growth = json.loads((straight.out / "run.json").read_text())["settings"]["growth_nimg"]
    train(nimg=160, growth_nimg=growth)
    assert train(nimg=240).sha256 == straight.sha256


def test_another_radiograph_set_is_refused(
    train: Train, radiographs: RadiographSet, settings: GeneratorSettings
) -> None:
    out = train(nimg=8).out
    other = RadiographSet(radiographs.folder, "0" * 64, radiographs.meta)
    with pytest.raises(PlanChangedError, match="radiographs_sha256"):
        train_generator(other, out, settings=dataclasses.replace(settings, nimg=8))


def test_a_set_smaller_than_the_resolution_is_refused(train: Train) -> None:
    with pytest.raises(InputDataError, match="holds 16 px images, the generator is to make 32 px"):
        train(resolution=32)


def test_a_set_smaller_than_a_batch_is_refused(train: Train) -> None:
    with pytest.raises(InputDataError, match="one batch takes 400"):
        train(batch=400, nimg=400)


def test_a_run_in_use_is_refused(train: Train, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(LockedError, match=str(os.getpid())):
        train()


@pytest.mark.parametrize("network", ["discriminator_loss", "generator_loss"])
def test_a_loss_that_is_nan_ends_the_run_and_keeps_the_checkpoint(
    train: Train, straight: TrainingReport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: str
) -> None:
    loss, calls = getattr(step, network), []

    def broken(*args: object) -> torch.Tensor:
        calls.append(args)
        return loss(*args) * (float("nan") if len(calls) > 14 else 1)

    with monkeypatch.context() as patch:
        patch.setattr(step, network, broken)
        with pytest.raises(InputDataError, match=r"after 112 images .*nan"):
            train()
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["nimg-000000080"]
    assert train().sha256 == straight.sha256


def test_weights_that_are_nan_are_never_saved(settings: GeneratorSettings, tmp_path: Path) -> None:
    state = new_state(settings)
    state.generator.conv.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputDataError, match=r"generator\.conv\.weight"):
        save_checkpoint(tmp_path, state, settings)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_leaves_the_run_resumable(
    train: Train, straight: TrainingReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_args: object) -> None:
        path.write_bytes(b"torn")
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_tensors", full)
        with pytest.raises(StorageError, match="the disk is full"):
            train()
    assert train().sha256 == straight.sha256


def damage_state(folder: Path) -> None:
    data = bytearray((folder / "state.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "state.safetensors").write_bytes(data)


DAMAGES = {
    "a flipped byte": damage_state,
    "a missing state": lambda folder: (folder / "state.safetensors").unlink(),
    "a missing record": lambda folder: (folder / "complete.json").unlink(),
    "a torn record": lambda folder: (folder / "complete.json").write_text('{"sha2'),
    "an empty record": lambda folder: (folder / "complete.json").write_text("null"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(
    straight: TrainingReport, settings: GeneratorSettings, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(straight.out / "checkpoints", tmp_path / "checkpoints")
    DAMAGES[damage](tmp_path / "checkpoints/nimg-000000240")
    state = new_state(settings)
    assert load_newest(tmp_path, state, dataclasses.replace(settings, growth_nimg=resolved_growth(settings)))
    assert (state.nimg, state.steps) == (160, 20)
    DAMAGES[damage](tmp_path / "checkpoints/nimg-000000160")
    assert not load_newest(tmp_path, state, dataclasses.replace(settings, growth_nimg=resolved_growth(settings)))


def test_a_run_with_a_damaged_checkpoint_ends_as_the_straight_run(
    straight: TrainingReport, train: Train, tmp_path: Path
) -> None:
    shutil.copytree(straight.out, tmp_path / "run")
    damage_state(tmp_path / "run/checkpoints/nimg-000000240")
    assert train().sha256 == straight.sha256


def test_stats_cut_short_are_dropped(train: Train) -> None:
    watch = Watch(tick_nimg=8, metric_nimg=0)
    with pytest.raises(InterruptedRunError):
        train(nimg=96, watch=watch, on_status=stop_at(96))
    stats = train(nimg=96, watch=watch).out / "stats.jsonl"
    assert [json.loads(line)["nimg"] for line in stats.read_text().splitlines()] == list(range(8, 97, 8))
    with stats.open("a") as stream:
        stream.write('{"nimg": 10')
    train(nimg=96, watch=watch)
    assert [json.loads(line)["nimg"] for line in stats.read_text().splitlines()] == list(range(8, 97, 8))


@pytest.mark.parametrize("changes", [{"loss": "logistic"}, {"loss": "wgan-gp"}, {"precision": "bfloat16"}])
def test_a_step_moves_both_networks_and_the_average(
    radiographs: RadiographSet, settings: GeneratorSettings, changes: dict[str, object]
) -> None:
    settings = dataclasses.replace(settings, start_px=16, **changes)
    state, fresh = new_state(settings), new_state(settings)
    real = as_shown(radiographs.pixels[:8], 1.0, settings)
    devices = Devices(dtype=torch.bfloat16 if settings.precision == "bfloat16" else torch.float32)
    losses = train_step(state, settings, real, batch=8, alpha=1.0, devices=devices)
    assert np.isfinite(dataclasses.astuple(losses)).all()
    assert (state.nimg, state.steps) == (8, 1)
    for name in ("generator", "discriminator", "averaged"):
        moved = [
            not torch.equal(new, old)
            for new, old in zip(getattr(state, name).parameters(), getattr(fresh, name).parameters(), strict=True)
        ]
        assert sum(moved) > len(moved) // 2, name


def test_training_leaves_the_global_random_state_alone(train: Train) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    train(nimg=8)
    assert torch.equal(torch.random.get_rng_state(), before)


def killed_on_event(train: Train, number: int) -> bool:
    """Train in a forked process that kills itself (-9) on its `number`th touch of a checkpoint; whether it died."""
    child = os.fork()
    if child == 0:
        seen = 0

        def kill(event: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            if event in _TOUCHES and any("checkpoints" in str(arg) for arg in args):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill)
        try:
            train()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


_TOUCHES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kill_9_anywhere_in_a_save_and_run_again_is_the_straight_run(
    train: Train, straight: TrainingReport, tmp_path: Path
) -> None:
    deaths = 0
    for number in range(1, 60, 5):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        deaths += killed_on_event(train, number)
        assert train().sha256 == straight.sha256, number
        assert not list((tmp_path / "run").rglob(".tmp-*"))
    assert deaths >= 10, deaths
