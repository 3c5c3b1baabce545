"""Latent class optimisation, after Segal et al. 2020: search the latent space until a classifier sees the findings.

The paper states the idea (a frozen unconditional PGGAN, a latent moved until a classifier assigns the wanted classes)
and not its hyper-parameters; loss, optimiser and stopping rule here are ours. Latents in, latents and what became of
each out. Called by `synthesis`.

*Why the sphere*: the generator divides a latent by its root mean square, so that only its direction matters. Staying on
the sphere of norm sqrt(Z) keeps the prior, and the angle between start and end is the honest measure of the push.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xrarchive.classifier.classifier import Classifier
from xrarchive.errors import InputDataError
from xrarchive.gan.networks import Generator
from xrarchive.plan import SearchSettings

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class LatentSearch:
    """The outcome for N latents.

    Attributes:
        latents: float32 [N, Z], norm sqrt(Z): where the search stopped.
        reached: bool [N]: every asked finding cleared its threshold by the margin.
        steps: int64 [N]: steps taken from the start.
    """

    latents: Tensor
    reached: Tensor
    steps: Tensor


def draw_latent(seed: int, attempt: int, latent_size: int) -> Tensor:
    """The start latent of one image: float32 [Z], uniform on the sphere of norm sqrt(Z)."""
    normal = np.random.default_rng((seed, attempt)).standard_normal(latent_size, dtype=np.float32)
    return to_sphere(torch.from_numpy(normal)[None])[0]


def to_sphere(latents: Tensor) -> Tensor:
    """Scale float [N, Z] to norm sqrt(Z)."""
    norms: Tensor = torch.linalg.vector_norm(latents, dim=1, keepdim=True)
    return latents * (math.sqrt(latents.shape[1]) / norms)


def travel_deg(start: Tensor, end: Tensor) -> Tensor:
    """Angle in degrees between float [N, Z] latents, row by row."""
    cosine = F.cosine_similarity(start.double(), end.double(), dim=1).clamp(-1, 1)
    return torch.rad2deg(torch.arccos(cosine))


def optimise_latents(
    start: Tensor,
    *,
    asked: Tensor,
    generator: Generator,
    guide: Classifier,
    settings: SearchSettings,
) -> LatentSearch:
    """Move latents along the guide's gradient until it sees what was asked.

    A latent that clears all its thresholds leaves the batch at once; findings not asked for take no part in the loss.

    Args:
        start: float32 [N, Z] on the sphere.
        asked: bool [N, K], the findings each image is to show, in the guide's order; at least one each.
        generator: Frozen; images float32 [N, 1, H, W].
        guide: Frozen; calibrated logits.
        settings: Steps, learning rate, margin.

    Raises:
        InputDataError: If the guide gives NaN or infinity.
    """
    bars = torch.logit(torch.from_numpy(guide.thresholds)) + settings.margin
    latents, steps = start.clone(), torch.zeros(len(start), dtype=torch.int64)
    reached = torch.zeros(len(start), dtype=torch.bool)
    first, second = torch.zeros_like(start), torch.zeros_like(start)
    active = torch.arange(len(start))
    for step in range(settings.steps + 1):
        point = latents[active].requires_grad_()
        logits = guide.logits(generator(point))
        if not torch.isfinite(logits).all():
            raise InputDataError(
                f"The guide {guide.sha256[:12]} gave NaN or infinity during the search.", fix="Train the guide again."
            )
        passed = torch.where(asked[active], logits.detach() >= bars, True).all(dim=1)
        reached[active[passed]] = True
        steps[active] = step
        if passed.all() or step == settings.steps:
            break
        loss = (F.softplus(-logits) * asked[active]).sum(dim=1)[~passed].sum()
        (gradient,) = torch.autograd.grad(loss, point)
        active, gradient = active[~passed], gradient[~passed]
        update = _adam(gradient, first, second, active, step + 1)
        latents[active] = to_sphere(latents[active] - settings.learning_rate * update)
    return LatentSearch(latents, reached, steps)


def _adam(gradient: Tensor, first: Tensor, second: Tensor, active: Tensor, step: int) -> Tensor:
    """Adam's direction (Kingma & Ba 2015) for the active rows; `first` and `second` moments are updated in place."""
    first[active] = torch.lerp(first[active], gradient, 1 - _BETA1)
    second[active] = torch.lerp(second[active], gradient.square(), 1 - _BETA2)
    mean = first[active] / (1 - _BETA1**step)
    spread = second[active] / (1 - _BETA2**step)
    return mean / (spread.sqrt() + _EPSILON)
