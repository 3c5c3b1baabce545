"""Trials: what small networks learn from one set of images and then see in others. Left of the waist.

Images with labels and the images to be scored come in, logits go out. Every network has a process's single thread and a
seed of its own, so that its logits depend neither on how many processes there are nor on which network was before.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from xrarchive.classifier.fitting import fit_network, network_logits
from xrarchive.classifier.settings import ClassifierSettings
from xrarchive.errors import MemoryExhaustedError
from xrarchive.gan.training import keep_heap
from xrarchive.pixels import Pixels, area_average
from xrarchive.units import end_with_parent, pinned_threads

Logits = npt.NDArray[np.float32]

# Images averaged at a time: at 1024 px 256 MB as float32.
_SHRUNK_AT_ONCE = 64
# Trials handed to the processes before one of them is done.
_AHEAD = 4


@dataclass(frozen=True)
class Images:
    """What a network learns from: uint8 [N, H, W], float32 [N, K] of 1, 0, NaN or a probability."""

    pixels: Pixels
    labels: Logits

    def beside(self, others: Images) -> Images:
        """These and others."""
        return Images(np.concatenate([self.pixels, others.pixels]), np.concatenate([self.labels, others.labels]))

    def of(self, rows: npt.NDArray[np.int64]) -> Images:
        """Those of `rows` [n]."""
        return Images(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True)
class Trial:
    """A network: what it learns from, the images [T, H, W] it then scores, and which network of its arm it is."""

    learned: Images
    shown: Pixels
    member: int


def fit_trial(trial: Trial, settings: ClassifierSettings) -> Logits:
    """Logits float32 [T, K] of the images shown; `settings` must be resolved, the network is seeded by the member."""
    network = fit_network(
        trial.learned.pixels, trial.learned.labels, role="guide", settings=settings, member=trial.member
    )
    return network_logits(network, trial.shown, settings.input_px)


def run_trials(trials: Iterable[Trial], settings: ClassifierSettings, *, workers: int = 1) -> Iterator[Logits]:
    """`fit_trial` of each, in order, in up to `workers` processes of one thread; their number changes nothing.

    Trials are asked for as processes come free: what they hold is in memory for a few of them only.

    Raises:
        MemoryExhaustedError: If a process was killed.
    """
    if workers < 2:
        for trial in trials:
            with pinned_threads(1):
                logits = fit_trial(trial, settings)
            yield logits
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    running: deque[Future[Logits]] = deque()
    try:
        for trial in trials:
            running.append(pool.submit(fit_trial, trial, settings))
            if len(running) >= workers * _AHEAD:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenProcessPool as err:
        raise MemoryExhaustedError(
            "A process that trained a network was killed, most likely because memory ran out.",
            fix="Run the same command again with --workers 1.",
        ) from err
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def call_as_often(logits: Logits, shares: npt.ArrayLike) -> Logits:
    """float32 [N, K] of 1 and 0: each finding on the `shares` [K] of the rows where its logit is highest."""
    calls = np.zeros(logits.shape, np.float32)
    for column, share in enumerate(np.asarray(shares)):
        count = round(float(share) * len(logits))
        calls[np.argsort(-logits[:, column], kind="stable")[:count], column] = 1
    return calls


def shrink_pixels(pixels: Pixels, px: int) -> Pixels:
    """uint8 [N, H, H] area-averaged to [N, px, px] and rounded; `px` must divide H. A memory map is read in parts."""
    if pixels.shape[1] == px:
        return np.array(pixels)
    small = np.empty((len(pixels), px, px), np.uint8)
    for start in range(0, len(pixels), _SHRUNK_AT_ONCE):
        part = slice(start, start + _SHRUNK_AT_ONCE)
        small[part] = np.rint(area_average(pixels[part], px))
    return small


def _start_worker() -> None:
    end_with_parent()
    torch.set_num_threads(1)
    keep_heap()
