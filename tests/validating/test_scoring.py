"""Films, draws and bars in the tiny world: who has seen what, and that the parts hang together."""

import shutil

import numpy as np
import pytest

from xrarchive import pipeline
from xrarchive.archive.reader import read_table
from xrarchive.classifier.classifier import load_classifier
from xrarchive.classifier.training import patient_prefixes
from xrarchive.plan import SearchSettings
from xrarchive.radiographs import open_set
from xrarchive.records import ignore_status
from xrarchive.validating.scoring import FilmPools, draw_pixels, least_bars, score
from xrarchive.validation.steering import STEERING


@pytest.fixture(scope="module")
def classifiers(tiny_guide, tiny_judge):
    return {"guide": load_classifier(tiny_guide), "judge": load_classifier(tiny_judge)}


@pytest.fixture(scope="module")
def films(tiny_set):
    return open_set(tiny_set)


@pytest.fixture(scope="module")
def built(tiny_built, tmp_path_factory):
    return shutil.copytree(tiny_built, tmp_path_factory.mktemp("scoring") / "archive")


def pools(sets, classifiers, most=1_000, **search):
    findings = ("Mass", "Hernia", "Effusion")
    settings = SearchSettings(strictness=0.3, **search)
    return FilmPools(sets, classifiers, findings, settings, seed=0, most=most, on_status=ignore_status)


def test_films_of_patients_a_classifier_was_trained_on_are_left_out(films, classifiers):
    found = pools([films], classifiers)
    control, labelled = found.unseen("guide", "judge"), found.labelled("judge")
    for kept, roles in ((control, ("guide", "judge")), (labelled, ("judge",))):
        prefixes = set(patient_prefixes(kept.patients.tolist()))
        assert not any(prefixes & set(classifiers[role].meta["patients"]) for role in roles)
        for role in roles:
            known = set(classifiers[role].meta["patients"])
            assert known <= set(patient_prefixes(films.patients.tolist()))
    assert 0 < len(control) < len(labelled) < len(films)


def test_labels_and_scores_are_in_the_subjects_order(films, classifiers):
    found = pools([films], classifiers).labelled("judge")
    assert np.isnan(found.labels[:, 1]).all()
    rows = [np.flatnonzero((films.pixels == image).all(axis=(1, 2)))[0] for image in found.scored.pixels]
    np.testing.assert_array_equal(found.labels[:, 0], films.labels[rows, films.vocabulary.index("Mass")])
    judge = classifiers["judge"]
    expected = judge.outputs(films.pixels[rows])[:, judge.vocabulary.index("Effusion")]
    np.testing.assert_array_equal(found.scored.by["judge"].findings[:, 2], expected)
    accepted = found.scored.by["guide"].findings >= [
        classifiers["guide"].bar("Mass", 0.3),
        np.inf,
        classifiers["guide"].bar("Effusion", 0.3),
    ]
    np.testing.assert_array_equal(found.accepted, accepted)


def test_a_set_with_more_films_is_taken_and_many_are_drawn_from(films, classifiers):
    both = pools([films, films], classifiers)
    assert both.unseen("judge").name == films.folder.name
    few = pools([films], classifiers, most=10)
    assert len(few.unseen("judge")) == 10
    np.testing.assert_array_equal(
        few.unseen("judge").scored.pixels, pools([films], classifiers, most=10).unseen("judge").scored.pixels
    )


def test_without_films_there_is_a_sentence(films, classifiers, monkeypatch):
    assert "--radiographs" in pools([], classifiers).unseen("judge")
    everyone = dict(classifiers)
    known = patient_prefixes(films.patients.tolist())
    monkeypatch.setitem(everyone["judge"].meta, "patients", known)
    assert "no labelled films that judge were not trained on" in pools([films], everyone).labelled("judge")
    monkeypatch.setattr(type(films), "size_px", 32)
    assert "holds images of 16 px" in pools([films], classifiers).unseen("judge")


def test_bars_hold_for_every_build(classifiers):
    guide = classifiers["guide"]
    strict, loose = SearchSettings(strictness=0.05), SearchSettings(strictness=0.4)
    found = least_bars(guide, ("Mass", "Hernia"), (strict, loose))
    assert found[0] == pytest.approx(guide.bar("Mass", 0.4))
    assert np.isnan(found[1])


def test_draws_are_those_of_their_numbers(tiny_generator):
    few, more = (draw_pixels(tiny_generator, count, seed=3, on_status=ignore_status) for count in (5, 300))
    np.testing.assert_array_equal(few, more[:5])
    assert more.shape == (300, 16, 16)
    other = draw_pixels(tiny_generator, 5, seed=4, on_status=ignore_status)
    assert not np.array_equal(few, other)


def test_scores_say_which_images_they_are_of(classifiers, films):
    seen = []
    score(classifiers, ("Mass",), films.pixels[:3], on_status=seen.append, text="films")
    assert [status.text for status in seen] == ["guide, films", "judge, films"]


def validated(folder, tiny_set, tiny_generator, tiny_guide, tiny_judge, **changes):
    weights = {"generator": tiny_generator, "guide": tiny_guide, "judge": tiny_judge}
    given = {"radiographs": [tiny_set], "only": ("diversity", "labels"), "quick": True} | weights | changes
    return pipeline.validate(folder, **given)


def test_a_whole_validation_measures_labels_and_diversity(built, tiny_set, tiny_generator, tiny_guide, tiny_judge):
    weights = tiny_generator, tiny_guide, tiny_judge
    report = validated(built, tiny_set, *weights)
    labels, diversity = report["labels"], report["diversity"]
    assert labels["reached"]["value"] == 1
    assert labels["stored_scores"]["value"] == 0
    for found in labels["findings"].values():
        assert {*STEERING, "within", "coverage_by", "purity"} <= set(found)
        assert found["off_target"]["value"] is not None
    held = labels["held_against"]
    assert held["draws"] == {"n": 500}
    assert held["control"]["set"] == held["labelled"]["set"] == tiny_set.name
    assert 0 < held["control"]["n"] < held["labelled"]["n"]
    assert set(labels["histograms"]) == set(labels["findings"])
    assert diversity["prevalence"]["draws"]["Effusion"]["n"] == 500
    assert 0 < diversity["prevalence"]["draws"]["Effusion"]["guide"] < 1
    assert diversity["prevalence"]["archive"]["Mass"]["asked"] == pytest.approx(1 / 3, rel=1e-5)
    assert diversity["co_occurrence"]["distance"]["draws"]["value"] is not None
    assert report == validated(built, tiny_set, *weights)
    alone = validated(built, tiny_set, *weights, radiographs=(), generator=None, guide=None)
    assert "--generator" in alone["labels"]["findings"]["Mass"]["transfer"]["reason"]
    assert "--guide" in alone["labels"]["reached"]["reason"]
    assert "--radiographs" in alone["labels"]["findings"]["Mass"]["dose"]["reason"]
    assert alone["labels"]["findings"]["Mass"]["value"] == labels["findings"]["Mass"]["value"]


def test_swapped_labels_are_named(built, tiny_set, tiny_generator, tiny_guide, tiny_judge, tmp_path, monkeypatch):
    """A tenth of the class labels exchanged in the columns, as an editing mistake would."""
    from xrarchive.validating import material

    folder = shutil.copytree(built, tmp_path / "swapped")
    original = material.to_images

    def swapped(*columns):
        images = original(*columns)
        rows = np.flatnonzero(images.labels == images.labels.max())[:3]
        images.asked[rows] = np.roll(images.asked[rows], 1, axis=1)
        return images

    monkeypatch.setattr(material, "to_images", swapped)
    report = validated(folder, tiny_set, tiny_generator, tiny_guide, tiny_judge, only=("labels",), radiographs=())
    ids = read_table(folder, ["image_id"])["image_id"].to_pylist()
    reached = report["labels"]["reached"]
    assert reached["value"] < 1
    assert set(reached["image_ids"]) <= set(ids)
    assert ("labels.reached", "error") in {(one["id"], one["severity"]) for one in report["problems"]}
