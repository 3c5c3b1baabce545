"""pro-gan-pth 3.4's generator and its checkpoints, written down from its networks.py, modules.py and custom_layers.py.

Float64, no module of ours or theirs: the constant multiplies weights only; the latent is an image of one pixel, opened
by a transposed 4x4 convolution with a bias per channel and no normalisation after it; images in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def make_state(
    widths: Sequence[int], latent_size: int, *, channels: int = 3, seed: int = 0, grown: int | None = None
) -> State:
    """`Generator.state_dict()` with all its resolutions; biases past the first `grown` never left 0."""
    rng = torch.Generator().manual_seed(seed)
    state: State = {}

    def layer(name: str, level: int, biases: int, *shape: int) -> None:
        trained = grown is None or level < grown
        state[f"{name}.weight"] = torch.randn(*shape, generator=rng)
        state[f"{name}.bias"] = torch.randn(biases, generator=rng) if trained else torch.zeros(biases)

    layer("layers.0.conv_1", 0, widths[0], latent_size, widths[0], 4, 4)
    layer("layers.0.conv_2", 0, widths[0], widths[0], widths[0], 3, 3)
    for level in range(1, len(widths)):
        layer(f"layers.{level}.conv_1", level, widths[level], widths[level], widths[level - 1], 3, 3)
        layer(f"layers.{level}.conv_2", level, widths[level], widths[level], widths[level], 3, 3)
    for level, width in enumerate(widths):
        layer(f"rgb_converters.{level}", level, channels, channels, width, 1, 1)
    return state


def make_checkpoint(shadow: State, trained: State, latent_size: int, channels: int = 3) -> dict[str, object]:
    """What its `ProGAN.get_save_info` gives."""
    depth = 1 + sum(name.startswith("rgb_converters.") and name.endswith("weight") for name in shadow)
    conf = {"depth": depth, "num_channels": channels, "latent_size": latent_size, "use_eql": True}
    optimiser = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.003, "betas": (0.0, 0.99)}]}
    discriminator = {"conf": conf, "state_dict": {"layers.0.conv_1.weight": torch.ones(1, 4, 3, 3)}}
    return {
        "generator": {"conf": conf, "state_dict": trained},
        "discriminator": discriminator,
        "gen_optim": optimiser,
        "dis_optim": optimiser,
        "shadow_generator": {"conf": conf, "state_dict": shadow},
    }


def generate(state: Mapping[str, Tensor], latents: Tensor, levels: int) -> Tensor:
    """float64 [N, C, px, px], nominally in [-1, 1], at the resolution of that many levels."""

    def parameters(name: str, fan_in: int) -> tuple[Tensor, Tensor]:
        return state[f"{name}.weight"].double() * (math.sqrt(2) / math.sqrt(fan_in)), state[f"{name}.bias"].double()

    def convolve(x: Tensor, name: str, kernel: int) -> Tensor:
        return F.conv2d(x, *parameters(name, kernel * kernel * x.shape[1]), padding=kernel // 2)

    def norm(x: Tensor) -> Tensor:
        return x / (x.pow(2).mean(dim=1, keepdim=True) + 1e-8).sqrt()

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    x = norm(latents.double()[:, :, None, None])
    x = leaky(F.conv_transpose2d(x, *parameters("layers.0.conv_1", x.shape[1])))
    x = norm(leaky(convolve(x, "layers.0.conv_2", 3)))
    for level in range(1, levels):
        x = F.interpolate(x, scale_factor=2)
        x = norm(leaky(convolve(x, f"layers.{level}.conv_1", 3)))
        x = norm(leaky(convolve(x, f"layers.{level}.conv_2", 3)))
    return convolve(x, f"rgb_converters.{levels - 1}", 1)
