from __future__ import annotations

import dataclasses

import pytest
import torch

from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.gan.ranges import grey, native, signed
from xrarchive.gan.settings import PRESETS, GeneratorSettings

SETTINGS = GeneratorSettings(**{**PRESETS["tiny"], "black": 0.0, "channels": 3})  # type: ignore[arg-type]
Pair = tuple[Generator, Discriminator]
PLACES = [(8, 1.0), (16, 0.3), (16, 1.0)]


@pytest.fixture
def networks() -> Pair:
    """With biases, which fresh networks do not have."""
    torch.manual_seed(3)
    made = Generator(SETTINGS), Discriminator(SETTINGS)
    for network in made:
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.data.normal_()
    return made


def latents() -> torch.Tensor:
    return torch.randn(8, SETTINGS.latent_size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("px", "alpha"), PLACES)
def test_signed_networks_say_the_same_of_images_from_minus_1_to_1(networks: Pair, px: int, alpha: float) -> None:
    generator, discriminator = networks
    made, judged = signed(*networks)
    images = generator(latents(), px, alpha)
    torch.testing.assert_close(made(latents(), px, alpha), 2 * images - 1, atol=1e-5, rtol=1e-5)
    scores = discriminator(images, alpha, group=4)
    torch.testing.assert_close(judged(2 * images - 1, alpha, group=4), scores, atol=1e-4, rtol=1e-4)
    assert made.settings.black == judged.settings.black == -1


def test_native_undoes_signed(networks: Pair) -> None:
    made, judged = signed(*networks)
    made.settings = judged.settings = SETTINGS
    native(made, judged)
    for changed, first in zip((made, judged), networks, strict=True):
        for name, value in first.state_dict().items():
            torch.testing.assert_close(changed.state_dict()[name], value, atol=1e-6, rtol=1e-6)


def test_networks_from_minus_1_to_1_stay_as_they_are() -> None:
    settings = dataclasses.replace(SETTINGS, black=-1.0)
    first = Generator(settings), Discriminator(settings)
    for changed, before in zip(signed(*first), first, strict=True):
        assert changed is not before
        assert all(map(torch.equal, changed.state_dict().values(), before.state_dict().values()))


@pytest.mark.parametrize(("px", "alpha"), PLACES)
def test_grey_images_are_the_mean_of_the_channels(networks: Pair, px: int, alpha: float) -> None:
    generator = networks[0]
    made = grey(generator)
    assert made.settings.channels == 1
    mean = generator(latents(), px, alpha).mean(dim=1, keepdim=True)
    torch.testing.assert_close(made(latents(), px, alpha), mean, atol=1e-5, rtol=1e-5)
    assert grey(made) is made
