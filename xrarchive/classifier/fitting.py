"""Fit one classifier network: pixels and labels in, a network in evaluation mode out."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from xrarchive.classifier.calibration import positive_weights
from xrarchive.classifier.networks import Network, make_network
from xrarchive.classifier.settings import ROLES, ClassifierSettings, Role
from xrarchive.pixels import to_planes
from xrarchive.weights import channels_last

Labels = npt.NDArray[np.float32]
_WARM_UP_SHARE = 0.1
_SCORING_BATCH = 256


def to_input(pixels: npt.NDArray[np.uint8], input_px: int) -> Tensor:
    """uint8 [N, H, W] -> float [N, 1, h, w] in [-1, 1], area-averaged to `input_px` where that is smaller."""
    return shrink(torch.from_numpy(to_planes(pixels)), input_px)


def shrink(planes: Tensor, input_px: int) -> Tensor:
    """Area-average float [N, 1, H, W] to `input_px` where that is smaller; H must be a multiple of it."""
    factor = planes.shape[-1] // input_px
    return F.avg_pool2d(planes, factor) if factor > 1 else planes


def masked_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over the known labels of [N, K]; NaN = unknown takes no part.

    A positive counts `weights` [K] times, None = once.
    """
    known = ~torch.isnan(labels)
    losses = F.binary_cross_entropy_with_logits(logits, torch.nan_to_num(labels), reduction="none", pos_weight=weights)
    return losses[known].sum() / known.sum().clamp(min=1)


def fit_network(
    pixels: npt.NDArray[np.uint8], labels: Labels, *, role: Role, settings: ClassifierSettings, member: int
) -> Network:
    """Train a network on uint8 [N, H, W] and float32 [N, K] labels in {1, 0, NaN}.

    Deterministic in (seed, role, member); `settings` must be resolved for the role.
    """
    rng = np.random.default_rng((settings.seed, ROLES.index(role), member))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network = make_network(settings.architecture, labels.shape[1], settings.width, settings.input_px)
        _run(channels_last(network), pixels, labels, settings, rng)
    return network.eval().requires_grad_(False)


def _run(
    network: Network,
    pixels: npt.NDArray[np.uint8],
    labels: Labels,
    settings: ClassifierSettings,
    rng: np.random.Generator,
) -> None:
    steps_per_epoch = max(1, len(pixels) // settings.batch)
    total = steps_per_epoch * settings.epochs
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    weights = torch.from_numpy(positive_weights(labels))
    network.train()
    for _ in range(settings.epochs):
        order = rng.permutation(len(pixels))
        for part in np.array_split(order, steps_per_epoch):
            images = to_input(pixels[part], settings.input_px)
            images = augment(images, settings, rng).contiguous(memory_format=torch.channels_last)
            loss = masked_loss(network(images), torch.from_numpy(labels[part]), weights)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()


def augment(images: Tensor, settings: ClassifierSettings, rng: np.random.Generator) -> Tensor:
    """Random shift, scale, contrast and brightness per image of float [N, 1, H, W]."""
    count = len(images)
    spread = torch.from_numpy(rng.uniform(-1, 1, (count, 5)).astype(np.float32))
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = 1 + settings.zoom * spread[:, 0]
    affine[:, :, 2] = 2 * settings.shift * spread[:, 1:3]
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = 1 + settings.contrast * spread[:, 3].view(-1, 1, 1, 1)
    return moved * gain + settings.contrast * spread[:, 4].view(-1, 1, 1, 1)


def network_logits(network: Network, pixels: npt.NDArray[np.uint8], input_px: int) -> npt.NDArray[np.float32]:
    """Raw logits float32 [N, K + J] of uint8 [N, H, W]."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), _SCORING_BATCH):
            images = to_input(pixels[start : start + _SCORING_BATCH], input_px)
            parts.append(network(images.contiguous(memory_format=torch.channels_last)).numpy())
    return np.concatenate(parts)


def _rate(step: int, total: int) -> float:
    warm = max(1, int(total * _WARM_UP_SHARE))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
