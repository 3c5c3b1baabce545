"""A conditional PGGAN for `bench_class_gans.py`: our networks, a moved latent and a projection discriminator.

Both networks take the findings of a batch from `condition`, so that `train_step` trains them as it trains any: real
film n and generated image n of a batch bear the same findings.

Source: Miyato and Koyama 2018 (arXiv 1802.05637), eq. 5.
"""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from xrarchive.gan.devices import Devices
from xrarchive.gan.draws import batch_of
from xrarchive.gan.layers import EqualLinear
from xrarchive.gan.loading import as_shown
from xrarchive.gan.networks import Generator
from xrarchive.gan.schedule import stage_at
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState, new_state
from xrarchive.gan.step import train_step
from xrarchive.pixels import Pixels
from xrarchive.records import OnStatus, Status, ignore_status

Mask = npt.NDArray[np.bool_]


class ConditionalGenerator(nn.Module):
    """A `Generator` whose latent is moved by an embedding of the findings asked for.

    `condition`, float32 [n, K] of ones and zeros, is set before a call; latents [m n, Z] take it m times over.
    """

    def __init__(self, generator: Generator, findings: int) -> None:
        super().__init__()
        self.settings, self.inner = generator.settings, generator
        # A finding moves the latent about as far as the latent is long.
        self.embed = EqualLinear(findings, self.settings.latent_size, gain=findings**0.5)
        self.condition = torch.zeros(1, findings)

    def forward(
        self, latents: Tensor, px: int | None = None, alpha: float = 1.0, *, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """As `Generator.forward`."""
        moved = latents + self.embed(repeated(self.condition, latents).to(dtype)).to(latents.dtype)
        images: Tensor = self.inner(moved, px, alpha, dtype=dtype)
        return images


class ProjectionScore(nn.Module):
    """The last layer of a `Discriminator`, with Miyato and Koyama's term: score(h) + <embedding(findings), h>."""

    def __init__(self, score: EqualLinear, findings: int) -> None:
        super().__init__()
        self.score, width = score, score.weight.shape[1]
        self.embed = EqualLinear(findings, width, gain=(findings / width) ** 0.5)
        self.condition = torch.zeros(1, findings)

    def forward(self, features: Tensor) -> Tensor:
        """[N, width] -> [N, 1]."""
        embedded = self.embed(repeated(self.condition, features).to(features.dtype))
        score: Tensor = self.score(features) + (embedded * features).sum(dim=1, keepdim=True)
        return score


def repeated(condition: Tensor, rows: Tensor) -> Tensor:
    """[n, K], as often as fills [m n, ...]: `train_step` scores real and generated images in one pass."""
    if len(rows) % len(condition):
        raise ValueError(f"{len(rows)} images cannot share {len(condition)} conditions")
    return condition.repeat(len(rows) // len(condition), 1)


def conditional_state(settings: GeneratorSettings, findings: int) -> TrainingState:
    """As `new_state`, of conditional networks; optimisers as there."""
    plain = new_state(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        generator = ConditionalGenerator(plain.generator, findings)
        plain.discriminator.score = ProjectionScore(plain.discriminator.score, findings)  # type: ignore[assignment]
    averaged = copy.deepcopy(generator).requires_grad_(False).eval()
    networks = (generator, plain.discriminator)
    options = {"lr": settings.learning_rate, "betas": (0.0, settings.beta2), "eps": settings.epsilon, "fused": True}
    optimisers = [torch.optim.Adam(network.parameters(), **options) for network in networks]  # type: ignore[arg-type]
    return TrainingState(generator, plain.discriminator, averaged, *optimisers)  # type: ignore[arg-type]


def balanced_rows(called: Mask) -> npt.NDArray[np.int64]:
    """Rows of bool [N, K] such that each finding's films are shown equally often in all, as its own PGGAN would."""
    per_finding = [np.flatnonzero(called[:, column]) for column in range(called.shape[1])]
    most = max(map(len, per_finding))
    return np.concatenate([np.resize(rows, most) for rows in per_finding]).astype(np.int64)


def train_conditional(
    settings: GeneratorSettings,
    pixels: Pixels,
    labels: Tensor,
    rows: npt.NDArray[np.int64],
    *,
    dtype: torch.dtype = torch.float32,
    on_status: OnStatus = ignore_status,
) -> TrainingState:
    """The loop of `train_generator` without its files: same steps, growth and average.

    Args:
        settings: Of the training.
        pixels: uint8 [N, H, W] at the settings' resolution.
        labels: float32 [N, K] of ones and zeros.
        rows: Films to show, each as often as it stands here.
        dtype: What convolutions compute in.
        on_status: Told after every step.
    """
    state, devices = conditional_state(settings, labels.shape[1]), Devices(dtype=dtype)
    sizes = {settings.resolution: pixels}
    while (px := min(sizes)) > settings.start_px:
        sizes[px // 2] = halved(sizes[px])
    while state.nimg < settings.nimg:
        stage, alpha = stage_at(settings, state.nimg)
        batch = batch_of(rows, settings, state.nimg, stage.batch)
        condition = labels[batch]
        state.generator.condition = condition  # type: ignore[assignment]
        state.discriminator.score.condition = condition  # type: ignore[assignment]
        real = as_shown(sizes[stage.px][batch], alpha, settings)
        losses = train_step(state, settings, real, batch=stage.batch, alpha=alpha, devices=devices)
        text = f"{stage.px} px, alpha {alpha:.2f}, D {losses.discriminator:.3f}, G {losses.generator:.3f}"
        on_status(Status(min(state.nimg, settings.nimg), settings.nimg, "images", text))
    return state


def halved(pixels: Pixels) -> Pixels:
    """2x2 averages, halves rounded up, as a radiograph set stores them."""
    count, side = len(pixels), pixels.shape[-1] // 2
    total = pixels.reshape(count, side, 2, side, 2).astype(np.uint16).sum(axis=(2, 4))
    found: Pixels = ((total + 2) // 4).astype(np.uint8)
    return found


def network_parameters(state: TrainingState) -> list[nn.Parameter]:
    return [*state.generator.parameters(), *state.discriminator.parameters()]
