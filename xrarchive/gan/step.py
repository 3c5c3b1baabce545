"""One training step: one update of the discriminator, one of the generator, one of its average.

Both updates see the same generated images: they are made once, and only scored again after the discriminator moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xrarchive.gan.devices import Devices
from xrarchive.gan.draws import draw_latents, draw_mix
from xrarchive.gan.layers import kernels_ready
from xrarchive.gan.losses import discriminator_loss, generator_loss, gradient_penalty, r1_penalty
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState


class NotFiniteError(ArithmeticError):
    """A loss or a gradient became NaN or infinite; the weights have not been touched by it."""


@dataclass(frozen=True)
class Losses:
    """What a step gave: losses and scores as means over the whole batch, gradients as sums of their norms."""

    discriminator: float
    generator: float
    real_score: float
    fake_score: float
    discriminator_gradient: float
    generator_gradient: float


def train_step(
    state: TrainingState, settings: GeneratorSettings, real: Tensor, *, batch: int, alpha: float, devices: Devices
) -> Losses:
    """Update both networks and the average on `real`, this device's part of a batch, and count it as shown.

    Args:
        state: Changed in place.
        settings: The run's settings.
        real: float32 [batch / world size, C, px, px] in [black, 1], on the device.
        batch: Radiographs on all devices together.
        alpha: Fade weight.
        devices: Where this process stands among others.

    Raises:
        NotFiniteError: Before an update that would spoil the weights. The optimisers have not been touched by it.
    """
    generator, discriminator, dtype = state.generator, state.discriminator, devices.dtype
    group = settings.group_of(batch)
    latents = devices.part(draw_latents(settings, state.nimg, batch, retry=state.retry))

    def critic(images: Tensor) -> Tensor:
        return discriminator(images, alpha, group=group, dtype=dtype)  # type: ignore[no-any-return]

    with kernels_ready(generator, dtype):
        fake = generator(latents, real.shape[-1], alpha, dtype=dtype)

    discriminator.requires_grad_(True)
    with kernels_ready(discriminator, dtype):
        shown = torch.cat([real, fake.detach()]).contiguous(memory_format=torch.channels_last)
        real_scores, fake_scores = critic(shown).chunk(2)
        loss_d = discriminator_loss(real_scores, fake_scores, settings)
        if settings.loss == "wgan-gp":
            mix = devices.part(draw_mix(settings, state.nimg, batch, retry=state.retry))
            loss_d = loss_d + settings.gp_lambda * gradient_penalty(critic, real, fake.detach(), mix)
        elif state.steps % settings.r1_interval == 0:
            loss_d = loss_d + settings.r1_gamma / 2 * settings.r1_interval * r1_penalty(critic, real)
    state.discriminator_optimiser.zero_grad(set_to_none=True)
    loss_d.backward()  # type: ignore[no-untyped-call]
    figures_d = devices.agree(discriminator, loss_d, real_scores.mean(), fake_scores.mean())
    _require_finite(figures_d, "discriminator", state.nimg)
    state.discriminator_optimiser.step()

    discriminator.requires_grad_(False)
    with kernels_ready(discriminator, dtype):
        loss_g = generator_loss(critic(fake), settings)
    state.generator_optimiser.zero_grad(set_to_none=True)
    loss_g.backward()  # type: ignore[no-untyped-call]
    figures_g = devices.agree(generator, loss_g)
    _require_finite(figures_g, "generator", state.nimg)
    state.generator_optimiser.step()

    state.nimg += batch
    state.steps += 1
    moved = 1 - settings.decay_at(state.nimg, batch)
    with torch.no_grad():
        torch._foreach_lerp_(list(state.averaged.parameters()), list(generator.parameters()), moved)
    return Losses(figures_d[0], figures_g[0], figures_d[1], figures_d[2], figures_d[3], figures_g[1])


def _require_finite(figures: tuple[float, ...], network: str, nimg: int) -> None:
    if not all(map(_is_finite, figures)):
        told = ", ".join(f"{figure:g}" for figure in figures)
        raise NotFiniteError(f"the {network}'s loss or gradient became NaN or infinite after {nimg} images ({told})")


def _is_finite(figure: float) -> bool:
    return abs(figure) < float("inf")
