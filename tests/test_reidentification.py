"""The network learns who is who, is kept and found again, and says what it was trained on."""

import dataclasses

import numpy as np
import pytest
import torch

from xrarchive import reidentification
from xrarchive.errors import InputDataError
from xrarchive.radiographs import open_set
from xrarchive.reidentification import (
    ReidentificationSettings,
    contrastive_loss,
    pair_distances,
    same_patient_pairs,
    train_reidentifier,
)
from xrarchive.statistics import auroc

QUICK = ReidentificationSettings(width=4, dimensions=16, steps=40, batch=24)


@pytest.fixture(scope="module")
def trained(tiny_set, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return train_reidentifier(open_set(tiny_set), settings=QUICK, cache=cache), cache


def test_embeddings_are_unit_vectors_and_copies_are_nearer_than_strangers(trained, tiny_set):
    network, _ = trained
    films = np.asarray(open_set(tiny_set).pixels[:40])
    vectors, brighter = network.embed(films), network.embed(np.clip(films * 1.1, 0, 255).astype(np.uint8))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    alike = vectors @ brighter.T
    assert auroc(alike.ravel(), np.eye(40).ravel()) > 0.65  # after a few steps; .5 is chance


def test_the_network_is_kept_and_taken_again_only_for_the_same_radiographs_and_settings(trained, tiny_set, monkeypatch):
    network, cache = trained
    films = np.asarray(open_set(tiny_set).pixels[:5])
    (kept,) = cache.iterdir()
    straight = train_reidentifier(open_set(tiny_set), settings=QUICK)
    assert np.array_equal(straight.embed(films), network.embed(films))
    with monkeypatch.context() as patch:
        patch.setattr(reidentification, "_fit", None)
        again = train_reidentifier(open_set(tiny_set), settings=QUICK, cache=cache)
        assert np.array_equal(again.embed(films), network.embed(films))
        assert again.meta["patients_of_several"] == network.meta["patients_of_several"] > 0
        with pytest.raises(TypeError):  # it would have to be trained
            train_reidentifier(open_set(tiny_set), settings=dataclasses.replace(QUICK, seed=1), cache=cache)
        kept.write_bytes(b"damaged")
        with pytest.raises(TypeError):
            train_reidentifier(open_set(tiny_set), settings=QUICK, cache=cache)


def test_pairs_are_all_films_of_one_patient_but_the_same_film_twice(tiny_set, monkeypatch):
    radiographs = open_set(tiny_set)
    rows = radiographs.rows("validation", "test")
    pairs = same_patient_pairs(radiographs, rows)
    assert len(pairs) == len(rows) // 2
    assert (radiographs.patients[pairs[:, 0]] == radiographs.patients[pairs[:, 1]]).all()
    monkeypatch.setattr(type(radiographs), "film_hashes", lambda _, rows: iter(["same"] * len(rows)))
    assert same_patient_pairs(radiographs, rows).shape == (0, 2)
    assert same_patient_pairs(radiographs, rows[:0]).shape == (0, 2)


def test_distances_of_pairs(trained, tiny_set):
    radiographs = open_set(tiny_set)
    distances, patients = pair_distances(trained[0], radiographs)
    assert distances.shape == patients.shape == (len(radiographs.rows("validation", "test")) // 2,)
    assert ((distances >= 0) & (distances <= 2)).all()


def test_the_loss_is_that_of_a_slow_loop():
    rows = torch.randn(6, 3, dtype=torch.float64, generator=torch.manual_seed(1))
    unit = rows / rows.norm(dim=1, keepdim=True)
    losses = []
    for i, partner in enumerate([3, 4, 5, 0, 1, 2]):
        others = sum(torch.exp(unit[i] @ unit[j] / 0.2) for j in range(6) if j != i)
        losses.append(-torch.log(torch.exp(unit[i] @ unit[partner] / 0.2) / others))
    torch.testing.assert_close(contrastive_loss(rows, 0.2), torch.stack(losses).mean())


def test_a_set_without_patients_is_refused(tiny_set):
    radiographs = open_set(tiny_set)
    radiographs.__dict__["patients"] = np.array([f"image:{row}" for row in range(len(radiographs))])
    with pytest.raises(InputDataError, match="only 0 patients") as caught:
        train_reidentifier(radiographs, settings=QUICK)
    assert "patient_id" in caught.value.fix


def test_images_of_a_size_it_cannot_see_are_refused(trained):
    with pytest.raises(ValueError, match="multiples of 16"):
        trained[0].embed(np.zeros((1, 24, 24), np.uint8))
