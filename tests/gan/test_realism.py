"""KID while training: the number validation would give, from films no generator saw."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xrarchive.features import FEATURE_COUNT
from xrarchive.gan import realism
from xrarchive.gan.realism import HELD_OUT_SPLITS, kid_to_radiographs, reference_features
from xrarchive.radiographs import RadiographSet
from xrarchive.validation.fidelity import KERNEL, measure_fidelity

SEEN = ("train", "unlabelled")


@pytest.fixture
def cheap(monkeypatch):
    """Features that cost nothing, and the calls that asked for them."""
    calls = []

    def features(pixels, **_more):
        calls.append(pixels.shape)
        weights = np.random.default_rng(0).normal(size=(pixels.shape[1] ** 2, FEATURE_COUNT)) / 255
        return np.abs(pixels.reshape(len(pixels), -1) @ weights).astype(np.float32)

    monkeypatch.setattr(realism, "imagenet_features", features)
    return calls


@pytest.mark.usefixtures("cheap")
def test_the_figure_is_that_of_validation(radiographs, tmp_path):
    images = np.array(radiographs.pixels[:20])
    found = reference_features(radiographs, tmp_path, px=16, seen=SEEN)
    kid = kid_to_radiographs(images, found.features, patients=found.patients, seed=3)
    features = realism.imagenet_features(images)
    wanted = measure_fidelity(KERNEL, features, found.features, patients=found.patients, seed=3, space="imagenet")
    assert [kid.value, kid.low, kid.high] == pytest.approx([wanted["value"], wanted["low"], wanted["high"]], rel=1e-5)
    assert (kid.n, kid.n_real) == (20, len(found.features))
    assert kid.low < kid.value < kid.high


def test_real_features_tell_films_from_noise(radiographs, tmp_path, rng):
    found = reference_features(radiographs, tmp_path, px=16, seen=SEEN)
    noise = rng.integers(0, 256, (16, 16, 16)).astype(np.uint8)
    alike = kid_to_radiographs(np.array(radiographs.pixels[radiographs.rows("train")[:16]]), found.features)
    assert kid_to_radiographs(noise, found.features).low > alike.high


@pytest.mark.usefixtures("cheap")
def test_films_come_from_the_first_split_that_has_enough(radiographs, tmp_path):
    assert len(radiographs.rows("holdout")) < realism.IMAGES_NEEDED <= len(radiographs.rows("test"))
    found = reference_features(radiographs, tmp_path, px=16, seen=SEEN)
    rows = radiographs.unseen_rows("test", seen=SEEN)
    assert found.split == "test"
    assert found.features.shape == (len(rows), FEATURE_COUNT)
    pairs = radiographs.patients[rows]
    np.testing.assert_array_equal(found.patients[:, None] == found.patients, pairs[:, None] == pairs)


def test_a_set_without_held_out_films_has_no_reference(radiographs, cheap, tmp_path, monkeypatch):
    monkeypatch.setattr(RadiographSet, "rows", lambda _self, *splits: np.arange(96 if "train" in splits else 0))
    assert reference_features(radiographs, tmp_path, px=16, seen=SEEN) is None
    assert not cheap


@pytest.mark.usefixtures("cheap")
def test_films_with_a_twin_in_training_are_left_out(radiographs, tmp_path):
    assert reference_features(radiographs, tmp_path, px=16, seen=HELD_OUT_SPLITS) is None


def test_the_reference_is_kept_for_when_the_run_goes_on(radiographs, cheap, tmp_path):
    first = reference_features(radiographs, tmp_path, px=16, seen=SEEN)
    again = reference_features(radiographs, tmp_path, px=16, seen=SEEN)
    assert len(cheap) == 1
    assert again.split == first.split
    np.testing.assert_array_equal(again.rows, first.rows)
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.patients, first.patients)
    assert again.features.dtype == np.float32


@pytest.mark.parametrize("damage", ["set", "px", "torn", "fingerprint"])
def test_a_reference_of_something_else_is_made_again(radiographs, cheap, tmp_path, monkeypatch, damage):
    reference_features(radiographs, tmp_path, px=16, seen=SEEN)
    path, px = tmp_path / "reference.npz", 16
    if damage == "set":
        radiographs = dataclasses.replace(radiographs, sha256="0" * 64)
    elif damage == "px":
        px = 8
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        monkeypatch.setattr(realism, "imagenet_fingerprint", lambda: "1" * 64)
    reference_features(radiographs, tmp_path, px=px, seen=SEEN)
    assert [shape[1] for shape in cheap] == [16, px]


@pytest.mark.usefixtures("cheap")
def test_no_patient_id_is_kept(radiographs, tmp_path):
    reference_features(radiographs, tmp_path, px=16, seen=SEEN)
    with np.load(tmp_path / "reference.npz", allow_pickle=False) as found:
        assert found["patients"].dtype == np.int64
        assert sorted(found.files) == ["features", "key", "patients", "rows", "split"]


def test_of_many_films_some_are_drawn(radiographs, cheap, tmp_path, monkeypatch):
    monkeypatch.setattr(realism, "REFERENCE_FILMS", 12)
    monkeypatch.setattr(realism, "_READ", 5)
    assert reference_features(radiographs, tmp_path, px=8, seen=SEEN).features.shape == (12, FEATURE_COUNT)
    assert cheap == [(5, 8, 8), (5, 8, 8), (2, 8, 8)]


def test_a_set_of_one_size_is_averaged(radiographs, monkeypatch):
    monkeypatch.setattr(RadiographSet, "sizes_px", (16,))
    rows = radiographs.rows("test")[:3]
    expected = radiographs.pixels[rows].reshape(3, 8, 2, 8, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(realism._films(radiographs, rows, 8), expected, atol=0.5)


def test_too_few_images_are_refused(radiographs):
    with pytest.raises(ValueError, match="needs 10 images per side, got 9 and 20"):
        kid_to_radiographs(np.array(radiographs.pixels[:9]), np.zeros((20, FEATURE_COUNT), np.float32))
