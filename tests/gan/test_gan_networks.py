from __future__ import annotations

import pytest
import reference_pggan as reference
import torch

from xrarchive.gan import layers
from xrarchive.gan.losses import discriminator_loss, generator_loss, gradient_penalty, r1_penalty
from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.gan.settings import GeneratorSettings


def with_biases(module: torch.nn.Module) -> torch.nn.Module:
    """Fresh networks have zero biases, which would hide mistakes."""
    torch.manual_seed(3)
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return module.double().requires_grad_(False)


@pytest.fixture
def generator(settings: GeneratorSettings) -> Generator:
    return with_biases(Generator(settings))


@pytest.fixture
def discriminator(settings: GeneratorSettings) -> Discriminator:
    return with_biases(Discriminator(settings))


@pytest.mark.parametrize(("px", "alpha"), [(4, 1.0), (8, 1.0), (8, 0.3), (16, 1.0), (16, 0.7)])
def test_the_generator_is_the_published_one(generator: Generator, px: int, alpha: float) -> None:
    latents = torch.randn(3, 4, dtype=torch.float64)
    found = generator(latents, px, alpha)
    expected = reference.generate(generator.state_dict(), latents, px, alpha)
    assert found.shape == (3, 1, px, px)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("px", "alpha"), [(4, 1.0), (8, 1.0), (8, 0.3), (16, 1.0), (16, 0.7)])
def test_the_discriminator_is_the_published_one(discriminator: Discriminator, px: int, alpha: float) -> None:
    images = torch.randn(8, 1, px, px, dtype=torch.float64)
    found = discriminator(images, alpha)
    expected = reference.discriminate(discriminator.state_dict(), images, alpha, group=4)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_fused_resampling_equals_resampling_and_convolution() -> None:
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    up, down = layers.UpsampleConv2d(3, 5, 3).double(), layers.DownsampleConv2d(3, 5, 3).double()
    states = [{f"a.{name}": value for name, value in layer.state_dict().items()} for layer in (up, down)]
    torch.testing.assert_close(up(x), reference.convolve(reference.upsample(x), states[0], "a"))
    torch.testing.assert_close(down(x), reference.halve(reference.convolve(x, states[1], "a")))


def test_fresh_layers_keep_the_size_of_their_input() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 256)
    assert layers.EqualLinear(256, 512, gain=1)(x).std().item() == pytest.approx(1, abs=0.05)


def test_pixel_norm_gives_each_pixel_a_unit_root_mean_square() -> None:
    x = torch.randn(2, 5, 3, 3) * 40
    torch.testing.assert_close(layers.pixel_norm(x).square().mean(dim=1), torch.ones(2, 3, 3))


def test_only_the_direction_of_a_latent_matters(generator: Generator) -> None:
    latents = torch.randn(2, 4, dtype=torch.float64)
    torch.testing.assert_close(generator(latents), generator(latents * 7))


def test_real_and_generated_images_share_a_pass_but_no_group(discriminator: Discriminator) -> None:
    real, fake = torch.randn(4, 1, 16, 16).double(), torch.randn(4, 1, 16, 16).double()
    together = discriminator(torch.cat([real, fake]))
    torch.testing.assert_close(together, torch.cat([discriminator(real), discriminator(fake)]))
    x = torch.randn(8, 2, 2, 2).double()
    torch.testing.assert_close(layers.minibatch_stddev(x, 4), reference.minibatch_stddev(x, 4))


def test_a_batch_that_is_no_multiple_of_the_group_is_one_group() -> None:
    x = torch.randn(6, 2, 2, 2).double()
    torch.testing.assert_close(layers.minibatch_stddev(x, 4), reference.minibatch_stddev(x, 6))


def finite_differences(discriminator: Discriminator, images: torch.Tensor, alpha: float) -> torch.Tensor:
    step, gradient = 1e-4, torch.empty_like(images)
    for index in range(images.numel()):
        moved = images.clone()
        moved.view(-1)[index] += step
        up = reference.discriminate(discriminator.state_dict(), moved, alpha, group=4).sum()
        moved.view(-1)[index] -= 2 * step
        down = reference.discriminate(discriminator.state_dict(), moved, alpha, group=4).sum()
        gradient.view(-1)[index] = (up - down) / (2 * step)
    return gradient


def test_penalties_agree_with_finite_differences(discriminator: Discriminator) -> None:
    real, fake = torch.randn(4, 1, 4, 4).double(), torch.randn(4, 1, 4, 4).double()
    mix = torch.rand(4, 1, 1, 1).double()
    slopes = finite_differences(discriminator, real * (1 - mix) + fake * mix, 1.0)
    expected = (slopes.flatten(1).norm(dim=1) - 1).square().mean()
    found = gradient_penalty(discriminator, real, fake, mix)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-5)
    expected = finite_differences(discriminator, real, 1.0).square().sum() / 4
    torch.testing.assert_close(r1_penalty(discriminator, real).double(), expected, rtol=1e-3, atol=1e-5)


def test_penalties_of_a_linear_critic_are_the_textbook_values() -> None:
    slope = torch.full((1, 1, 4, 4), 0.5)  # norm 2

    def critic(images: torch.Tensor) -> torch.Tensor:
        return (images * slope).sum(dim=(1, 2, 3))

    real, fake, mix = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4), torch.rand(3, 1, 1, 1)
    assert gradient_penalty(critic, real, fake, mix).item() == pytest.approx(1)
    assert r1_penalty(critic, real).item() == pytest.approx(4)


def test_losses_follow_their_formulas() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 0.5])
    logistic, wasserstein = GeneratorSettings(), GeneratorSettings(loss="wgan-gp")
    logaddexp = torch.logaddexp(torch.zeros(2), -fake)
    assert generator_loss(fake, logistic).item() == pytest.approx(logaddexp.mean().item())
    assert generator_loss(fake, wasserstein).item() == pytest.approx(0.25)
    expected = torch.log1p(fake.exp()).mean() + torch.log1p((-real).exp()).mean()
    assert discriminator_loss(real, fake, logistic).item() == pytest.approx(expected.item())
    assert discriminator_loss(real, fake, wasserstein).item() == pytest.approx(-0.25 - 2 + 1e-3 * 5)
