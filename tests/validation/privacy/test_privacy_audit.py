"""The audit finds what was planted, finds nothing where nothing is, and says why where it cannot look."""

import json

import numpy as np
import pytest
from PIL import Image
from test_privacy_search import smooth_films

from xrarchive.radiographs import open_set
from xrarchive.validation.privacy import (
    COPIES,
    Attack,
    Films,
    Recognition,
    Space,
    films_of,
    measure_privacy,
    plant,
)
from xrarchive.validation.privacy.flags import COPY_DISTANCE, HOLDOUT_NEEDED

KEYS = {
    "copies", "share_nearer", "dcr", "nndr", "authenticity", "reidentification", "membership", "films", "histograms",
    "limits",
}  # fmt: skip


def films(seed, count, size=16, patients="", source="a"):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, size=(count, 8, 8)).astype(np.uint8)
    pixels = np.stack([np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in coarse])
    named = [f"{patients}{number // 2}" if patients else "" for number in range(count)]
    return Films(pixels, np.array([source] * count), np.array(named))


def ids(pixels):
    return [f"img{number:04d}" for number in range(len(pixels))]


def rows_of(pixels):
    return pixels.reshape(len(pixels), -1)[:, ::7].astype(np.float32)


def space_of(*sides):
    return Space(*(rows_of(side) for side in sides))


@pytest.fixture(scope="module")
def training():
    return films(1, 240)


@pytest.fixture(scope="module")
def holdout():
    return films(2, 120)


@pytest.fixture(scope="module")
def innocent(training, holdout):
    images = films(3, 60).pixels
    spaces = {"judge": space_of(images, training.pixels, holdout.pixels)}
    return measure_privacy(ids(images), images, training, holdout, spaces=spaces, seed=4)


def test_strangers_are_no_copies_and_as_near_to_either_side(innocent):
    assert set(innocent) == KEYS
    assert innocent["copies"]["value"] == 0
    assert innocent["copies"]["floor"]["value"] <= 0.01
    for share in innocent["share_nearer"].values():
        assert share["low"] < 0.5 < share["high"]
        assert share["floor"] == {"value": 0.5, "n": 120, "note": share["floor"]["note"]}
    for name in ("dcr", "nndr"):
        for found in innocent[name].values():
            assert found["low"] < found["floor"]["high"]
            assert found["floor"]["low"] < found["high"]
    assert abs(innocent["authenticity"]["value"] - innocent["authenticity"]["floor"]["value"]) < 0.3
    assert len(innocent["histograms"]["judge"]["edges"]) == len(innocent["histograms"]["judge"]["holdout"]) + 1
    assert sum(innocent["histograms"]["pixels"]["synthetic"]) == 60
    json.dumps(innocent, allow_nan=False)


def test_the_interval_of_the_share_covers_half_as_often_as_it_says():
    missed = 0
    for seed in range(20):
        images, inside, outside = (films(1000 + 3 * seed + side, count, 8) for side, count in enumerate((40, 60, 30)))
        found = measure_privacy(ids(images.pixels), images.pixels, inside, outside, seed=seed)
        share = found["share_nearer"]["pixels"]
        missed += not share["low"] <= 0.5 <= share["high"]
    assert missed <= 3


def test_planted_copies_are_found_and_named():
    training, holdout = films(1, 120, 32), films(2, 110, 32)
    images = np.concatenate([films(3, 20, 32).pixels, *(plant(training.pixels[:4], kind) for kind in COPIES)])
    found = measure_privacy(ids(images), images, training, holdout)
    assert found["copies"]["value"] == 4 * len(COPIES)
    assert found["copies"]["image_ids"] == ids(images)[20:]
    assert found["share_nearer"]["pixels"]["value"] > 0.5
    assert found["dcr"]["pixels"]["value"] < found["dcr"]["pixels"]["floor"]["low"]
    assert found["nndr"]["pixels"]["value"] < found["nndr"]["pixels"]["floor"]["low"]
    assert found["authenticity"]["value"] < found["authenticity"]["floor"]["value"]


def test_a_generator_that_repeats_its_films_is_nearer_to_them(training, holdout):
    noise = np.random.default_rng(0).normal(scale=25, size=training.pixels[:60].shape)
    images = np.clip(training.pixels[:60] + noise, 0, 255).astype(np.uint8)
    share = measure_privacy(ids(images), images, training, holdout)["share_nearer"]["pixels"]
    # Of 240 training films 120 are drawn: about half of the originals are among them.
    assert share["low"] > 0.54
    assert share["value"] == pytest.approx(0.75, abs=0.08)


def test_training_films_are_drawn_from_the_sources_of_the_held_out_films(training):
    elsewhere = films(5, 200, source="b")
    both = Films(
        *(np.concatenate(pair) for pair in zip(vars(training).values(), vars(elsewhere).values(), strict=True))
    )
    images = films(6, 40).pixels
    copied = np.concatenate([images, elsewhere.pixels[:40]])
    share = measure_privacy(ids(copied), copied, both, films(2, 120))["share_nearer"]["pixels"]
    assert share["low"] < 0.5 < share["high"]  # copies of films of another source say nothing about nearness
    other = measure_privacy(ids(images), images, training, films(2, 120, source="c"))
    assert "source" in other["share_nearer"]["pixels"]["reason"]
    assert other["copies"]["value"] == 0


def test_held_out_films_that_were_trained_on_or_are_of_trained_patients_do_not_count(training):
    known = Films(training.pixels, training.sources, np.array([f"p{number}" for number in range(240)]))
    held_out = films(2, 130)
    pixels = held_out.pixels.copy()
    pixels[:5] = training.pixels[:5]
    patients = np.array(["p7"] * 10 + [f"q{number}" for number in range(120)])
    patients[:5] = [f"r{number}" for number in range(5)]
    found = measure_privacy(ids(pixels[:9]), films(3, 9).pixels, known, Films(pixels, held_out.sources, patients))
    assert found["share_nearer"]["pixels"]["floor"]["n"] == 120
    assert not any("Image-level only" in limit for limit in found["limits"])


def test_unknown_patients_make_it_image_level_only(innocent):
    assert any(limit.startswith("Image-level only") for limit in innocent["limits"])


def test_without_films_everything_says_why():
    images = films(3, 9).pixels
    found = measure_privacy(ids(images), images, None, None, known=7)
    assert set(found) == KEYS
    assert "not at hand" in found["copies"]["reason"]
    assert "not at hand" in found["share_nearer"]["pixels"]["reason"]
    assert found["films"]["known"] == 7
    other_size = measure_privacy(ids(images), images, films(1, 5, size=24), None)
    assert "--size 16" in other_size["copies"]["reason"]
    assert found["membership"]["critic"]["reason"]


def test_without_held_out_films_copies_are_still_found(training):
    images = np.concatenate([films(3, 9).pixels, training.pixels[:1]])
    found = measure_privacy(ids(images), images, training, None)
    assert found["copies"]["image_ids"] == ["img0009"]
    assert found["copies"]["threshold"] == COPY_DISTANCE
    assert found["copies"]["floor"] is None
    assert "held-out" in found["dcr"]["pixels"]["reason"]


def test_one_training_film(holdout):
    images = films(3, 9).pixels
    found = measure_privacy(ids(images), images, films(1, 1), holdout)
    assert "only one training film" in found["nndr"]["pixels"]["reason"]
    assert "only one training film" in found["authenticity"]["reason"]
    assert found["dcr"]["pixels"]["value"] > 0


def test_recognition_flags_what_is_nearer_than_held_out_films_are(training, holdout):
    rng = np.random.default_rng(0)
    unit = [rng.normal(size=(count, 8)) for count in (50, 240, 120)]
    unit[0][:3] = unit[1][:3] + 0.001
    network = Recognition(
        Space(*unit), np.array([0.0, 0.001, 9.0]), np.array(["p", "p", "q"]), {"exact": np.array([0.0])}
    )
    images = films(3, 50).pixels
    found = measure_privacy(ids(images), images, training, holdout, recognition=network)["reidentification"]
    assert set(ids(images)[:3]) <= set(found["image_ids"])
    assert found["flagged"] == len(found["image_ids"]) <= 5
    assert found["value"] == found["flagged"] / 50
    assert found["floor"]["value"] <= 0.01
    assert found["power"]["value"] == pytest.approx(2 / 3, abs=1e-5)
    assert found["copies"] == {"exact": 1.0}
    assert "Image-level only" in found["note"]


def test_too_few_held_out_films_set_no_threshold(training):
    few = films(2, HOLDOUT_NEEDED - 1)
    images = films(3, 5).pixels
    network = Recognition(space_of(images, training.pixels, few.pixels), np.empty(0))
    found = measure_privacy(ids(images), images, training, few, recognition=network)
    assert "99 held-out films" in found["reidentification"]["reason"]
    assert found["copies"]["threshold"] == COPY_DISTANCE


def test_attacks_on_the_weights():
    rng = np.random.default_rng(0)
    blind = Attack(rng.normal(size=600), rng.normal(size=600), "Blind.")
    seeing = Attack(rng.normal(size=600) + 1, rng.normal(size=600), "Seeing.")
    images = films(3, 2).pixels
    found = measure_privacy(ids(images), images, None, None, attacks={"critic": blind, "inversion": seeing})
    attacks = found["membership"]
    assert attacks["critic"]["low"] < 0.5 < attacks["critic"]["high"] < 0.6 < attacks["inversion"]["low"]
    alone = measure_privacy(ids(images), images, None, None, attacks={"critic": Attack(np.ones(3), np.empty(0), "x")})
    assert "reason" in alone["membership"]["critic"]


def test_the_same_seed_gives_the_same_numbers_whatever_the_blocks(training, holdout, innocent):
    images = films(3, 60).pixels
    spaces = {"judge": space_of(images, training.pixels, holdout.pixels)}
    again = measure_privacy(
        ids(images), images, training, holdout, spaces=spaces, seed=4, block_bytes=100_000, on_status=lambda _: None
    )
    assert again == innocent


def test_the_strip_shows_the_nearest_pairs(training, holdout, tmp_path):
    images = np.concatenate([films(3, 30).pixels, training.pixels[:1]])
    measure_privacy(ids(images), images, training, holdout, strip=tmp_path / "eyes" / "strip.png")
    with Image.open(tmp_path / "eyes" / "strip.png") as sheet:
        assert sheet.size == (10 * 18 + 2, 4 * 18 + 2)
        tiles = np.asarray(sheet)
    assert np.array_equal(tiles[2:18, 2:18], training.pixels[0])
    assert np.array_equal(tiles[20:36, 2:18], training.pixels[0])


@pytest.mark.parametrize("broken", ["rows", "nan", "ids", "patients"])
def test_rows_that_do_not_belong_together_are_refused(training, holdout, broken):
    images = films(3, 5).pixels
    space = space_of(images, training.pixels, holdout.pixels)
    names, given = ids(images), training
    if broken == "rows":
        space = Space(space.synthetic[:4], space.training, space.holdout)
    elif broken == "nan":
        space.training[3, 2] = np.nan
    elif broken == "ids":
        names = names[:4]
    else:
        given = Films(training.pixels, training.sources, training.patients[:4])
    with pytest.raises(ValueError, match=r"rows|finite|an id for each|a source and a patient"):
        measure_privacy(names, images, given, holdout, spaces={"judge": space})


def test_films_of_a_set(tiny_set):
    radiographs = open_set(tiny_set)
    found = films_of(radiographs, radiographs.rows("train"))
    assert len(found) == len(radiographs.rows("train"))
    assert (found.patients == radiographs.patients[radiographs.rows("train")]).all()
    some = open_set(tiny_set)
    some.__dict__["patients"] = np.array(["image:a", "p1"])
    assert some.known_patients.tolist() == ["", "p1"]


def test_small_films_are_searched_as_well():
    images = smooth_films(1, 3, size=8)
    blank = np.array([""] * 3)
    assert measure_privacy(ids(images), images, Films(images, blank, blank), None)["copies"]["value"] == 3
