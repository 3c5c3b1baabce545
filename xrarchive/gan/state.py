"""What changes while a generator is trained: networks, their average, optimisers and counters."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.weights import channels_last


@dataclass
class TrainingState:
    """Everything a checkpoint holds.

    Attributes:
        generator: The generator being trained.
        discriminator: Its opponent.
        averaged: Moving average of the generator's weights: the one to use.
        generator_optimiser: Adam with its moments.
        discriminator_optimiser: Adam with its moments.
        nimg: Radiographs shown.
        steps: Updates made of each network.
        retry: Rollbacks so far; each takes another data order and other latents.
    """

    generator: Generator
    discriminator: Discriminator
    averaged: Generator
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    nimg: int = 0
    steps: int = 0
    retry: int = 0


def new_state(settings: GeneratorSettings, device: torch.device | None = None) -> TrainingState:
    """Fresh networks and optimisers; the same settings give the same weights, on any device.

    The global random state is left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        generator, discriminator = Generator(settings), Discriminator(settings)
    channels_last(generator.to(device))
    channels_last(discriminator.to(device))
    averaged = copy.deepcopy(generator).requires_grad_(False).eval()
    return TrainingState(generator, discriminator, averaged, _adam(generator, settings), _adam(discriminator, settings))


def _adam(network: nn.Module, settings: GeneratorSettings) -> torch.optim.Adam:
    return torch.optim.Adam(
        network.parameters(), settings.learning_rate, betas=(0.0, settings.beta2), eps=settings.epsilon, fused=True
    )
