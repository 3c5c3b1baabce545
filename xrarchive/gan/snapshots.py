"""Snapshots: generator weights to use. One safetensors file with the averaged generator and the discriminator.

Imported weights come without a discriminator: images need none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xrarchive.errors import InputDataError
from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.trained_films import FILMS, Names
from xrarchive.weights import channels_last, load_into, load_weights, save_weights, with_prefix, without_prefix


@dataclass(frozen=True)
class GeneratorSnapshot:
    """An averaged generator, frozen, in evaluation mode, with where it came from."""

    generator: Generator
    sha256: str
    meta: Mapping[str, Any]

    @property
    def settings(self) -> GeneratorSettings:
        """The settings it was trained with."""
        return self.generator.settings


def save_snapshot(
    path: Path,
    averaged: Generator,
    discriminator: Discriminator | None,
    *,
    nimg: int,
    origin: Mapping[str, object],
    films: Names | None = None,
    dtype: torch.dtype = torch.float16,
) -> str:
    """Write a snapshot and return its sha256; `films` names what it was trained on (see `trained_films`).

    Weights are N(0, 1) at the start and scaled at run time, so that float16 (11 bits of mantissa) fits them better
    than bfloat16 (8 bits). Imported weights are not ours to round: they are stored as float32.
    """
    tensors = with_prefix("generator", averaged.state_dict())
    if discriminator is not None:
        tensors |= with_prefix("discriminator", discriminator.state_dict())
    if films is not None:
        tensors[FILMS] = torch.from_numpy(films.copy())
    meta = {"settings": dataclasses.asdict(averaged.settings), "nimg": nimg, **origin}
    return save_weights(path, tensors, kind="generator", meta=meta, dtype=dtype)


def load_snapshot(path: Path) -> GeneratorSnapshot:
    """Read a snapshot.

    Raises:
        InputDataError: If the file is missing, of another kind, or its settings do not fit its tensors.
        DamageError: If it is not a safetensors file.
    """
    weights = load_weights(path, kind="generator")
    try:
        settings = GeneratorSettings(**weights.meta["settings"])
    except (KeyError, TypeError, ValueError) as err:
        raise InputDataError(f"{path}: its settings cannot be used: {err}.", fix="Train it again.", path=path) from err
    generator = Generator(settings)
    load_into(generator, without_prefix("generator", weights.tensors), path=path)
    generator.eval().requires_grad_(False)
    return GeneratorSnapshot(channels_last(generator), weights.sha256, weights.meta)


def load_discriminator(path: Path) -> Discriminator | None:
    """The frozen discriminator of a snapshot; None for weights that came without one.

    Raises:
        InputDataError: If it does not fit the snapshot's settings.
    """
    weights = load_weights(path, kind="generator")
    tensors = without_prefix("discriminator", weights.tensors)
    if not tensors:
        return None
    discriminator = Discriminator(GeneratorSettings(**weights.meta["settings"]))
    load_into(discriminator, tensors, path=path)
    return channels_last(discriminator.eval().requires_grad_(False))
