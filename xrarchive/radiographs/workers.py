"""Decoding on all cores: sources in, films or rejects out, in the same order, a few at a time in memory.

Many sources, and all DICOM, are decoded in processes (`worker`), each limited in memory and killed where a file takes
too long: that file is rejected, another process takes its place. A few plain images are not worth starting Python for;
they are decoded in threads of this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import xrarchive
from xrarchive.radiographs.decode import Reject, source_sha256
from xrarchive.radiographs.places import Content, Place
from xrarchive.radiographs.table import pyramid_px
from xrarchive.radiographs.worker import HEAD_BYTES, Film, How, decode_pyramid, pack_source, read_head, unpack_film

# The largest film takes under two seconds on one core.
HANG_S = 20.0
# For Python to start on a busy machine; not counted against the first film.
START_S = 120.0
# Below this, threads; a process takes as long to start as about 60 films of 1024 px to decode.
FEW = 64
_MAX_WORKERS = 32
# Sources given out for each worker: the next is at hand when one is done, and memory stays small.
_AHEAD = 3
_PIPE_BYTES = 1 << 20
_MAX_HEAD_BYTES = 1 << 16
# Not `-m`: the package has imported the module before.
_START = "from xrarchive.radiographs.worker import main; main()"
_DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", "")

_Source = TypeVar("_Source")
_Result = TypeVar("_Result")


def cores() -> int:
    """How many processors this process may use."""
    try:
        return min(len(os.sched_getaffinity(0)), _MAX_WORKERS)
    except AttributeError:
        return min(os.cpu_count() or 1, _MAX_WORKERS)


def decode_all(places: list[Place], contents: Iterable[Content], how: How) -> Generator[Film | Reject, None, None]:
    """The film of every source, in order.

    Args:
        places: Where the sources are: tells whether processes are worth their start.
        contents: The sources.
        how: What they are to become.
    """
    few = len(places) < FEW
    if few and not any(_may_be_dicom(place) for place in places):
        yield from in_order(lambda source: _decode_here(source, how), contents)
        return
    with Workers(how, 1 if few else cores()) as workers:
        yield from in_order(workers.decode, contents)


def in_order(work: Callable[[_Source], _Result], sources: Iterable[_Source]) -> Generator[_Result, None, None]:
    """`work` of each source in threads, results in order; sources are taken only as fast as results are."""
    threads = cores()
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[_Result]] = deque()
        try:
            for source in sources:
                ahead.append(pool.submit(work, source))
                if len(ahead) >= threads * _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _may_be_dicom(place: Place) -> bool:
    return Path(place.member or place.path.name).suffix.lower() in _DICOM_SUFFIXES


def _decode_here(source: Content, how: How) -> Film | Reject:
    return decode_pyramid(source, how)


class Workers:
    """Processes that decode, one for each thread that asks; those that end are replaced.

    Args:
        how: What films are to become.
        count: How many threads will ask.
    """

    def __init__(self, how: How, count: int) -> None:
        self._how = how
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._count = count
        for _ in range(count):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        for _ in range(self._count):
            if worker := self._idle.get():
                worker.end()

    def decode(self, source: Content) -> Film | Reject:
        """The film, whatever becomes of the process that decodes it."""
        worker = self._idle.get() or _Worker(self._how)
        try:
            film = worker.decode(source)
        except TimeoutError:
            film = Reject(f"not decoded in {HANG_S:.0f} s", source_sha256(source), "timeout")
        except (OSError, EOFError, ValueError) as err:
            film = Reject(worker.told(err), source_sha256(source), "crashed")
        finally:
            self._idle.put(worker if worker.lives() else None)
        return film


class _Worker:
    """One process and its pipes."""

    def __init__(self, how: How) -> None:
        self._how = how
        command = [sys.executable, "-P", "-c", _START]
        command += [str(how.size_px), how.fit, str(int(how.keep_burned_in)), str(int(how.lettering))]
        paths = [str(Path(xrarchive.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=_PIPE_BYTES,
            process_group=0,  # Ctrl-C is the parent's affair
            env={**os.environ, **single, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        self._alive, self._started = True, False

    def decode(self, source: Content) -> Film | Reject:
        """Ask and wait.

        Raises:
            TimeoutError: If no answer came in time.
            OSError, EOFError, ValueError: If the process ended, or gave no answer.
        """
        self._alive = False  # until it has answered
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(pack_source(source))
            stdin.flush()
            if not self._started:
                self._answer(START_S)
            self._started = True
            film = unpack_film(*self._answer(HANG_S), self._how.size_px)
        except BaseException:
            self.end()
            raise
        self._alive = True
        return film

    def lives(self) -> bool:
        """Whether it can be asked again."""
        return self._alive

    def told(self, err: Exception) -> str:
        """Why it gave no answer."""
        code = self._process.returncode
        if code is not None and code < 0 and not isinstance(err, ValueError):
            return f"the decoder was ended by signal {-code}"
        return "the decoder ended" if not isinstance(err, ValueError) else "the decoder gave no answer"

    def end(self) -> None:
        """Stop it, in whatever state."""
        if self._process.poll() is None and not self._alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)  # one that is crashing may do so
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):  # what it did not take is lost
                    stream.close()
        self._process.wait()

    def _answer(self, within_s: float) -> tuple[dict[str, Any], bytes]:
        """The next message, no longer than one can be."""
        stdout, deadline = self._process.stdout, time.monotonic() + within_s
        assert stdout is not None
        length = read_head(_read_exactly(stdout, HEAD_BYTES, deadline))
        try:
            head = json.loads(_read_exactly(stdout, min(length, _MAX_HEAD_BYTES), deadline))
            count = int(head["bytes"])
        except (KeyError, TypeError, RecursionError) as err:
            raise ValueError("no answer") from err
        if not 0 <= count <= sum(px * px for px in pyramid_px(self._how.size_px)):
            raise ValueError("no answer")
        return head, _read_exactly(stdout, count, deadline)


def _read_exactly(stream: IO[bytes], count: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < count:
        if not select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(stream.fileno(), count - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
