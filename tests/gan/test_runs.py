from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import forked, result, wait

from xrarchive.errors import InputDataError, PlanChangedError
from xrarchive.gan import runs, training
from xrarchive.gan.checkpoints import load_newest
from xrarchive.gan.draws import fixed_latents
from xrarchive.gan.runs import RUN_NAME, Start
from xrarchive.gan.settings import PRESETS, GeneratorSettings
from xrarchive.gan.snapshots import load_snapshot, save_snapshot
from xrarchive.gan.state import TrainingState, new_state
from xrarchive.gan.training import TrainingReport, train_generator
from xrarchive.radiographs import RadiographSet
from xrarchive.records import Status
from xrarchive.weights import read_meta

Train = Callable[..., TrainingReport]
HALF = torch.finfo(torch.float16).eps  # what a snapshot's weights are rounded to, relatively
# segal2020 cut to 16 px, three stages of 64 images and narrow networks.
SEGAL: dict[str, Any] = {
    **PRESETS["segal2020"], "resolution": 16, "stage_nimg": (64, 64, 64), "fade_nimg": 32, "latent_size": 8,
    "width_max": 8, "width_base": 128, "batches": (16, 16, 8), "checkpoint_nimg": 64,
}  # fmt: skip


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / RUN_NAME).read_text())  # type: ignore[no-any-return]


def settings_of(run: Path) -> GeneratorSettings:
    return GeneratorSettings(**record(run)["settings"])


def newest(run: Path, settings: GeneratorSettings | None = None) -> TrainingState:
    state = new_state(settings or settings_of(run))
    assert load_newest(run, state)
    return state


class Shown(list[Status]):
    """Collects statuses."""

    @property
    def first(self) -> int:
        return self[0].done


# Forks


def test_a_fork_goes_on_with_other_settings_from_the_same_place(
    train: Train, straight: TrainingReport, tmp_path: Path
) -> None:
    shown, start = Shown(), Start(fork=straight.out)
    report = train("fork", start=start, nimg=320, learning_rate=1e-4, on_status=shown.append)
    assert (shown.first, report.nimg, len(shown)) == (248, 320, 10)
    assert record(tmp_path / "fork")["settings"]["learning_rate"] == 1e-4
    assert newest(tmp_path / "fork").steps == 40


def test_a_fork_of_a_run_from_a_snapshot_counts_what_that_had_been_shown(
    train: Train, straight: TrainingReport, tmp_path: Path
) -> None:
    first = train("from-snapshot", start=Start(init_from=straight.snapshot), start_px=16, nimg=16, growth_nimg=0)
    report = train("fork", start=Start(fork=tmp_path / "from-snapshot"), start_px=16, nimg=32, growth_nimg=0)
    shown = [read_meta(snapshot, kind="generator") for snapshot in (first.snapshot, report.snapshot)]
    assert [meta["nimg_before"] for meta in shown] == [240, 240]
    assert [meta["nimg"] for meta in shown] == [16, 32]


def test_a_run_recorded_before_a_setting_existed_goes_on(
    train: Train, straight: TrainingReport, tmp_path: Path
) -> None:
    shutil.copytree(straight.out, tmp_path / "old")
    before = record(straight.out)
    growth = before["settings"]["growth_nimg"]
    del before["settings"]["shift"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(before))
    assert train("old", nimg=256, growth_nimg=growth).nimg == 256
    with pytest.raises(PlanChangedError, match=r"shift: 0\.0 -> 0\.1"):
        train("old", nimg=264, growth_nimg=growth, shift=0.1)


def test_a_fork_with_the_same_settings_is_the_run_prolonged(
    train: Train, straight: TrainingReport, tmp_path: Path
) -> None:
    """And keeps its growth, which would be another with more images."""
    shutil.copytree(straight.out, tmp_path / "prolonged")
    growth = record(straight.out)["settings"]["growth_nimg"]
    train("prolonged", nimg=320, growth_nimg=growth)
    train("fork", start=Start(fork=straight.out), nimg=320)
    assert result(tmp_path / "fork") == result(tmp_path / "prolonged")


@pytest.mark.parametrize("named", [pytest.param(True, marks=pytest.mark.slow), False], ids=["with --fork", "without"])
def test_a_stopped_fork_goes_on_by_the_same_command(
    train: Train, straight: TrainingReport, tmp_path: Path, named: bool
) -> None:
    changes: dict[str, object] = {"nimg": 320, "learning_rate": 1e-4, "growth_nimg": 100}
    train("whole", start=Start(fork=straight.out), **changes)

    def dying(status: Status) -> None:
        if status.done == 304:
            signal.raise_signal(signal.SIGKILL)

    start = Start(fork=straight.out)
    assert wait(forked(lambda: train("torn", start=start, on_status=dying, **changes))) == -signal.SIGKILL
    train("torn", start=start if named else Start(), **changes)
    assert result(tmp_path / "torn") == result(tmp_path / "whole")


@pytest.mark.parametrize(
    "moment", ["save_checkpoint", *(pytest.param(name, marks=pytest.mark.slow) for name in ("write_json", "_train"))]
)
def test_a_fork_killed_right_at_its_start_begins_again(
    train: Train, straight: TrainingReport, tmp_path: Path, moment: str
) -> None:
    """Before run.json, between it and the first checkpoint, and before the first step."""
    changes: dict[str, object] = {"nimg": 320, "growth_nimg": 100, "start": Start(fork=straight.out)}

    def dying() -> None:
        setattr(training, moment, lambda *_: signal.raise_signal(signal.SIGKILL))
        train("fork", **changes)

    train("whole", **changes)
    assert wait(forked(dying)) == -signal.SIGKILL
    train("fork", **changes)
    assert result(tmp_path / "fork") == result(tmp_path / "whole")


def test_a_start_that_was_never_made_is_not_forgotten(train: Train, straight: TrainingReport, tmp_path: Path) -> None:
    train("fork", nimg=320, growth_nimg=100, start=Start(fork=straight.out))
    shutil.rmtree(tmp_path / "fork/checkpoints")
    with pytest.raises(InputDataError, match="begun with --fork and holds no intact checkpoint"):
        train("fork", nimg=320, growth_nimg=100)


def test_the_run_left_may_go_on_or_go_away(train: Train, straight: TrainingReport, tmp_path: Path) -> None:
    shutil.copytree(straight.out, tmp_path / "left")
    changes: dict[str, object] = {"nimg": 320, "growth_nimg": 100, "start": Start(fork=tmp_path / "left")}
    first = train("fork", **changes)
    train("left", nimg=248, growth_nimg=record(straight.out)["settings"]["growth_nimg"])
    assert train("fork", **changes).sha256 == first.sha256
    shutil.rmtree(tmp_path / "left")
    assert train("fork", **changes).sha256 == first.sha256


def test_a_fork_of_another_run_is_refused(train: Train, straight: TrainingReport) -> None:
    other = train("other", nimg=80, seed=3)
    train("fork", nimg=320, growth_nimg=100, start=Start(fork=straight.out))
    with pytest.raises(PlanChangedError, match="start: "):
        train("fork", nimg=320, growth_nimg=100, start=Start(fork=other.out))


@pytest.mark.parametrize("changes", [{"width_max": 8}, {"channels": 3}, {"latent_size": 8}])
def test_other_shapes_are_refused_and_leave_nothing_behind(
    train: Train, straight: TrainingReport, changes: dict[str, object]
) -> None:
    for start in (Start(fork=straight.out), Start(init_from=straight.snapshot)):
        with pytest.raises(InputDataError, match=r"networks of other shapes .*size mismatch") as caught:
            train("fork", nimg=320, start=start, **changes)
        assert "width_max" in caught.value.fix
    train("fork", nimg=8, **changes)  # the folder is still free


@pytest.mark.parametrize("nimg", [160, 240])
def test_a_fork_that_would_end_before_it_begins_is_refused(train: Train, straight: TrainingReport, nimg: int) -> None:
    with pytest.raises(InputDataError, match=rf"has shown 240 images, this run is to end at {nimg}"):
        train("fork", nimg=nimg, start=Start(fork=straight.out))


def test_what_is_no_run_cannot_be_forked(train: Train, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="No run with an intact checkpoint"):
        train("fork", start=Start(fork=tmp_path / "nowhere"))


def test_two_starts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not from both"):
        Start(init_from=tmp_path, fork=tmp_path)


# Snapshots to start from


def test_a_run_begins_with_the_snapshot_s_networks(train: Train, straight: TrainingReport, tmp_path: Path) -> None:
    def dying() -> None:
        training._train = lambda *_: signal.raise_signal(signal.SIGKILL)
        train("init", start=Start(init_from=straight.snapshot), learning_rate=1e-4)

    assert wait(forked(dying)) == -signal.SIGKILL
    state = newest(tmp_path / "init")  # a run with a start saves it at once
    assert (state.nimg, state.steps, state.retry) == (0, 0, 0)
    assert not state.generator_optimiser.state
    left = newest(straight.out)
    for name in ("generator", "averaged"):
        assert_rounded(getattr(state, name), left.averaged)
    assert_rounded(state.discriminator, left.discriminator)


def assert_rounded(network: torch.nn.Module, expected: torch.nn.Module) -> None:
    for (name, value), wanted in zip(network.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=HALF, atol=1e-7, msg=name)


def test_a_run_from_a_snapshot_goes_on_without_naming_it(
    train: Train, straight: TrainingReport, tmp_path: Path
) -> None:
    first = train("init", nimg=160, growth_nimg=40, start=Start(init_from=straight.snapshot))
    assert train("init", nimg=160, growth_nimg=40).sha256 == first.sha256
    other = train("other", nimg=8, seed=4).snapshot
    with pytest.raises(PlanChangedError, match=r"start: .*init_from.* -> .*init_from"):
        train("init", nimg=160, growth_nimg=40, start=Start(init_from=other))
    with pytest.raises(InputDataError, match="No snapshot at"):
        train("init", nimg=160, growth_nimg=40, start=Start(init_from=tmp_path / "gone"))


def test_a_snapshot_without_a_discriminator_is_warned_of(
    train: Train, straight: TrainingReport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = tmp_path / "alone.safetensors"
    save_snapshot(alone, load_snapshot(straight.snapshot).generator, None, nimg=240, origin={})
    train("init", nimg=8, start=Start(init_from=alone))
    assert "holds no discriminator: a fresh one starts against its generator" in caplog.text


# Colour, and black as 0


def test_a_recipe_of_other_range_and_colour_ends_as_a_snapshot_like_others(
    radiographs: RadiographSet, tmp_path: Path
) -> None:
    """Its images are 2 x - 1 of those of the average it was made from, and --init-from undoes that."""
    settings = GeneratorSettings(**SEGAL)
    report = train_generator(radiographs, tmp_path / "run", settings=settings, watch=training.Watch(metric_nimg=0))
    assert report.nimg == 192
    snapshot, state = load_snapshot(report.snapshot), newest(tmp_path / "run")
    assert (snapshot.settings.black, snapshot.settings.channels) == (-1.0, 3)
    latents = fixed_latents(settings, 8)
    with torch.no_grad():
        off = (snapshot.generator(latents) - (2 * state.averaged(latents) - 1)).abs()
    # A rounded weight may push a feature over leaky ReLU's kink: single pixels are off by more.
    assert off.mean() < 4 * HALF
    assert off.max() < 0.1
    again = new_state(settings)
    runs._load_networks(again, report.snapshot)
    for name, wanted in (("generator", state.averaged), ("discriminator", state.discriminator)):
        for value, found in zip(wanted.parameters(), getattr(again, name).parameters(), strict=True):
            torch.testing.assert_close(found, value, rtol=4 * HALF, atol=4 * HALF)


def test_a_recipe_with_stages_may_be_cut_short(radiographs: RadiographSet, tmp_path: Path) -> None:
    settings = GeneratorSettings(**{**SEGAL, "nimg": 48})
    report = train_generator(radiographs, tmp_path / "run", settings=settings, watch=training.Watch(metric_nimg=0))
    assert report.nimg == 48


# The record


def test_every_setting_that_differs_is_told(train: Train) -> None:
    train(nimg=8)
    with pytest.raises(PlanChangedError) as caught:
        train(nimg=8, learning_rate=1e-4, loss="wgan-gp", seed=9)
    for text in ("learning_rate: 0.", " -> 0.0001", "loss: logistic -> wgan-gp", "seed: 0 -> 9"):
        assert text in caught.value.message
    assert "--fork" in caught.value.fix


def test_precision_is_decided_once_and_recorded(train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runs, "computes_bfloat16", lambda _: True)
    train(nimg=8, precision="auto")
    assert record(tmp_path / "run")["settings"]["precision"] == "bfloat16"
    monkeypatch.setattr(runs, "computes_bfloat16", lambda _: False)
    train(nimg=16, precision="auto")
    assert record(tmp_path / "run")["settings"]["precision"] == "bfloat16"
    with pytest.raises(PlanChangedError, match="precision: bfloat16 -> float32"):
        train(nimg=16, precision="float32")


def test_another_environment_is_recorded_and_warned_of(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train(nimg=8)
    found = record(tmp_path / "run")["environment"]
    assert found.keys() == {"torch", "device", "world_size", "threads", "tf32", "deterministic"}
    assert "another environment" not in caplog.text
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    train(nimg=8)
    assert f"another environment (threads: {found['threads']} -> 7)" in caplog.text
    assert record(tmp_path / "run")["environment"]["threads"] == 7


@pytest.mark.parametrize("text", ["[]", "{}", '{"settings": null}'])
def test_a_record_of_something_else_is_refused(train: Train, tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / RUN_NAME).write_text(text)
    with pytest.raises(InputDataError, match=r"run\.json is not the record of a generator's training"):
        train()


def test_a_checkpoint_of_other_settings_than_the_record_is_refused(train: Train, tmp_path: Path) -> None:
    train(nimg=80)
    changed = record(tmp_path / "run")
    changed["settings"]["learning_rate"] = 1e-4
    (tmp_path / "run" / RUN_NAME).write_text(json.dumps(changed))
    with pytest.raises(PlanChangedError, match=r"was made with other settings than .*run\.json names"):
        train(nimg=80, learning_rate=1e-4)
