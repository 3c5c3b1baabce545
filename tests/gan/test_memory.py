"""A discriminator that knows films by heart is found out; one that does not is at chance."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xrarchive.gan import realism
from xrarchive.gan.loading import as_shown
from xrarchive.gan.memory import Memory, critic_scores, measure_memory
from xrarchive.gan.ranges import signed
from xrarchive.gan.snapshots import load_discriminator
from xrarchive.gan.state import new_state
from xrarchive.gan.training import Watch


@pytest.fixture
def critic(tiny_generator):
    return load_discriminator(tiny_generator)


def test_what_was_learnt_by_heart_is_seen(critic, radiographs):
    trained, unseen = radiographs.rows("train")[:40], radiographs.rows("test")
    before = measure_memory(critic, radiographs, trained, unseen)
    assert 0 <= before.low < 0.5 < before.high <= 1
    assert before.n == len(unseen)
    critic.requires_grad_(True)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    sides = [as_shown(radiographs.read(rows, 16), 1.0, critic.settings) for rows in (trained, unseen)]
    for _ in range(150):
        known, others = (critic(films, group=1) for films in sides)
        optimizer.zero_grad()
        (F.softplus(-known).mean() + F.softplus(others).mean()).backward()
        optimizer.step()
    after = measure_memory(critic, radiographs, trained, unseen)
    assert after.low > before.value
    assert after.leaks
    assert all(parameter.requires_grad for parameter in critic.parameters())


@pytest.mark.parametrize(("low", "high", "leaks"), [(0.51, 0.6, False), (0.51, 0.61, True), (0.4, 0.7, False)])
def test_the_bar_is_that_of_publishing_and_few_films_are_no_leak(low, high, leaks):
    assert Memory(0.55, low, high, 10).leaks == leaks


def test_only_films_of_sources_that_both_sides_have_are_compared(critic, radiographs, monkeypatch):
    trained, unseen = radiographs.rows("train"), radiographs.rows("test")
    sources = np.full(len(radiographs.splits), "ours")
    sources[trained[5:]] = "theirs"
    monkeypatch.setitem(vars(radiographs), "sources", sources)
    assert measure_memory(critic, radiographs, trained, unseen).n == 5
    assert measure_memory(critic, radiographs, trained[5:], unseen) is None
    assert measure_memory(critic, radiographs, trained, unseen, most=3).n == 3


def test_a_score_does_not_depend_on_the_films_beside_it(critic, radiographs):
    films = np.asarray(radiographs.pixels[:40])
    together = critic_scores(critic, films)
    np.testing.assert_allclose(critic_scores(critic, films[7:8]), together[7:8], rtol=1e-4, atol=1e-5)
    assert np.ptp(together) > 0


def test_a_score_is_the_same_in_training_and_in_the_snapshot(radiographs, settings):
    """The published recipe trains in colour and between 0 and 1, a snapshot is for -1 to 1."""
    state = new_state(dataclasses.replace(settings, channels=3, black=0.0))
    films = np.asarray(radiographs.pixels[:8])
    _, judged = signed(state.averaged, state.discriminator)
    np.testing.assert_allclose(critic_scores(judged, films), critic_scores(state.discriminator, films), atol=1e-4)


def test_a_training_measures_it_beside_kid_and_is_not_changed_by_that(train, straight, monkeypatch):
    monkeypatch.setattr(realism, "imagenet_features", lambda pixels: pixels.reshape(len(pixels), -1)[:, :64] / 255)
    report = train(watch=Watch(metric_nimg=80))
    assert report.sha256 == straight.sha256
    records = [json.loads(line) for line in (report.out / "stats.jsonl").read_text().splitlines()]
    measured = [record for record in records if "kid" in record]
    assert [record["nimg"] for record in measured] == [160, 240]
    assert all(0 <= record["critic_low"] <= record["critic"] <= record["critic_high"] <= 1 for record in measured)
    assert "AUROC" in (report.out / "log.txt").read_text()
