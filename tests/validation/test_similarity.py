import numpy as np
import pytest
from PIL import Image
from reference_formulas import ms_ssim_of_windows

from xrarchive.validation import similarity
from xrarchive.validation.similarity import (
    SCALE_WEIGHTS,
    mean_intra_class,
    ms_ssim,
    nearest_latent_deg,
    scale_weights,
)


def films(seed, count, height=64, width=64):
    """Smooth random images, about as far apart as chest films."""
    coarse = np.random.default_rng(seed).integers(20, 235, size=(count, 8, 8)).astype(np.uint8)
    size = (width, height)
    return np.stack([np.asarray(Image.fromarray(c).resize(size, Image.Resampling.BICUBIC)) for c in coarse])


def alike_films(seed, count):
    """Films that share their coarse anatomy."""
    return (films(99, 1) * 0.6 + films(seed, count) * 0.4).astype(np.uint8)


def noisy(pixels, scale, seed=0):
    noise = np.random.default_rng(seed).normal(scale=scale, size=pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(44, 44), (47, 58), (176, 176)])
def test_agrees_with_one_window_at_a_time(height, width):
    first = films(0, 1, height, width)
    second = noisy(first // 2 + films(1, 1, height, width) // 3, 12)
    weights = scale_weights(height)
    assert len(weights) == (5 if height == 176 else 3)
    expected = ms_ssim_of_windows(first[0], second[0], weights)
    assert 0.05 < expected < 0.95
    assert ms_ssim(first, second)[0] == pytest.approx(expected, rel=1e-9)


def test_exponents_sum_to_one():
    assert sum(SCALE_WEIGHTS) == pytest.approx(1, abs=1.1e-4)  # as published
    assert sum(scale_weights(175)) == pytest.approx(1)
    assert scale_weights(175)[1] / scale_weights(175)[0] == pytest.approx(0.2856 / 0.0448)
    assert scale_weights(176) == SCALE_WEIGHTS


@pytest.mark.parametrize("size", [64, 45, 180])
def test_of_an_image_with_itself_is_one(size):
    pixels = films(0, 3, size, size)
    np.testing.assert_allclose(ms_ssim(pixels, pixels), 1, rtol=1e-12)
    flat = np.full((1, size, size), 7, np.uint8)
    np.testing.assert_allclose(ms_ssim(flat, flat), 1, rtol=1e-12)


def test_falls_with_noise_is_symmetric_and_stays_in_range():
    pixels = films(0, 4)
    alike = [ms_ssim(pixels, noisy(pixels, scale)).mean() for scale in (1, 5, 20, 60)]
    assert alike == sorted(alike, reverse=True)
    other = films(1, 4)
    np.testing.assert_allclose(ms_ssim(pixels, other), ms_ssim(other, pixels), rtol=1e-12)
    opposite = ms_ssim(pixels, 255 - pixels)
    np.testing.assert_array_equal(opposite, 0)  # negative structure has no real power
    assert (ms_ssim(pixels, other) < alike[-1]).all()


def test_a_pair_does_not_depend_on_its_block(monkeypatch):
    first, second = films(0, 9), films(1, 9)
    whole = ms_ssim(first, second)
    monkeypatch.setattr(similarity, "_BLOCK_PIXELS", 2 * 64 * 64)
    np.testing.assert_array_equal(ms_ssim(first, second), whole)
    assert ms_ssim(first[:0], second[:0]).shape == (0,)


def test_refuses_what_cannot_be_compared():
    pixels = films(0, 2)
    with pytest.raises(ValueError, match="uint8"):
        ms_ssim(pixels, pixels.astype(float))
    with pytest.raises(ValueError, match="uint8"):
        ms_ssim(pixels, pixels[:1])
    with pytest.raises(ValueError, match="44 px"):
        ms_ssim(pixels[:, :43], pixels[:, :43])


def test_lost_variety_is_seen():
    varied = mean_intra_class(alike_films(0, 30), 100, seed=0)
    few = mean_intra_class(noisy(np.tile(alike_films(0, 3), (10, 1, 1)), 3), 100, seed=0)
    assert few.low > varied.high
    assert varied.low < varied.value < varied.high
    assert mean_intra_class(np.tile(films(0, 1), (5, 1, 1)), 10, seed=0).value == pytest.approx(1)


def test_all_pairs_are_the_mean_over_all_pairs():
    pixels = alike_films(2, 6)
    every = [ms_ssim(pixels[i : i + 1], pixels[j : j + 1])[0] for i in range(6) for j in range(i)]
    assert mean_intra_class(pixels, 1000, seed=0).value == pytest.approx(np.mean(every))
    assert mean_intra_class(pixels, 5, seed=0) == mean_intra_class(pixels, 5, seed=0)
    assert mean_intra_class(pixels, 5, seed=0).value != mean_intra_class(pixels, 5, seed=1).value


@pytest.mark.parametrize("count", [2, 3, 7, 8])
def test_every_pair_comes_once(count, rng):
    first, second = similarity._draw_pairs(count, 10_000, rng)
    pairs = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert len(pairs) == len(first) == count * (count - 1) // 2
    assert all(len(pair) == 2 for pair in pairs)


def test_pairs_need_two_images():
    with pytest.raises(ValueError, match="two images"):
        mean_intra_class(films(0, 1), 5, seed=0)
    with pytest.raises(ValueError, match="one pair"):
        mean_intra_class(films(0, 2), 0, seed=0)


def test_angles_by_hand():
    latents = np.array([[1.0, 0], [5, 5], [0, 2], [-3, 0]], np.float32)
    np.testing.assert_allclose(nearest_latent_deg(latents), [45, 45, 45, 90])
    np.testing.assert_allclose(nearest_latent_deg(np.array([[1.0, 0], [-2, 0]])), 180)


def test_planted_duplicates_are_found_to_the_angle(rng):
    latents = rng.normal(size=(200, 64))
    latents[7] = 3 * latents[150]
    turned = np.radians(1e-4)
    across = latents[9] - latents[9] @ latents[20] / (latents[20] @ latents[20]) * latents[20]
    latents[9] = latents[20] / np.linalg.norm(latents[20]) + np.tan(turned) * across / np.linalg.norm(across)
    angles = nearest_latent_deg(latents)
    np.testing.assert_allclose(angles[[7, 150]], 0, atol=1e-12)
    np.testing.assert_allclose(angles[[9, 20]], 1e-4, rtol=1e-9)
    assert np.flatnonzero(angles < 1).tolist() == [7, 9, 20, 150]


def test_angles_agree_with_every_pair_and_do_not_depend_on_blocks(rng, monkeypatch):
    latents = rng.normal(size=(40, 16)).astype(np.float32)
    units = latents.astype(float) / np.linalg.norm(latents.astype(float), axis=1, keepdims=True)
    every = np.degrees(np.arccos(np.clip(units @ units.T - 2 * np.eye(40), -1, 1)))
    np.testing.assert_allclose(nearest_latent_deg(latents), every.min(axis=1), rtol=1e-9)
    whole = nearest_latent_deg(latents)
    monkeypatch.setattr(similarity, "_BLOCK_CELLS", 130)
    np.testing.assert_array_equal(nearest_latent_deg(latents), whole)


def test_refuses_latents_without_direction():
    for wrong in (np.ones((1, 3)), np.ones(3), np.zeros((2, 3)), np.full((2, 3), np.nan)):
        with pytest.raises(ValueError, match="latent"):
            nearest_latent_deg(wrong)
