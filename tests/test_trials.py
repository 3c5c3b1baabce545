from dataclasses import replace

import numpy as np
import pytest
import torch

from xrarchive.classifier.settings import ClassifierSettings
from xrarchive.pixels import area_average
from xrarchive.statistics import auroc
from xrarchive.trials import Images, Trial, call_as_often, fit_trial, run_trials, shrink_pixels

SETTINGS = ClassifierSettings(architecture="residual", members=1, width=4, input_px=16, epochs=4, batch=8)


def blobs(rng, count=64):
    labels = (rng.random((count, 1)) < 0.5).astype(np.float32)
    pixels = rng.integers(0, 80, (count, 16, 16)).astype(np.uint8)
    pixels[:, 4:10, 4:10] += (120 * labels[:, :, None]).astype(np.uint8)
    return Images(pixels, labels)


def test_a_network_learns_what_it_is_shown_and_each_member_on_its_own(rng):
    images, shown = blobs(rng), blobs(rng, 30)
    first, second = (fit_trial(Trial(images, shown.pixels, member), SETTINGS) for member in (0, 1))
    assert first.shape == (30, 1)
    assert auroc(first[:, 0], shown.labels[:, 0]) > 0.9
    assert not np.array_equal(first, second)


def test_logits_depend_neither_on_processes_nor_on_threads_and_few_trials_wait_in_memory(rng):
    images, shown = blobs(rng, 16), blobs(rng, 5)
    settings = replace(SETTINGS, epochs=1)
    taken = []

    def trials():
        for member in range(10):
            taken.append(member)
            yield Trial(images, shown.pixels, member)

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        one = list(run_trials(trials(), settings))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    taken.clear()
    two = run_trials(trials(), settings, workers=2)
    first = next(two)
    assert len(taken) < 10
    np.testing.assert_array_equal(one, [first, *two])
    np.testing.assert_array_equal(one[2], fit_trial(Trial(images, shown.pixels, 2), settings))


def test_calls_are_as_common_as_asked_for_and_go_to_the_highest(rng):
    logits = rng.standard_normal((200, 2)).astype(np.float32)
    calls = call_as_often(logits, [0.25, 0.0])
    assert calls.sum(axis=0).tolist() == [50, 0]
    assert logits[calls[:, 0] == 1, 0].min() > logits[calls[:, 0] == 0, 0].max()


def test_images_are_put_beside_others_and_chosen(rng):
    first, second = blobs(rng, 10), blobs(rng, 5)
    both = first.beside(second)
    np.testing.assert_array_equal(both.of(np.array([10, 0])).pixels, [second.pixels[0], first.pixels[0]])
    assert both.labels.shape == (15, 1)


def test_shrinking_averages_whole_blocks_and_rounds(rng):
    pixels = rng.integers(0, 256, (130, 32, 32)).astype(np.uint8)
    np.testing.assert_array_equal(shrink_pixels(pixels, 16), np.rint(area_average(pixels, 16)))
    np.testing.assert_array_equal(shrink_pixels(pixels, 32), pixels)
    with pytest.raises(ValueError, match="px must divide"):
        shrink_pixels(pixels, 12)
