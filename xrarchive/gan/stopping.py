"""Signals that ask a training to stop: it saves first, and the signal takes effect afterwards."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# One request may come twice: SLURM signals all processes of a job, and torchrun passes its own copy on to them.
ECHO_S = 2.0


class StopRequest:
    """Whether somebody asked, and how."""

    signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Collect a signal instead of dying of it; it is sent again on the way out.

    A second one stops at once, unless it comes within `ECHO_S`.

    Outside the main thread, where Python cannot handle signals, nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    asked_s: list[float] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python

    def ask(number: int, _: FrameType | None) -> None:
        asked_s.append(time.monotonic())
        if asked_s[-1] - asked_s[0] > ECHO_S:
            restore()
            signal.raise_signal(number)
        else:
            request.signal = request.signal or signal.Signals(number)

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()
    if request.signal is not None:
        signal.raise_signal(request.signal)
