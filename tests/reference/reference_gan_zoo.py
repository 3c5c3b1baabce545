"""facebookresearch/pytorch_GAN_zoo's PGAN generator and its checkpoints, from progressive_conv_net.py and base_GAN.py.

Float64, no module of ours or theirs: as Segal's (who took it from here), but with a normalisation after the dense
layer as well, and images in [-1, 1].
"""

from __future__ import annotations

import contextlib
import math
import sys
import types
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def make_state(widths: Sequence[int], latent_size: int, *, channels: int = 3, seed: int = 0) -> State:
    """`GNet.state_dict()` with len(widths) scales, weights and biases drawn."""
    rng = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"formatLayer": (16 * widths[0], latent_size)}
    shapes["groupScale0.0"] = (widths[0], widths[0], 3, 3)
    for scale, width in enumerate(widths):
        shapes[f"toRGBLayers.{scale}"] = (channels, width, 1, 1)
        if scale:
            shapes[f"scaleLayers.{scale - 1}.0"] = (width, widths[scale - 1], 3, 3)
            shapes[f"scaleLayers.{scale - 1}.1"] = (width, width, 3, 3)
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.module.weight"] = torch.randn(*shape, generator=rng)
        state[f"{name}.module.bias"] = torch.randn(shape[0], generator=rng)
    return state


@contextlib.contextmanager
def config_class() -> Iterator[type]:
    """`models.utils.config.BaseConfig`, there to be pickled by that name while the block runs."""
    names = ("models", "models.utils", "models.utils.config")
    config = type("BaseConfig", (), {"__module__": names[-1]})
    try:
        for name in names:
            sys.modules[name] = types.ModuleType(name)
        sys.modules[names[-1]].BaseConfig = config  # type: ignore[attr-defined]
        yield config
    finally:
        for name in names:
            del sys.modules[name]


def make_checkpoint(config: type, averaged: State, trained: State, **changes: object) -> dict[str, object]:
    """What `BaseGAN.getStateDict` gives; `changes` are entries of its configuration."""
    made = config()
    entries = {"alpha": 0, "leakyReluLeak": 0.2, "perChannelNormalization": True, "equalizedlR": True}
    entries |= {"lossCriterion": "WGANGP", "attribKeysOrder": None, "categoryVectorDim": 0, "depthOtherScales": [8, 4]}
    for name, value in (entries | changes).items():
        setattr(made, name, value)
    discriminator = {"decisionLayer.module.weight": torch.ones(1, 4)}
    return {"config": made, "netG": trained, "netD": discriminator, "avgG": averaged}


def generate(state: Mapping[str, Tensor], latents: Tensor, *, equalised: bool = True) -> Tensor:
    """float64 [N, C, px, px], nominally in [-1, 1]."""

    def constant(weight: Tensor) -> float:
        return math.sqrt(2.0 / math.prod(weight.shape[1:])) if equalised else 1.0

    def convolve(x: Tensor, name: str) -> Tensor:
        weight, bias = state[f"{name}.module.weight"].double(), state[f"{name}.module.bias"].double()
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2) * constant(weight)

    def finish(x: Tensor) -> Tensor:
        x = F.leaky_relu(x, 0.2)
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)

    z = latents.double()
    z = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
    weight, bias = state["formatLayer.module.weight"].double(), state["formatLayer.module.bias"].double()
    x = finish(((z @ weight.T + bias) * constant(weight)).reshape(len(z), -1, 4, 4))
    x = finish(convolve(x, "groupScale0.0"))
    scales = sum(name.startswith("toRGBLayers.") and name.endswith("weight") for name in state)
    for scale in range(scales - 1):
        x = torch.kron(x, torch.ones(1, 1, 2, 2, dtype=x.dtype))
        x = finish(convolve(x, f"scaleLayers.{scale}.0"))
        x = finish(convolve(x, f"scaleLayers.{scale}.1"))
    return convolve(x, f"toRGBLayers.{scales - 1}")
