"""Everything random in a training, as functions of (seed, images shown): a resumed run is the straight run.

Whole batches are drawn, of which each device takes its part, so that the number of devices changes nothing.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xrarchive.gan.settings import GeneratorSettings

_LATENT_STREAM, _ORDER_STREAM, _MIX_STREAM, _FIXED_STREAM, _AUGMENTATION_STREAM = range(5)
Indices = npt.NDArray[np.int64]


def batch_of(rows: Indices, settings: GeneratorSettings, nimg: int, batch: int, *, retry: int = 0) -> Indices:
    """The radiographs shown from image `nimg` on: one permutation of `rows` per pass, cut into batches.

    Args:
        rows: int64 [N] of radiographs to show.
        settings: Whose seed decides.
        nimg: Radiographs shown before.
        batch: How many to take, at most N.
        retry: Another order, after a rollback.

    Returns:
        int64 [batch].
    """
    wanted = np.arange(nimg, nimg + batch)
    taken = np.empty(batch, np.int64)
    for current in range(wanted[0] // len(rows), wanted[-1] // len(rows) + 1):
        here = wanted // len(rows) == current
        taken[here] = rows[_order(settings.seed, current, retry, len(rows))[wanted[here] % len(rows)]]
    return taken


def draw_latents(settings: GeneratorSettings, nimg: int, count: int, *, retry: int = 0) -> Tensor:
    """float32 [count, Z] standard normal latents of the step at `nimg`."""
    rng = _rng(settings.seed, _LATENT_STREAM, nimg, retry=retry)
    return torch.from_numpy(rng.standard_normal((count, settings.latent_size), dtype=np.float32))


def draw_mix(settings: GeneratorSettings, nimg: int, count: int, *, retry: int = 0) -> Tensor:
    """float32 [count, 1, 1, 1] uniform in [0, 1): where between real and generated the penalty is taken."""
    rng = _rng(settings.seed, _MIX_STREAM, nimg, retry=retry)
    return torch.from_numpy(rng.random((count, 1, 1, 1), dtype=np.float32))


def draw_augmentation(settings: GeneratorSettings, nimg: int, count: int, *, retry: int = 0) -> Tensor:
    """float32 [count, 3] uniform in [-1, 1): shift down, shift right, change of contrast."""
    rng = _rng(settings.seed, _AUGMENTATION_STREAM, nimg, retry=retry)
    return torch.from_numpy(rng.random((count, 3), dtype=np.float32)) * 2 - 1


def fixed_latents(settings: GeneratorSettings, count: int) -> Tensor:
    """float32 [count, Z]: the latents whose images are looked at and measured throughout a training."""
    rng = _rng(settings.seed, _FIXED_STREAM)
    return torch.from_numpy(rng.standard_normal((count, settings.latent_size), dtype=np.float32))


@functools.lru_cache(maxsize=2)
def _order(seed: int, current: int, retry: int, count: int) -> Indices:
    """The permutation of a pass, kept while it lasts."""
    return _rng(seed, _ORDER_STREAM, current, retry=retry).permutation(count)


def _rng(seed: int, *keys: int, retry: int = 0) -> np.random.Generator:
    return np.random.default_rng((seed, *keys, *([retry] if retry else [])))
