import io

import numpy as np
import pytest
from PIL import Image

from xrarchive.validation import duplicates
from xrarchive.validation.duplicates import (
    LISTED_IDS,
    NEAR_RMSE,
    measure_copies,
    measure_repeats,
    most_alike,
    nearest_below,
)


def films(seed, count, size=32):
    """Smooth random images, about as far apart as chest films."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, size=(count, 8, 8)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in coarse])


def measure_duplicates(image_ids, pixels, radiographs=None):
    return measure_repeats(image_ids, pixels) | {"copies": measure_copies(image_ids, pixels, radiographs)}


def ids(pixels):
    return [f"img{i:04d}" for i in range(len(pixels))]


def noisy(pixels, seed=0):
    noise = np.random.default_rng(seed).normal(scale=2, size=pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def as_jpeg(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=75)
    return np.asarray(Image.open(stream))


def test_different_films_are_no_duplicates():
    pixels = films(0, 60)
    found = measure_duplicates(ids(pixels), pixels, films(1, 80))
    assert [found[kind]["value"] for kind in ("exact", "near", "copies")] == [0, 0, 0]
    assert found["copies"]["n_real"] == 80


def test_exact_and_near_duplicates_are_counted_apart():
    pixels = films(0, 30)
    pixels = np.concatenate([pixels, pixels[:3], noisy(pixels[10:12])])
    found = measure_duplicates(ids(pixels), pixels)
    assert found["exact"]["image_ids"] == ["img0030", "img0031", "img0032"]
    assert found["near"]["image_ids"] == ["img0010", "img0011", "img0033", "img0034"]
    assert found["near"]["rmse_below"] == NEAR_RMSE


def test_counts_do_not_depend_on_order():
    pixels = films(0, 30)
    pixels = np.concatenate([pixels, pixels[:3], noisy(pixels[10:12])])
    shuffled = np.random.default_rng(1).permutation(pixels)
    one, other = (measure_duplicates(ids(p), p) for p in (pixels, shuffled))
    assert [one[k]["value"] for k in one] == [other[k]["value"] for k in other]


@pytest.mark.parametrize("size", [32, 128, 100])
def test_planted_copies_are_found(size):
    pixels, radiographs = films(0, 20, size), films(1, 40, size)
    pixels[3] = radiographs[7]
    pixels[5] = as_jpeg(radiographs[39])
    found = measure_duplicates(ids(pixels), pixels, radiographs)["copies"]
    assert (found["value"], found["image_ids"]) == (2, ["img0003", "img0005"])


def test_blocks_change_nothing(monkeypatch):
    pixels, gallery = films(0, 25), films(1, 30)
    gallery[::7] = noisy(pixels[:5])
    whole = (
        nearest_below(pixels, gallery),
        measure_duplicates(ids(gallery), np.concatenate([gallery[:15], gallery[:15]])),
    )
    monkeypatch.setattr(duplicates, "_BLOCK_CELLS", 60)
    parts = (
        nearest_below(pixels, gallery),
        measure_duplicates(ids(gallery), np.concatenate([gallery[:15], gallery[:15]])),
    )
    np.testing.assert_array_equal(whole[0], parts[0])
    assert whole[0].sum() == 5
    assert whole[1] == parts[1]


def test_large_images_are_compared_at_full_size():
    board = np.indices((128, 128)).sum(axis=0) % 2 * 200
    pixels = np.stack([board, 200 - board]).astype(np.uint8)  # the same grey once averaged, yet 200 levels apart
    assert not nearest_below(pixels[:1], pixels[1:]).any()


def test_one_image_over_and_over():
    pixels = np.tile(films(0, 1), (LISTED_IDS + 50, 1, 1))
    found = measure_duplicates(ids(pixels), pixels)
    assert found["exact"]["value"] == LISTED_IDS + 49
    assert len(found["exact"]["image_ids"]) == LISTED_IDS
    assert found["near"]["value"] == 0


def test_what_was_not_searched_has_a_reason():
    pixels = films(0, 5)
    assert "--radiographs" in measure_duplicates(ids(pixels), pixels)["copies"]["reason"]
    other = measure_duplicates(ids(pixels), pixels, films(1, 5, 64))["copies"]["reason"]
    assert "64x64" in other
    assert "32x32" in other


def test_the_film_most_alike_is_found_whatever_its_brightness_and_contrast():
    films = np.random.default_rng(0).integers(0, 200, (700, 8, 8), dtype=np.uint8)
    images = np.concatenate([films[::-1] // 2 + 60, np.full((1, 8, 8), 9, np.uint8)])
    alike, rows = most_alike(images, films)
    assert rows[:-1].tolist() == list(range(699, -1, -1))
    assert alike[:-1].min() > 0.99
    assert alike[-1] == 0
    expected = np.corrcoef(images[0].ravel(), films[699].ravel())[0, 1]
    assert abs(alike[0] - expected) < 1e-5
