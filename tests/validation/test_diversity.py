import numpy as np
import pytest

from xrarchive.errors import InputDataError
from xrarchive.validation.diversity import (
    IMAGES_NEEDED,
    SPACE_MEASURES,
    measure_co_occurrence,
    measure_intra_class,
    measure_prevalence,
    measure_spaces,
)
from xrarchive.validation.reference import make_reference
from xrarchive.validation.scored import Films, Scored

FINDINGS = ("Edema", "Mass")
PRINTS = {"judge": "1" * 64}


def reference(rng, count=300, dim=6, groups=None):
    rows = rng.normal(0.5, 1, (count, dim))
    return make_reference("toy", {"judge": rows}, fingerprints=PRINTS, patients=groups, source="Noise.")


def measured(images, given, **changes):
    return measure_spaces({"judge": images}, PRINTS, given, seed=0, resamples=50, **changes)["judge"]


def films(pixels, labels):
    count = len(pixels)
    names = np.array([f"p{row}" for row in range(count)])
    return Films("toy", Scored(pixels, {}), np.asarray(labels, np.float32), names, np.zeros((count, 2), bool))


def test_images_like_films_are_near_the_ceiling_and_few_of_them_are_not(rng):
    given = reference(rng)
    alike = measured(rng.normal(0.5, 1, (200, 6)), given)
    few = measured(np.repeat(rng.normal(0.5, 1, (5, 6)), 40, axis=0) + 0.01 * rng.normal(size=(200, 6)), given)
    assert tuple(alike) == SPACE_MEASURES
    for name, found in alike.items():
        assert found["n"] == 150
        assert found["ceiling"]["value"] == pytest.approx(found["value"], rel=0.25), name
        assert found["low"] <= found["value"] <= found["high"]
    for name in ("recall", "coverage", "vendi"):
        assert few[name]["high"] < 0.7 * few[name]["ceiling"]["value"], name


def test_both_sides_and_the_ceiling_are_at_one_n(rng):
    given = reference(rng, groups=np.repeat(np.arange(100), 3).astype(str))
    assert measured(rng.normal(size=(40, 6)), given)["coverage"]["n"] == 40
    assert measured(rng.normal(size=(500, 6)), given)["coverage"]["n"] == 150
    few = measured(rng.normal(size=(IMAGES_NEEDED - 1, 6)), given)
    assert all(f"needs {IMAGES_NEEDED} images" in found["reason"] for found in few.values())


def test_the_same_seed_gives_the_same_measures(rng):
    given, images = reference(rng), rng.normal(size=(200, 6))
    assert measured(images, given) == measured(images, given)


def test_spaces_that_do_not_compare_have_reasons_and_broken_ones_are_refused(rng):
    given, images = reference(rng), rng.normal(size=(40, 6))
    other = measure_spaces({"judge": images}, {"judge": "9" * 64}, given, seed=0)
    assert "was made with weights" in other["judge"]["vendi"]["reason"]
    images[3] = 0
    assert "all 0" in measured(images, given)["vendi"]["reason"]
    images[3] = np.nan
    with pytest.raises(InputDataError, match="the first is row 3"):
        measured(images, given)


def test_intra_class_beside_real_films_of_the_finding(rng):
    pixels = rng.integers(0, 256, (20, 48, 48)).astype(np.uint8)
    same = np.repeat(pixels[:1], 20, axis=0)
    real = films(pixels, np.tile([1, 0], (20, 1)))
    found = measure_intra_class(FINDINGS, np.repeat([0, 1], 10), same, real, pairs=30, seed=0)
    assert found["Edema"]["value"] == pytest.approx(1)
    assert found["Edema"]["floor"]["value"] < 0.2
    assert found["Mass"]["floor"] is None
    assert measure_intra_class(FINDINGS, np.zeros(20, int), same, "None.", pairs=9, seed=0)["Edema"]["floor"] is None


def test_intra_class_says_why_not(rng):
    small = rng.integers(0, 256, (20, 16, 16)).astype(np.uint8)
    assert "44 px" in measure_intra_class(FINDINGS, np.zeros(20, int), small, "None.", seed=0)["Edema"]["reason"]
    assert "there are 3" in measure_intra_class(FINDINGS, np.zeros(3, int), small[:3], "", seed=0)["Edema"]["reason"]


def test_prevalence_beside_films_called_in_the_same_way(rng):
    called, real = rng.random((200, 2)) < 0.3, rng.random((400, 2)) < [0.3, 0.9]
    told = {"what": "images", "role": "judge", "seed": 0, "resamples": 50}
    shares = {"asked": np.array([0.25, 0.5])}
    found = measure_prevalence(FINDINGS, called, real, shares=shares, **told)
    assert found["Edema"]["value"] == pytest.approx(called[:, 0].mean())
    assert found["Edema"]["low"] < found["Edema"]["floor"]["value"] < found["Edema"]["high"]
    assert found["Mass"]["high"] < found["Mass"]["floor"]["low"]
    assert found["Mass"]["asked"] == 0.5
    assert measure_prevalence(FINDINGS, "No generator.", real, **told)["Mass"] == {
        "value": None,
        "reason": "No generator.",
    }
    assert measure_prevalence(FINDINGS, called, "No films.", **told)["Mass"]["floor"] is None


def test_co_occurrence_with_reasons_for_what_is_not_at_hand(rng):
    archive, real = rng.random((200, 2)) < 0.4, rng.random((300, 2)) < 0.4
    found = measure_co_occurrence(FINDINGS, archive, "No generator.", real, seed=0, resamples=50)
    assert found["findings"] == list(FINDINGS)
    assert found["draws"] is None
    assert found["distance"]["draws"]["reason"] == "No generator."
    assert found["distance"]["archive"]["value"] < 0.15
    assert found["distance"]["archive"]["floor"]["n"] == 150
    assert len(found["real"]) == 2
    without = measure_co_occurrence(FINDINGS, archive, archive, "No films.", seed=0, resamples=50)
    assert without["real"] is None
    assert without["distance"]["archive"]["reason"] == "No films."
    never = measure_co_occurrence(FINDINGS, archive & False, archive, real, seed=0, resamples=50)
    assert "nothing to compare" in never["distance"]["archive"]["reason"]
    assert never["archive"] == [[None, None]] * 2
