"""BradSegal/CXR_PGGAN's generator and its checkpoints, written down from PGGAN/network.py and custom_layers.py.

Float64, no module of ours or theirs: each layer multiplies its whole result, bias included, by sqrt(2 / fan-in); after
the dense layer comes an activation and no normalisation; images are those of `ToTensor`, in [0, 1].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def make_state(widths: Sequence[int], latent_size: int, *, channels: int = 3, seed: int = 0) -> State:
    """A generator grown to len(widths) resolutions, weights and biases drawn."""
    rng = torch.Generator().manual_seed(seed)
    state = {"current_size": torch.tensor(4 << (len(widths) - 1)), "current_depth": torch.tensor(len(widths) - 1)}
    state["alpha"] = torch.tensor(0.0)

    def layer(name: str, *shape: int) -> None:
        state[f"{name}.module.weight"] = torch.randn(*shape, generator=rng)
        state[f"{name}.module.bias"] = torch.randn(shape[0], generator=rng)

    layer("latent_linear.0", 16 * widths[0], latent_size)
    layer("init_conv.0", widths[0], widths[0], 3, 3)
    for block, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layer(f"ScaleBlocks.{block}.convolv.0", outputs, inputs, 3, 3)
        layer(f"ScaleBlocks.{block}.convolv.3", outputs, outputs, 3, 3)
    for level, width in enumerate(widths):
        layer(f"toRGB.{level}", channels, width, 1, 1)
    return state


def make_checkpoint(shadow: State, trained: State, *, alpha: float = 0.0, nimg: int = 0) -> dict[str, object]:
    """The file of its `Checkpoint` callback: the Lightning module's state, and its settings, most of them tensors."""
    module = {"img_size": shadow["current_size"], "alpha": torch.tensor(alpha), "fixed_z": torch.zeros(2, 3)}
    module |= {"num_images_seen": torch.tensor(nimg), "alpha_jumps": torch.tensor([0.0, 8e5])}
    module |= {f"generator.{name}": value for name, value in trained.items()}
    module |= {f"gen_shadow.{name}": value for name, value in shadow.items()}
    module |= {"discriminator.DecisionLinear.module.weight": torch.ones(1, 4), "generator.alpha": torch.tensor(alpha)}
    settings = {"alpha": torch.tensor(alpha), "g_depth": shadow["current_depth"], "fixed_z": torch.zeros(2, 3)}
    return {"state_dict": module, "settings": settings | {"num_images_seen": torch.tensor(nimg)}}


def generate(state: Mapping[str, Tensor], latents: Tensor) -> Tensor:
    """float64 [N, C, px, px], nominally in [0, 1]."""

    def multiplied(name: str, apply: object) -> Tensor:
        weight, bias = state[f"{name}.module.weight"].double(), state[f"{name}.module.bias"].double()
        return apply(weight, bias) * math.sqrt(2.0 / math.prod(weight.shape[1:]))  # type: ignore[operator]

    def convolve(x: Tensor, name: str) -> Tensor:
        return multiplied(name, lambda weight, bias: F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2))

    def leaky(x: Tensor) -> Tensor:
        return torch.maximum(x, 0.2 * x)

    def norm(x: Tensor) -> Tensor:
        return x / ((x**2).mean(dim=1, keepdim=True) + 1e-8).sqrt()

    z = norm(latents.double())
    x = leaky(multiplied("latent_linear.0", lambda weight, bias: z @ weight.T + bias))
    x = norm(leaky(convolve(x.reshape(len(z), -1, 4, 4), "init_conv.0")))
    level = 0
    while f"ScaleBlocks.{level}.convolv.0.module.weight" in state:
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        for place in (0, 3):
            x = norm(leaky(convolve(x, f"ScaleBlocks.{level}.convolv.{place}")))
        level += 1
    return convolve(x, f"toRGB.{level}")
