"""Accepted images per CPU-second: the search beside rejection sampling and beside the plain loop, under one rule.

The rule of all three: the image as it would be stored (float32, 8 bits) scores at or above the bar of every finding
asked for. Bars are set so that 10 %, 1 % and 0.1 % of random draws pass. Part of `bench_latents.py`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from xrarchive.gan.layers import kernels_ready
from xrarchive.latents import draw_latent, search_latents, to_sphere
from xrarchive.plan import SearchSettings
from xrarchive.synthesis import Studio, render

PASS_SHARES = (0.1, 0.01, 0.001)
# The loop everybody writes first: so many latents at a time, Adam, until all are accepted or so many steps.
PLAIN_LATENTS, PLAIN_STEPS, PLAIN_RATE = 100, 200, 0.1
_POOL_SEED, _REJECTION_SEED, _PLAIN_SEED, _OURS_SEED = 900, 901, 902, 903
_BATCH = 32


@dataclass(frozen=True)
class Task:
    """Findings asked for together, and the bars float32 [K + J] of a pass share; -inf = not asked."""

    findings: tuple[str, ...]
    share: float
    bars: npt.NDArray[np.float32]


def pool_outputs(studio: Studio, count: int) -> npt.NDArray[np.float32]:
    """The guide's outputs float32 [count, K + J] of random draws, as they would be stored."""
    with kernels_ready(studio.snapshot.generator, torch.float32):
        return np.concatenate([_exact(studio, latents)[1] for latents in _draws(studio, _POOL_SEED, count)])


def make_tasks(studio: Studio, outputs: npt.NDArray[np.float32], sets: Sequence[tuple[str, ...]]) -> list[Task]:
    """A task for each set of findings and each pass share; in a pair both bars lie at the same quantile."""
    return [
        Task(findings, share, _bars(studio, outputs, findings, share)) for share in PASS_SHARES for findings in sets
    ]


def _bars(
    studio: Studio, outputs: npt.NDArray[np.float32], findings: tuple[str, ...], share: float
) -> npt.NDArray[np.float32]:
    columns = [studio.guide.vocabulary.index(name) for name in findings]
    ranks = outputs[:, columns].argsort(axis=0).argsort(axis=0).min(axis=1)  # of the weaker finding
    rank = np.sort(ranks)[-max(1, round(share * len(outputs)))]
    bars = np.full(outputs.shape[1], -np.inf, np.float32)
    bars[columns] = np.sort(outputs[:, columns], axis=0)[rank]
    return bars


def time_task(studio: Studio, task: Task, *, images: int, repeats: int, search: SearchSettings) -> dict[str, Any]:
    """Accepted images per CPU-second of the three, each the median of its repeats (the plain loop runs once)."""
    ours = [_per_cpu_s(lambda r=r: _ours(studio, task, images, r, search)) for r in range(repeats)]
    rejection = statistics.median(_draws_per_cpu_s(studio, r) for r in range(repeats)) * task.share
    plain = _per_cpu_s(lambda: _plain(studio, task))
    rate = statistics.median(rate for rate, _ in ours)
    return {
        "findings": list(task.findings),
        "pass_share": task.share,
        "ours": rate,
        "rejection": rejection,
        "plain": plain[0],
        "plain_accepted": plain[1],
        "ratio_rejection": rate / rejection,
        "ratio_plain": rate / plain[0] if plain[0] else None,
    }


def _per_cpu_s(run: Callable[[], int]) -> tuple[float, int]:
    started = time.process_time()
    accepted = run()
    return accepted / (time.process_time() - started), accepted


def _ours(studio: Studio, task: Task, images: int, repeat: int, search: SearchSettings) -> int:
    low = np.tile(task.bars, (images, 1))
    with kernels_ready(studio.snapshot.generator, torch.float32):
        found = search_latents(
            generator=studio.snapshot.generator,
            guide=studio.guide,
            low=low,
            high=np.full_like(low, np.inf),
            settings=search,
            seed=_OURS_SEED + repeat,
            exact=lambda latents: _exact(studio, latents),
        )
    return int(found.reached.sum())


def _draws_per_cpu_s(studio: Studio, repeat: int, batches: int = 16) -> float:
    """Draws rendered, stored and scored per CPU-second; times the pass share it is what rejection accepts."""

    def run() -> int:
        with kernels_ready(studio.snapshot.generator, torch.float32):
            for latents in _draws(studio, _REJECTION_SEED + repeat, batches * _BATCH):
                _exact(studio, latents)
        return batches * _BATCH

    return _per_cpu_s(run)[0]


def _plain(studio: Studio, task: Task) -> int:
    """Binary cross-entropy, Adam, 100 latents: until all are accepted or 200 steps were taken."""
    generator, guide = studio.snapshot.generator, studio.guide
    asked = torch.from_numpy(np.isfinite(task.bars[: len(guide.vocabulary)]))
    (latents,) = _draws(studio, _PLAIN_SEED, PLAIN_LATENTS, PLAIN_LATENTS)
    latents.requires_grad_()
    optimiser = torch.optim.Adam([latents], PLAIN_RATE)
    accepted = np.zeros(PLAIN_LATENTS, bool)
    with kernels_ready(generator, torch.float32):
        for step in range(PLAIN_STEPS + 1):
            logits = guide.logits(generator(latents))
            likely = (logits.detach().numpy() >= task.bars[: len(guide.vocabulary)]).all(axis=1) & ~accepted
            if likely.any():
                _, outputs = _exact(studio, to_sphere(latents.detach()[likely]))
                accepted[np.flatnonzero(likely)[(outputs >= task.bars).all(axis=1)]] = True
            if accepted.all() or step == PLAIN_STEPS:
                break
            optimiser.zero_grad()
            F.softplus(-logits[:, asked]).sum().backward()
            optimiser.step()
    return int(accepted.sum())


def _draws(studio: Studio, seed: int, count: int, batch: int = _BATCH) -> list[torch.Tensor]:
    size = studio.snapshot.settings.latent_size
    latents = torch.stack([draw_latent(seed, number, size) for number in range(count)])
    return list(torch.split(latents, batch))


def _exact(studio: Studio, latents: torch.Tensor) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    pixels = render(studio.snapshot.generator, latents)
    return pixels, studio.guide.outputs(pixels)
