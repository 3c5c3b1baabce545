"""bfloat16 is float32 with rounding: the tolerances README and docstrings speak of."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from xrarchive.gan.devices import Devices
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState, new_state
from xrarchive.gan.step import Losses, train_step

LOSS_TOLERANCE = 0.02
GRADIENT_COSINE = 0.99


def one_step(loss: str, dtype: torch.dtype) -> tuple[TrainingState, Losses]:
    settings = GeneratorSettings(
        resolution=32,
        start_px=32,
        width_max=32,
        batch=16,
        learning_rate=1e-3,
        loss=loss,  # type: ignore[arg-type]
    )
    state = new_state(settings)
    real = torch.rand(16, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    losses = train_step(state, settings, real, batch=16, alpha=0.5, devices=Devices(dtype=dtype))
    return state, losses


def gradient(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("loss", ["logistic", "wgan-gp"])
def test_a_step_in_bfloat16_is_the_step_in_float32(loss: str) -> None:
    exact, losses = one_step(loss, torch.float32)
    rounded, near = one_step(loss, torch.bfloat16)
    assert dataclasses.astuple(near)[:4] == pytest.approx(dataclasses.astuple(losses)[:4], abs=LOSS_TOLERANCE)
    for name in ("generator", "discriminator"):
        first, second = gradient(getattr(exact, name)), gradient(getattr(rounded, name))
        assert torch.cosine_similarity(first, second, dim=0).item() > GRADIENT_COSINE, name
        assert second.norm().item() == pytest.approx(first.norm().item(), rel=LOSS_TOLERANCE), name
