"""stderr: how far a long piece of work is.

In: the `Status` stream a stage gives its `on_status`. Out: a bar on a terminal, elsewhere one line every 30 s, both
with the time left. The rate counts from the first status of a phase, so that a resumed run does not flatter itself;
another unit, another total or going back starts a new phase.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

from xrarchive.cli.output import escape

if TYPE_CHECKING:  # records imports numpy, which help does not wait for
    from xrarchive.records import OnStatus, Status

LINE_INTERVAL_S = 30.0


@contextlib.contextmanager
def progress(command: str) -> Iterator[OnStatus]:
    """An `on_status` that shows progress on stderr while the block runs."""
    if sys.stderr.isatty():
        with _bar() as on_status:
            yield on_status
    else:
        yield Lines(command, sys.stderr).show


class Lines:
    """One line on `stream` every `LINE_INTERVAL_S`, none for work that is shorter."""

    def __init__(self, command: str, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._command, self._stream, self._clock = command, stream, clock
        self._last_s = clock()
        self._phase: Phase | None = None

    def show(self, status: Status) -> None:
        """Take note of a status; print it if the last line is old enough."""
        now_s = self._clock()
        if self._phase is None or not self._phase.goes_on(status):
            self._phase = Phase(status, now_s)
        self._phase.last = status
        if now_s - self._last_s >= LINE_INTERVAL_S:
            self._last_s = now_s
            line = f"{self._command}: {describe(status, self._phase.left_s(now_s))}"
            print(escape(line, keep=""), file=self._stream, flush=True)


class Phase:
    """A stretch of work counted in one unit to one total."""

    def __init__(self, first: Status, started_s: float) -> None:
        self.first = self.last = first
        self._started_s = started_s

    def goes_on(self, status: Status) -> bool:
        """Whether `status` belongs to this phase."""
        return (status.unit, status.total) == (self.first.unit, self.first.total) and status.done >= self.last.done

    def left_s(self, now_s: float) -> float | None:
        """Seconds left at the phase's average rate; None before anything was done."""
        done, passed_s = self.last.done - self.first.done, now_s - self._started_s
        if done <= 0 or passed_s <= 0:
            return None
        return (self.last.total - self.last.done) * passed_s / done


def describe(status: Status, left_s: float | None) -> str:
    """``1,200 of 4,000 images (30 %), 2 min 20 s left: Effusion``."""
    parts = f"{amount(status.done, status.unit)} of {amount(status.total, status.unit)}"
    parts += "" if status.unit == "bytes" else f" {status.unit}"
    if status.total > 0:
        parts += f" ({100 * status.done // status.total} %)"
    if left_s is not None:
        parts += f", {duration(left_s)} left"
    return f"{parts}: {status.text}" if status.text else parts


def amount(number: int, unit: str) -> str:
    """A count with thousands separated; bytes in MB."""
    return f"{number / 1e6:,.1f} MB" if unit == "bytes" else f"{number:,}"


def duration(seconds: float) -> str:
    """Seconds as people say them: ``45 s``, ``2 min 20 s``, ``3 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextlib.contextmanager
def _bar() -> Iterator[OnStatus]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}", markup=False)
    count = TextColumn("{task.fields[count]}", markup=False)
    columns = (text, BarColumn(bar_width=None), count, TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        task = bar.add_task("", total=None, count="")
        phase: Phase | None = None

        def show(status: Status) -> None:
            nonlocal phase
            count_text = f"{amount(status.done, status.unit)}/{amount(status.total, status.unit)} {status.unit}"
            if phase is None or not phase.goes_on(status):
                phase = Phase(status, 0)
                bar.reset(task, total=status.total, completed=status.done)
            phase.last = status
            bar.update(task, completed=status.done, description=escape(status.text, keep=""), count=escape(count_text))

        yield show
