import numpy as np
import pytest

from xrarchive.validation.degrading import DEGRADATIONS, LEVELS, blur_slightly, degrade


def films(count=4, px=64):
    y, x = np.mgrid[:px, :px] / px
    shades = np.random.default_rng(0).uniform(0.5, 1, (count, 1, 1))
    texture = np.random.default_rng(1).normal(0, 12, (count, px, px))
    return np.clip(shades * (60 + 120 * np.sin(3 * x) * np.cos(2 * y)) + texture, 0, 255).astype(np.uint8)


def apart(first, second):
    return np.abs(first.astype(float) - second).mean()


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_every_level_takes_a_film_farther_from_what_it_was(kind):
    pixels = films()
    distances = [apart(degrade(pixels, kind, level), pixels) for level in range(1, LEVELS + 1)]
    assert distances[0] > 0
    assert distances == sorted(distances)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_gives_films_of_the_same_size_and_the_same_bytes_each_time(kind):
    pixels = films()
    before = pixels.copy()
    found = degrade(pixels, kind, 3, seed=4)
    assert (found.dtype, found.shape) == (np.uint8, pixels.shape)
    np.testing.assert_array_equal(found, degrade(pixels, kind, 3, seed=4))
    np.testing.assert_array_equal(pixels, before)


def test_another_seed_gives_other_noise():
    assert not np.array_equal(degrade(films(), "noise", 2, seed=0), degrade(films(), "noise", 2, seed=1))


@pytest.mark.parametrize(("kind", "level"), [("blurr", 1), ("blur", 0), ("blur", LEVELS + 1)])
def test_refuses_what_it_does_not_know(kind, level):
    with pytest.raises(ValueError, match="level of 1 to 5"):
        degrade(films(), kind, level)


def test_a_slight_blur_is_the_mean_of_nine():
    pixels = films(1, 8)
    assert blur_slightly(pixels)[0, 3, 4] == np.rint(pixels[0, 2:5, 3:6].mean())
    flat = np.full((1, 4, 4), 200, np.uint8)
    np.testing.assert_array_equal(blur_slightly(flat), flat)
