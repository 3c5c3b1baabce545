"""Weights name the films they were trained on, and the films are found again."""

import dataclasses
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from xrarchive.errors import DamageError
from xrarchive.gan.runs import FILMS_NAME, Start
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.training import Watch, train_generator
from xrarchive.radiographs import open_set
from xrarchive.trained_films import FILMS, film_names, films_at_hand, join_names, read_names
from xrarchive.weights import describe_weights

SHORT = GeneratorSettings(
    resolution=16, nimg=32, start_px=16, latent_size=4, width_max=4, batch=16, checkpoint_nimg=32, precision="float32"
)


def trained_on(radiographs):
    return radiographs.rows("train", "unlabelled")


def test_a_trained_generator_names_its_films_and_no_others(tiny_set, tiny_generator):
    radiographs = open_set(tiny_set)
    found = films_at_hand(tiny_generator, [radiographs])
    assert np.array_equal(found.rows[0], trained_on(radiographs))
    assert found.known == found.at_hand == len(trained_on(radiographs))
    assert f"{found.known} of the {found.known} films" in found.note
    assert describe_weights(tiny_generator)["films"] == found.known


def test_films_that_are_not_at_hand_are_counted(tiny_set, tiny_generator):
    radiographs = open_set(tiny_set)
    none = films_at_hand(tiny_generator, [])
    assert (none.known, none.at_hand, none.rows) == (len(trained_on(radiographs)), 0, ())
    twice = films_at_hand(tiny_generator, [radiographs, radiographs])
    assert twice.at_hand == twice.known
    assert len(twice.rows) == 2


def test_names_are_sorted_and_each_is_there_once(tiny_set):
    radiographs = open_set(tiny_set)
    some, more = film_names(radiographs, np.arange(5)), film_names(radiographs, np.arange(3, 9))
    both = join_names(some, more)
    assert both.shape == (9, 4)
    assert [row.tobytes() for row in both] == sorted({row.tobytes() for row in (*some, *more)})
    assert film_names(radiographs, np.empty(0, np.int64)).shape == (0, 4)


def test_a_run_that_goes_on_from_other_weights_names_their_films_too(tiny_set, tmp_path):
    radiographs = open_set(tiny_set)
    fewer = dataclasses.replace(radiographs)
    seen = trained_on(radiographs)
    fewer.__dict__["splits"] = np.where(np.arange(len(radiographs)) < seen[40], radiographs.splits, "holdout")
    watch = Watch(metric_nimg=0)
    first = train_generator(fewer, tmp_path / "a", settings=SHORT, watch=watch)
    assert len(read_names(first.snapshot)) == len(trained_on(fewer)) < len(seen)
    rest = dataclasses.replace(radiographs)
    rest.__dict__["splits"] = np.where(np.arange(len(radiographs)) >= seen[40], radiographs.splits, "holdout")
    start = Start(init_from=first.snapshot)
    second = train_generator(rest, tmp_path / "b", settings=SHORT, start=start, watch=watch)
    assert np.array_equal(read_names(second.snapshot), film_names(radiographs, seen))
    # The run remembers, though its start is not named again.
    second.snapshot.unlink()
    again = train_generator(rest, tmp_path / "b", settings=dataclasses.replace(SHORT, nimg=48), watch=watch)
    assert len(read_names(again.snapshot)) == len(seen)
    fork = Start(fork=tmp_path / "b")
    longer = dataclasses.replace(SHORT, nimg=64)
    third = train_generator(rest, tmp_path / "c", settings=longer, start=fork, watch=watch)
    assert len(read_names(third.snapshot)) == len(seen)
    assert (tmp_path / "c" / FILMS_NAME).is_file()


def test_weights_without_names_say_so(tiny_set, tiny_guide):
    found = films_at_hand(tiny_guide, [open_set(tiny_set)])
    assert (found.known, found.at_hand, found.rows[0].size) == (0, 0, 0)
    assert "do not say" in found.note
    assert describe_weights(tiny_guide)["films"] is None


@pytest.mark.parametrize("names", [np.zeros((3, 5), np.uint8), np.zeros((3, 4), np.int32), np.zeros(4, np.uint8)])
def test_broken_names_are_refused(tmp_path, names):
    save_file({FILMS: names}, tmp_path / "x.safetensors")
    with pytest.raises(DamageError, match="films are named by"):
        read_names(tmp_path / "x.safetensors")


def test_a_file_that_is_no_weight_file_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(DamageError, match="safetensors"):
        films_at_hand(tmp_path / "x.safetensors", [])


def test_unreadable_names_of_a_run_are_made_again(tiny_set, tmp_path):
    watch = Watch(metric_nimg=0)
    train_generator(open_set(tiny_set), tmp_path / "a", settings=SHORT, watch=watch)
    (tmp_path / "a" / FILMS_NAME).write_bytes(b"torn")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    longer = dataclasses.replace(SHORT, nimg=48)
    again = train_generator(open_set(tiny_set), tmp_path / "b", settings=longer, watch=watch)
    assert len(read_names(again.snapshot)) == len(trained_on(open_set(tiny_set)))
