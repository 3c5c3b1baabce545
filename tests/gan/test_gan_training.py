from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import World, run_loop, spoiled_gradient, spoiled_loss

from xrarchive.errors import DamageError, InputDataError, LockedError, PlanChangedError, StorageError
from xrarchive.files import locked
from xrarchive.gan import checkpoints, step, training
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


# Rollbacks


def test_being_ready_to_roll_back_changes_nothing(train: Train, straight: TrainingReport) -> None:
    assert train(on_nan="rollback").sha256 == straight.sha256


@pytest.mark.parametrize("spoil", [spoiled_loss, pytest.param(spoiled_gradient, marks=pytest.mark.slow)])
@pytest.mark.parametrize("at", [5, 20], ids=["before the first checkpoint", "after growth"])
def test_a_nan_that_passes_is_rolled_back_and_leaves_no_stale_line(
    train: Train, straight: TrainingReport, spoil: Callable[..., Any], at: int
) -> None:
    watch = Watch(tick_nimg=8, metric_nimg=0)
    with spoil("generator", {at}):
        report = train(on_nan="rollback", watch=watch)
    assert report.sha256 != straight.sha256, "another order was taken"
    stats = [json.loads(line) for line in (report.out / "stats.jsonl").read_text().splitlines()]
    assert [record["nimg"] for record in stats] == list(range(8, 241, 8))
    assert [record["steps"] for record in stats] == list(range(1, 31))
    assert json.loads((report.out / "checkpoints/nimg-000000240/complete.json").read_text())["retry"] == 1


def test_a_rollback_across_growth_is_the_run_resumed_there(train: Train, tmp_path: Path) -> None:
    """Nothing of the steps that were taken back is left, moments of the new block's weights included."""
    with spoiled_loss("discriminator", {16}):  # at 128 images: the new block has had three steps
        whole = train("whole", on_nan="rollback")
    with spoiled_loss("discriminator", {16}), pytest.raises(InputDataError):
        train("torn")
    record_path = tmp_path / "torn/checkpoints/nimg-000000080/complete.json"
    record = json.loads(record_path.read_text()) | {"retry": 1}
    del record["record_sha256"]
    record_path.write_text(json.dumps(record | {"record_sha256": checkpoints._record_sha256(record)}))
    assert train("torn").sha256 == whole.sha256


def test_a_nan_that_stays_is_rolled_back_three_times(
    train: Train, straight: TrainingReport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with spoiled_loss("generator", set(range(14, 100))), pytest.raises(InputDataError) as caught:
        train(on_nan="rollback")
    assert "came back after 3 rollbacks" in caught.value.fix
    assert caplog.text.count("back at 80 images, rollback") == 3
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == [
        "nimg-000000000",
        "nimg-000000080",
    ]
    assert train().sha256 == straight.sha256


# Checkpoints on a bad disk


@pytest.mark.parametrize("place", [pytest.param(4, marks=pytest.mark.slow), -1], ids=["in the header", "in a number"])
def test_a_checkpoint_that_reads_back_otherwise_is_not_taken(
    train: Train, straight: TrainingReport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: int
) -> None:
    write, calls = checkpoints.write_tensors, []

    def flaky(path: Path, *rest: object) -> None:
        write(path, *rest)
        calls.append(path)
        if len(calls) == 3:
            data = bytearray(path.read_bytes())
            data[place] ^= 0x80
            path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_tensors", flaky)
        with pytest.raises(DamageError, match="reads back other numbers than were written"):
            train()
    folder = tmp_path / "run/checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["nimg-000000080", "nimg-000000160"]
    assert all(map(checkpoints._intact, folder.iterdir()))
    assert train().sha256 == straight.sha256


def test_two_intact_checkpoints_stay_whatever_is_damaged(settings: GeneratorSettings, tmp_path: Path) -> None:
    """Damaged ones do not count, wherever they stand."""
    state, folder = new_state(settings), tmp_path / "checkpoints"
    for state.nimg in (80, 160):
        save_checkpoint(tmp_path, state, settings)
    for nimg in (200, 320):
        shutil.copytree(folder / "nimg-000000160", folder / f"nimg-{nimg:09d}")
        damage_state(folder / f"nimg-{nimg:09d}")
    assert load_newest(tmp_path, state)
    state.nimg = 240
    save_checkpoint(tmp_path, state, settings)
    assert sorted(path.name for path in folder.iterdir()) == ["nimg-000000160", "nimg-000000240"]


def test_where_there_is_no_glibc_the_heap_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise OSError("libc.so.6: cannot open shared object file")

    for found in (missing, lambda _name: object()):
        monkeypatch.setattr(training.ctypes, "CDLL", found)  # type: ignore[attr-defined]
        training.keep_heap()


# What can befall a training, in small numbers; scripts/soak does more of the same


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("loop", "count"),
    {"same": 1, "kills": 20, "fills": 6, "nans": 6, "flips": 6, "dead": 1, "frozen": 1}.items(),
)
def test_a_sample_of_the_soak(world: World, tmp_path: Path, loop: str, count: int) -> None:
    tally = run_loop(loop, dataclasses.replace(world, folder=tmp_path), count, seed=1)
    if tally.skipped:
        pytest.skip(tally.skipped)
    assert (tally.count, tally.misses) == (count, []), tally


@pytest.mark.slow
def test_the_soak_says_what_it_did_and_ends_well() -> None:
    soak = [sys.executable, str(Path(__file__).parents[2] / "scripts/soak")]
    done = subprocess.run([*soak, "same", "--count", "1"], capture_output=True, text=True, check=True)
    assert "the same run again: 1 times, 0 missed" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("In all 1 faults, 0 missed")
    assert subprocess.run([*soak, "floods"], capture_output=True, check=False).returncode == 2
