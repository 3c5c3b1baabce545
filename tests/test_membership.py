"""The attack sees what there is to see: a generator's own images are made again."""

import numpy as np
import pytest
import torch

from xrarchive.gan.sampling import generate
from xrarchive.gan.snapshots import load_snapshot
from xrarchive.latents import draw_latent
from xrarchive.membership import inversion_scores
from xrarchive.radiographs import open_set
from xrarchive.statistics import auroc


@pytest.fixture(scope="module")
def generator(tiny_generator):
    return load_snapshot(tiny_generator).generator


def test_images_of_the_generator_are_told_from_films_by_inversion(generator, tiny_set):
    latents = torch.stack([draw_latent(99, number, generator.settings.latent_size) for number in range(12)])
    made, films = generate(generator, latents), open_set(tiny_set).pixels[:12]
    scores = inversion_scores(generator, np.concatenate([made, films]), draws=64, steps=25)
    assert (scores <= 0).all()
    assert auroc(scores, [1] * 12 + [0] * 12) > 0.95


def test_more_steps_never_make_a_film_worse_and_the_same_seed_gives_the_same(generator, tiny_set):
    films = np.asarray(open_set(tiny_set).pixels[:5])
    told = []
    none, some = (inversion_scores(generator, films, draws=32, steps=steps, on_status=told.append) for steps in (0, 10))
    assert (some > none).all()
    assert np.array_equal(some, inversion_scores(generator, films, draws=32, steps=10))
    assert told[-1].done == told[-1].total == 5
