from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from xrarchive.gan.draws import draw_augmentation
from xrarchive.gan.loading import as_shown, augment, load_batch
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


def test_a_radiograph_is_shifted_by_whole_pixels_with_its_edge_repeated() -> None:
    planes = torch.arange(32.0).reshape(2, 1, 4, 4) / 16 - 1
    settings = GeneratorSettings(resolution=16, shift=0.25)
    spread = torch.tensor([[0.9, -0.9, 0.5], [0.1, 0.0, 0.5]])
    found = augment(planes, spread, settings)
    down_then_left = planes[0, 0, [1, 2, 3, 3]][:, [0, 0, 1, 2]]
    assert torch.equal(found[0, 0], down_then_left)
    assert torch.equal(found[1], planes[1])


@pytest.mark.parametrize("black", [-1.0, 0.0])
def test_contrast_changes_around_middle_grey_and_stays_in_range(black: float) -> None:
    middle = (black + 1) / 2
    planes = torch.tensor([black, middle, 1.0]).reshape(1, 1, 1, 3)
    settings = GeneratorSettings(resolution=16, contrast=0.5, black=black)
    softer, harder = (augment(planes, torch.tensor([[0.0, 0.0, by]]), settings).flatten() for by in (-1.0, 1.0))
    assert torch.allclose(softer, middle + (planes.flatten() - middle) / 2)
    assert torch.equal(harder, planes.flatten())


def test_augmentation_is_drawn_anew_for_each_step_and_the_same_again() -> None:
    settings = GeneratorSettings(resolution=16)
    first = draw_augmentation(settings, 0, 500)
    assert torch.equal(first, draw_augmentation(settings, 0, 500))
    assert not torch.equal(first, draw_augmentation(settings, 16, 500))
    assert -1 <= first.min() < -0.9
    assert 0.9 < first.max() < 1
