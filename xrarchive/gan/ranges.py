"""Networks that speak [0, 1] turned into the same networks that speak [-1, 1], and back; and colour into grey.

Only the layers that touch pixels change: both are 1x1 convolutions, so that a change of range is a change of weights.
"""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import nn

from xrarchive.gan.networks import Discriminator, Generator


def signed(generator: Generator, discriminator: Discriminator) -> tuple[Generator, Discriminator]:
    """Copies of both networks for images in [-1, 1], whatever their settings' `black` is."""
    made, judged = copy.deepcopy(generator), copy.deepcopy(discriminator)
    if generator.settings.black == 0:
        _rescale(made, judged, scale=2.0, shift=-1.0)
        made.settings = judged.settings = dataclasses.replace(generator.settings, black=-1.0)
    return made, judged


def native(generator: Generator, discriminator: Discriminator) -> None:
    """Turn weights for [-1, 1] into weights for the networks' own `black`, in place."""
    if generator.settings.black == 0:
        _rescale(generator, discriminator, scale=0.5, shift=0.5)


@torch.no_grad()
def grey(generator: Generator) -> Generator:
    """The generator itself if it is grey, else a copy whose images are the mean over channels."""
    if generator.settings.channels == 1:
        return generator
    made = copy.deepcopy(generator)
    for layer in made.to_image:
        for name in ("weight", "bias"):
            mean = getattr(layer, name).mean(dim=0, keepdim=True)
            setattr(layer, name, nn.Parameter(mean, requires_grad=False))
    made.settings = dataclasses.replace(generator.settings, channels=1)
    return made


@torch.no_grad()
def _rescale(generator: Generator, discriminator: Discriminator, *, scale: float, shift: float) -> None:
    """New pixels are scale * old + shift."""
    for layer in generator.to_image:
        layer.weight.mul_(scale)  # type: ignore[operator]
        layer.bias.mul_(scale).add_(shift)  # type: ignore[operator]
    for layer in discriminator.from_image:
        layer.weight.div_(scale)  # type: ignore[operator]
        layer.bias.sub_((layer.weight * layer.scale).sum(dim=(1, 2, 3)) * shift)  # type: ignore[operator]
