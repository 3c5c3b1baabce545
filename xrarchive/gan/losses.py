"""The two adversarial losses: non-saturating logistic with lazy R1, and WGAN-GP with drift."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xrarchive.gan.networks import Discriminator
from xrarchive.gan.settings import GeneratorSettings


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


def r1_penalty(discriminator: Discriminator, real: Tensor, alpha: float) -> Tensor:
    """Mean squared gradient norm at real images (Mescheder et al. 2018, eq. 9, without gamma/2)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real, alpha).sum(), real, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(discriminator: Discriminator, real: Tensor, fake: Tensor, mix: Tensor, alpha: float) -> Tensor:
    """Mean (norm - 1)^2 of the gradient between real and fake (Gulrajani et al. 2017, eq. 3, without lambda).

    Args:
        discriminator: The critic.
        real: float [N, 1, H, W].
        fake: float [N, 1, H, W].
        mix: float [N, 1, 1, 1] in [0, 1], the position between the two.
        alpha: Fade weight.
    """
    between = torch.lerp(real, fake, mix).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(between, alpha).sum(), between, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.float().flatten(1), dim=1)
    return (norms - 1).square().mean()
