"""Can whoever holds a generator's weights tell which films it was trained on? One attack; scores come out.

    inversion   the generator may make the training films better than films it has never seen

It gives every film one number, higher for a film more like one that was trained on, as the other attack does, which
asks the discriminator (`gan/memory.py`); validation turns the numbers of training and held-out films into an AUROC.
Left of the waist.

Compare like with like: training films of the same source and kind as the held-out ones, or the attack tells sources
apart. Source: Chen et al. 2020 (GAN-Leaks, arXiv 1909.03935), white-box generator.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xrarchive.gan.layers import kernels_ready
from xrarchive.gan.networks import Generator
from xrarchive.gan.sampling import generate
from xrarchive.latents import draw_latent, to_sphere
from xrarchive.pixels import Pixels, to_planes
from xrarchive.records import OnStatus, Status, ignore_status

# Films of each side that are inverted: at an AUROC of .5 the interval then ends at .56.
FILMS = 200
DRAWS = 4096
STEPS = 100
_RATE = 0.1
_BATCH = 32


def inversion_scores(
    generator: Generator,
    pixels: Pixels,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    steps: int = STEPS,
    on_status: OnStatus = ignore_status,
) -> npt.NDArray[np.float64]:
    """How well the generator can be made to show each film: minus the mean square error, in [-1, 1] units.

    From the nearest of many random images, `steps` steps of Adam on the sphere of latents; the best counts.

    Args:
        generator: Frozen and grey, for images in [-1, 1].
        pixels: uint8 [N, H, H], of the generator's size.
        seed: Of the draws.
        draws: Random images to start from.
        steps: Gradient steps.
        on_status: Told after every batch.

    Returns:
        float64 [N], at most 0.
    """
    latents = _draw(generator, seed, draws)
    images = _planes(generate(generator, latents)).flatten(1)
    errors = np.empty(len(pixels))
    for start in range(0, len(pixels), _BATCH):
        films = _planes(pixels[start : start + _BATCH])
        near = torch.cdist(films.flatten(1), images).argmin(dim=1)
        errors[start : start + len(films)] = _invert(generator, films, latents[near], steps)
        on_status(Status(min(start + _BATCH, len(pixels)), len(pixels), "films", "inversion"))
    return -errors


def _invert(generator: Generator, films: Tensor, start: Tensor, steps: int) -> npt.NDArray[np.float64]:
    """The lowest mean square error [n] on the way."""
    latents = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([latents], _RATE)
    best = torch.full((len(films),), torch.inf)
    with kernels_ready(generator, torch.float32):
        for step in range(steps + 1):
            errors = (generator(to_sphere(latents)) - films).square().mean(dim=(1, 2, 3))
            best = torch.minimum(best, errors.detach())
            if step < steps:
                (latents.grad,) = torch.autograd.grad(errors.sum(), [latents])
                optimiser.step()
    return best.double().numpy()


def _draw(generator: Generator, seed: int, count: int) -> Tensor:
    return torch.stack([draw_latent(seed, number, generator.settings.latent_size) for number in range(count)])


def _planes(pixels: Pixels) -> Tensor:
    return torch.from_numpy(to_planes(np.ascontiguousarray(pixels)))
