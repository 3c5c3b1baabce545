"""Does the discriminator know its films by heart? Then it tells them from films it never saw, as can whoever has it.

Measured beside KID while a generator trains, since such a discriminator is not for publishing: the audit of `xrarchive
validate` asks the same of a finished snapshot, with more films. Images do not depend on the answer.
Source: the critic's score as Hayes et al. 2019 (arXiv 1705.07663), white-box attack.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from xrarchive.bootstrap import make_rng
from xrarchive.gan.layers import kernels_ready
from xrarchive.gan.loading import as_shown
from xrarchive.gan.networks import Discriminator
from xrarchive.pixels import Pixels
from xrarchive.radiographs import RadiographSet
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.statistics import bootstrap_auroc
from xrarchive.trained_films import ATTACK_BAR

# Films of either side while training: an AUROC of .55 then has an interval of .025 each way.
FILMS = 1000

_BATCH = 32
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Memory:
    """AUROC with which training films are told from held-out ones, with its 95 % interval; .5 = by chance.

    Attributes:
        value: In 0..1.
        low: Lower end.
        high: Upper end.
        n: Films of either side.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def leaks(self) -> bool:
        """Whether the weights of this discriminator would be kept back, and not for want of films alone."""
        return self.low > 0.5 and self.high > ATTACK_BAR


def measure_memory(
    discriminator: Discriminator, radiographs: RadiographSet, trained: Rows, unseen: Rows, *, most: int = FILMS
) -> Memory | None:
    """How well the discriminator tells films it was trained on from others of the same sources.

    Args:
        discriminator: In training or not; it stays as it is.
        radiographs: The set.
        trained: int64 [N], rows it is trained on.
        unseen: int64 [M], rows it never sees.
        most: Films of either side at most, drawn the same way each time.

    Returns:
        None if there are no films of a source that both sides have.
    """
    shared = np.intersect1d(radiographs.sources[trained], radiographs.sources[unseen])
    sides = [rows[np.isin(radiographs.sources[rows], shared)] for rows in (trained, unseen)]
    count = min(most, *map(len, sides))
    if not count:
        return None
    rng, px = make_rng(0, "discriminator's memory"), discriminator.settings.resolution
    films = [radiographs.read(np.sort(rng.choice(rows, count, replace=False)), px) for rows in sides]
    scores = np.concatenate([critic_scores(discriminator, pixels) for pixels in films])
    found = bootstrap_auroc(scores, np.repeat([1, 0], count))
    return Memory(found.value, found.low, found.high, count)


def critic_scores(
    discriminator: Discriminator, pixels: Pixels, *, on_status: OnStatus = ignore_status
) -> npt.NDArray[np.float64]:
    """How much of a radiograph the discriminator takes each film for.

    It also looks at how much the images of a group differ. So that no film is judged by the films beside it, each
    stands alone. Measured: this tells as much as a group of synthetic companions, the same for all films.

    Args:
        discriminator: On any device.
        pixels: uint8 [N, H, H], of the generator's size.
        on_status: Told after every batch.

    Returns:
        float64 [N].
    """
    device, scores = next(discriminator.parameters()).device, np.empty(len(pixels))
    with torch.inference_mode(), kernels_ready(discriminator, torch.float32):
        for start in range(0, len(pixels), _BATCH):
            films = as_shown(np.ascontiguousarray(pixels[start : start + _BATCH]), 1.0, discriminator.settings)
            found = discriminator(films.to(device), group=1)
            scores[start : start + len(films)] = found.double().cpu().numpy()
            on_status(Status(start + len(films), len(pixels), "films", "critic"))
    return scores
