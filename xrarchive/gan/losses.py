"""The two adversarial losses: non-saturating logistic with lazy R1, and WGAN-GP with drift."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from xrarchive.gan.settings import GeneratorSettings

Critic = Callable[[Tensor], Tensor]  # float [N, C, H, W] -> float32 [N]


def generator_loss(fake_scores: Tensor, settings: GeneratorSettings) -> Tensor:
    """What the generator minimises, a mean over [N] scores."""
    if settings.loss == "logistic":
        return F.softplus(-fake_scores).mean()
    return -fake_scores.mean()


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor, settings: GeneratorSettings) -> Tensor:
    """What the discriminator minimises, without its gradient penalty."""
    if settings.loss == "logistic":
        return F.softplus(fake_scores).mean() + F.softplus(-real_scores).mean()
    return fake_scores.mean() - real_scores.mean() + settings.drift * real_scores.square().mean()


def r1_penalty(critic: Critic, real: Tensor) -> Tensor:
    """Mean squared gradient norm at real images (Mescheder et al. 2018, eq. 9, without gamma/2)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Mean (norm - 1)^2 of the gradient between real and fake (Gulrajani et al. 2017, eq. 3, without lambda).

    Args:
        critic: The discriminator.
        real: float [N, C, H, W].
        fake: float [N, C, H, W].
        mix: float [N, 1, 1, 1] in [0, 1], the position between the two.
    """
    between = torch.lerp(real, fake, mix).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.float().flatten(1), dim=1)
    return (norms - 1).square().mean()
