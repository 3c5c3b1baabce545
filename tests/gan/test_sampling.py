"""Latents to pixels, many at a time."""

import dataclasses

import numpy as np
import pytest
import torch

from xrarchive.gan.draws import fixed_latents
from xrarchive.gan.networks import Generator
from xrarchive.gan.sampling import generate
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import new_state
from xrarchive.pixels import to_pixels

SETTINGS = GeneratorSettings(resolution=16, latent_size=16, width_max=16, width_base=256, batch=8)
# Of 255 grey levels: bf16 keeps 8 bits of mantissa, and its errors add up over the layers.
BF16_MEAN_LEVELS, BF16_MOST_LEVELS = 1.0, 25


@pytest.fixture(scope="module")
def generator():
    return new_state(SETTINGS).averaged


def levels_apart(first, second):
    return np.abs(first.astype(int) - second.astype(int))


@pytest.mark.parametrize("batch", [1, 3, 7, 20])
def test_an_image_does_not_depend_on_its_batch(generator, batch):
    latents = fixed_latents(SETTINGS, 20)
    found = generate(generator, latents, batch=batch)
    assert found.shape == (20, 16, 16)
    assert found.dtype == np.uint8
    assert levels_apart(found, generate(generator, latents, batch=16)).max() <= 1


def test_pixels_are_those_of_the_networks_own_images(generator):
    latents = fixed_latents(SETTINGS, 8)
    with torch.no_grad():
        wanted = to_pixels(generator(latents, 8, 0.25).numpy())
    assert levels_apart(generate(generator, latents, px=8, alpha=0.25), wanted).max() <= 1
    assert wanted.std() > 1


def test_bfloat16_stays_close(generator):
    latents = fixed_latents(SETTINGS, 32)
    apart = levels_apart(generate(generator, latents), generate(generator, latents, dtype=torch.bfloat16))
    assert apart.mean() <= BF16_MEAN_LEVELS
    assert apart.max() <= BF16_MOST_LEVELS


def test_black_is_black_whatever_the_networks_call_it():
    generator = Generator(dataclasses.replace(SETTINGS, black=0.0))
    torch.nn.init.zeros_(generator.to_image[2].weight)
    for value, grey in ((0.0, 0), (1.0, 255), (-3.0, 0), (2.0, 255), (0.2, 51)):
        torch.nn.init.constant_(generator.to_image[2].bias, value)
        assert (generate(generator, fixed_latents(SETTINGS, 2)) == grey).all()


def test_what_cannot_become_pixels_is_refused(generator):
    latents = fixed_latents(SETTINGS, 2)
    with pytest.raises(ValueError, match="only grey"):
        generate(Generator(dataclasses.replace(SETTINGS, channels=3)), latents)
    with pytest.raises(ValueError, match="at least one"):
        generate(generator, latents[:0])
    with pytest.raises(ValueError, match="NaN"):
        generate(generator, latents * float("nan"))


def test_kernels_are_put_away_afterwards(generator):
    generate(generator, fixed_latents(SETTINGS, 2))
    assert generator.conv.ready is None
