"""What a feature space is, and how images are laid out for its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from xrarchive.pixels import Pixels

# uint8 [B, H, H] -> float32 [B, D].
Network = Callable[[Pixels], npt.NDArray[np.float32]]
Means = tuple[float, float, float]


@dataclass(frozen=True)
class Space:
    """A network that describes images, before it is loaded: opening a space is cheap.

    Attributes:
        name: Key in every report.
        title: Network, weights and input size, for readers.
        dim: Numbers per image.
        fingerprint: sha256 of the weights.
        load: Read the weights; the network may be called by several threads at once.
        batch: Images the network always sees at a time: the fastest number on processors.
    """

    name: str
    title: str
    dim: int
    fingerprint: str
    load: Callable[[], Network]
    batch: int


def torch_network(forward: Callable[[Tensor], Tensor], prepare: Callable[[Tensor], Tensor]) -> Network:
    """A torch function as a `Network`.

    Args:
        forward: What `prepare` gives -> [B, D].
        prepare: uint8 [B, H, H] -> what the network takes.
    """

    def run(pixels: Pixels) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            features: npt.NDArray[np.float32] = forward(prepare(torch.from_numpy(np.array(pixels)))).float().numpy()
        return features

    return run


def resize(pixels: Tensor, px: int, mode: Literal["bicubic", "bilinear"]) -> Tensor:
    """uint8 [B, H, H] -> float32 [B, 1, px, px] in 0..255, antialiased where it shrinks."""
    grey = pixels[:, None].to(torch.float32)
    if grey.shape[-1] == px:
        return grey
    return F.interpolate(grey, size=(px, px), mode=mode, antialias=True, align_corners=False).clamp(0, 255)


def in_three_channels(grey: Tensor, means: Means, stds: Means) -> Tensor:
    """float32 [B, 1, H, W] in 0..255 -> [B, 3, H, W], normalised per channel; channels last, twice as fast on CPUs."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (means, stds))
    return ((grey / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
