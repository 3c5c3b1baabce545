from __future__ import annotations

import dataclasses

import numpy as np
import torch

from xrarchive.gan.loading import as_shown, load_batch
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.pixels import area_average, to_planes
from xrarchive.radiographs import RadiographSet


def test_a_batch_is_the_radiographs_asked_for_in_that_order(
    radiographs: RadiographSet, settings: GeneratorSettings
) -> None:
    rows = np.array([5, 2, 9], np.int64)
    shown = load_batch(radiographs, rows, 16, 1.0, settings)
    np.testing.assert_array_equal(shown.numpy(), to_planes(radiographs.pixels[rows]))
    assert shown.is_contiguous(memory_format=torch.channels_last)
    assert shown.dtype == torch.float32


def test_a_coarser_stage_sees_areas_averaged(radiographs: RadiographSet, settings: GeneratorSettings) -> None:
    rows = np.arange(4)
    shown = load_batch(radiographs, rows, 8, 1.0, settings).numpy()
    expected = to_planes(np.rint(area_average(radiographs.pixels[rows], 8)).astype(np.uint8))
    assert np.abs(shown - expected).max() <= 2 / 255 + 1e-6


def test_films_are_shown_as_they_are_never_mirrored(radiographs: RadiographSet, settings: GeneratorSettings) -> None:
    pixels = radiographs.pixels[:8]
    np.testing.assert_array_equal(as_shown(pixels, 1.0, settings).numpy(), to_planes(pixels))
    coarse = to_planes(pixels).reshape(8, 1, 8, 2, 8, 2).mean(axis=(3, 5)).repeat(2, axis=2).repeat(2, axis=3)
    fading = as_shown(pixels, 0.25, settings).numpy()
    np.testing.assert_allclose(fading, 0.25 * to_planes(pixels) + 0.75 * coarse, atol=1e-6)


def test_a_recipe_for_black_0_and_colour_sees_films_so(radiographs: RadiographSet, settings: GeneratorSettings) -> None:
    pixels = radiographs.pixels[:8]
    shown = as_shown(pixels, 1.0, dataclasses.replace(settings, black=0.0, channels=3)).numpy()
    np.testing.assert_allclose(shown, np.repeat(pixels[:, None] / 255, 3, axis=1), atol=1e-6)
