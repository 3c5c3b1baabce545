"""Make the units of a plan in as many processes as there are processors.

What a unit holds depends on the plan alone, so it does not matter which process makes it, or how often one is killed.
Left of the waist; the parent hands finished units to the archive.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from xrarchive.errors import MemoryExhaustedError
from xrarchive.plan import Plan
from xrarchive.records import SyntheticImage, Tally
from xrarchive.synthesis import Studio, build_unit, open_studio

Unit = tuple[int, list[SyntheticImage], list[Tally]]
# Units waiting in memory per worker; an image of 64 px takes about 10 kB with its scores and latent.
_AHEAD = 2
_PARENT_CHECK_S = 2.0


def make_units(
    plan: Plan, indices: Sequence[int], studio: Studio, weights: tuple[Path, Path, Path], *, workers: int
) -> Iterator[Unit]:
    """Yield finished units as they come, in any order.

    Args:
        plan: What to make.
        indices: Units still missing.
        studio: The weights, loaded.
        weights: Paths of generator, guide and judge, for worker processes to load.
        workers: Processes; with one, or with one unit to make, work is done in this process.

    Raises:
        MemoryExhaustedError: If a worker process was killed.
    """
    if workers > 1 and len(indices) > 1:
        yield from _in_processes(plan, indices, weights, min(workers, len(indices)))
        return
    with pinned_threads(plan.search.threads):
        for index in indices:
            yield (index, *build_unit(plan, index, studio))
            _give_back()


def torchrun_place() -> tuple[int, int]:
    """This process's number and how many there are: torchrun's RANK and WORLD_SIZE, or 0 of 1."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def own_share(indices: Sequence[int], place: int, places: int) -> list[int]:
    """The units this process makes, by their number alone: processes may see different units missing."""
    return [index for index in indices if index % places == place]


@contextlib.contextmanager
def pinned_threads(count: int) -> Iterator[None]:
    """Run torch with exactly `count` threads: their number decides the last bits of every result."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_processes(plan: Plan, indices: Sequence[int], weights: tuple[Path, Path, Path], workers: int) -> Iterator[Unit]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(plan, weights))
    waiting = list(reversed(indices))
    running: set[Future[Unit]] = set()
    try:
        while waiting or running:
            while waiting and len(running) < workers * _AHEAD:
                running.add(pool.submit(_work, waiting.pop()))
            done = next(as_completed(running))
            running.discard(done)
            yield done.result()
    except BrokenProcessPool as err:
        raise MemoryExhaustedError(
            "A worker process was killed, most likely because memory ran out.",
            fix="Run the same command again, finished units are kept; or give --workers 1.",
        ) from err
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: tuple[Plan, Studio] | None = None


def _start_worker(plan: Plan, weights: tuple[Path, Path, Path]) -> None:
    global _worker
    end_with_parent()
    torch.set_num_threads(plan.search.threads)
    _worker = (plan, open_studio(*weights))


def _work(index: int) -> Unit:
    if _worker is None:
        raise RuntimeError("the worker was not started")
    plan, studio = _worker
    unit = (index, *build_unit(plan, index, studio))
    _give_back()
    return unit


def _give_back() -> None:
    """Let the system have the memory torch no longer uses: what glibc keeps of it grows from unit to unit.

    After eleven units of 256 images at 64 px a process holds 550 MB and not 664 (2026-11-23).
    """
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def end_with_parent() -> None:
    """End this process soon after its parent has: a worker whose parent was killed would wait for ever."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(1)
