from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from faults import World, forked, result, start_command, wait

from xrarchive.cli.main import main
from xrarchive.gan import stopping, training
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState
from xrarchive.gan.stopping import SIGNALS, stop_requests

Handled = list[int]


@pytest.fixture
def handled() -> Iterator[Handled]:
    """The signals that reach the handlers which were there before."""
    seen: Handled = []

    def see(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    before = {number: signal.signal(number, see) for number in SIGNALS}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_until_the_work_is_saved(handled: Handled, number: signal.Signals) -> None:
    with stop_requests() as stop:
        assert not stop
        signal.raise_signal(number)
        assert (bool(stop), stop.signal, handled) == (True, number, [])
    assert handled == [number]


def test_an_echo_of_a_signal_changes_nothing(handled: Handled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "ECHO_S", 60.0)  # however long this process waits between the two
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
        assert (stop.signal, handled) == (signal.SIGUSR1, [])
    assert handled == [signal.SIGUSR1]


def test_a_second_signal_acts_at_once(handled: Handled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "ECHO_S", 0.0)
    with stop_requests():
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.001)
        signal.raise_signal(signal.SIGTERM)
        assert handled == [signal.SIGTERM]


def test_an_error_is_not_hidden_by_the_signal(handled: Handled) -> None:
    with pytest.raises(ZeroDivisionError), stop_requests():
        raise ZeroDivisionError(signal.raise_signal(signal.SIGTERM))  # type: ignore[func-returns-value]
    assert handled == []


def test_outside_the_main_thread_nothing_changes() -> None:
    found = []

    def work() -> None:
        with stop_requests() as stop:
            found.append((bool(stop), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, signal.getsignal(signal.SIGTERM))]


def told_command(log: Path, arguments: tuple[str, ...], before: Callable[[], None] = lambda: None) -> int:
    """Run the command in a forked process, its words in `log`; its exit code."""

    def run() -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        before()
        words = os.fdopen(descriptor, "w")
        with contextlib.redirect_stderr(words), contextlib.redirect_stdout(words):
            main(list(arguments))

    return wait(forked(run))


def signal_after(step: int, *numbers: int) -> None:
    """Have `train_step` send signals to its own process after its `step`th call."""
    train_step, calls = training.train_step, iter(range(1, 1_000_000))  # type: ignore[attr-defined]

    def signalled(*arguments: Any, **options: Any) -> Any:
        losses = train_step(*arguments, **options)
        if next(calls) == step:
            for number in numbers:
                os.kill(os.getpid(), number)
        return losses

    training.train_step = signalled  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGUSR1, 138, marks=pytest.mark.slow),
    ],
    ids=["INT", "TERM", "USR1"],
)
def test_a_stopped_command_saves_at_that_very_step_and_goes_on(
    world: World, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    def stopped() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        signal_after(13, number)

    arguments = start_command(world, tmp_path / "run")[2:]
    assert told_command(tmp_path / "log", arguments, stopped) == code
    kept = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert kept == ["nimg-000000080", "nimg-000000104"]
    assert "Finished work is kept; go on with: xrarchive train generator" in (tmp_path / "log").read_text()
    assert not (tmp_path / "run/generator.safetensors").exists()
    assert told_command(tmp_path / "log2", (*arguments, "--json")) == 0
    assert json.loads((tmp_path / "log2").read_text().splitlines()[-1])["nimg"] == 240
    assert result(tmp_path / "run") == result(world.straight)


def test_a_second_signal_ends_the_command_without_saving(world: World, tmp_path: Path) -> None:
    def impatient() -> None:
        stopping.ECHO_S = 0.0
        signal_after(13, signal.SIGTERM)
        saved = training.save_checkpoint  # type: ignore[attr-defined]

        def interrupted(run: Path, state: TrainingState, settings: GeneratorSettings) -> Path:
            if state.nimg == 104:
                os.kill(os.getpid(), signal.SIGTERM)
            return saved(run, state, settings)

        training.save_checkpoint = interrupted  # type: ignore[attr-defined]

    arguments = start_command(world, tmp_path / "run")[2:]
    assert told_command(tmp_path / "log", arguments, impatient) == 143
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["nimg-000000080"]
