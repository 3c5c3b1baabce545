"""The utility part in a tiny world: who learns, who is tested on, and that sides of equal worth come out so."""

import csv
import dataclasses

import numpy as np
import pytest
from PIL import Image
from tiny_films import TINY_FINDINGS, TINY_PX, tiny_film

from xrarchive.classifier.classifier import load_classifier
from xrarchive.classifier.settings import ClassifierSettings
from xrarchive.classifier.training import patient_prefixes
from xrarchive.files import dump_json
from xrarchive.radiographs import ingest, open_set
from xrarchive.records import ignore_status
from xrarchive.validating import utility, utility_plan
from xrarchive.validating.material import Material
from xrarchive.validation.columns import ArchiveImages
from xrarchive.validation.reference import make_reference
from xrarchive.validation.subject import Subject

FINDINGS = ("No Finding", *TINY_FINDINGS)
_SETS = ("No Finding", "Effusion", "Mass", "Effusion|Mass")
NO_GENERATOR = "The generator is not at hand."


def write_films(source, *, films=240, unlabelled=130):
    """Patients p0, p1, ... of two films each, so that those of the tiny guide are among them; some without labels."""
    (source / "images").mkdir(parents=True)
    with (source / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image", "labels", "patient_id", "split"))
        for index in range(films + unlabelled):
            labels = _SETS[index % 4] if index < films else ""
            image, split = f"images/{index:04}.png", "train" if index < films else "unlabelled"
            Image.fromarray(tiny_film(1000 + index, _SETS[index % 4].split("|"))).save(source / image)
            writer.writerow((image, labels, f"p{index // 2}", split))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("utility")
    write_films(folder / "source")
    ingest(folder / "source", folder / "films", size_px=TINY_PX, findings=TINY_FINDINGS)
    return open_set(folder / "films")


@pytest.fixture(scope="module")
def guide(tiny_guide):
    return load_classifier(tiny_guide)


@pytest.fixture(scope="module", autouse=True)
def quick_networks():
    settings = ClassifierSettings(
        architecture="residual", members=1, width=4, input_px=16, epochs=5, batch=16, seed=100, learning_rate=1e-2
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utility._Studio, "settings", property(lambda _studio: settings))
        yield


def some_subject(count=120, *, shuffled=False, **changes):
    sets = [_SETS[index % 4].split("|") for index in range(count)]
    pixels = np.stack([tiny_film(5000 + index, names) for index, names in enumerate(sets)])
    asked = np.array([[name in names for name in FINDINGS] for names in sets])
    if shuffled:
        asked = asked[np.random.default_rng(3).permutation(count)]
    nothing = np.empty((count, 0), np.float32)
    scores = np.full((count, 3), 0.5, np.float32)
    images = ArchiveImages(
        [f"i{index}" for index in range(count)], pixels, asked, scores, scores, np.argmax(asked, axis=1),
        scores[:, 0], nothing, nothing,
    )  # fmt: skip
    values = {
        "kind": "archive", "name": "toy", "sha256": "f" * 64, "version": None, "findings": FINDINGS, "nuisances": (),
        "images": images, "judge_filtered": False, "seed": 0,
    }  # fmt: skip
    return Subject(**(values | changes))


def some_material(subject, films, guide, **changes):
    reference = make_reference(
        "toy", {"x": np.zeros((2, 2))}, fingerprints={"x": "1" * 64}, patients=None, source="Zeros."
    )
    values = {
        "subject": subject, "archive": None, "films": (films,), "judge": guide, "referee": None, "guide": guide,
        "generator": NO_GENERATOR, "reference": reference, "crew": None, "blurred": {}, "workers": 1, "quick": True,
        "on_status": ignore_status,
    }  # fmt: skip
    return Material(**(values | changes))


@pytest.fixture
def material(films, guide):
    return some_material(some_subject(), films, guide)


def test_patients_of_the_guide_are_learned_from_and_never_tested_on(material, guide):
    planned = utility_plan.plan_utility(material)
    known = set(guide.meta["patients"])
    films, rows = planned.films, planned.rows
    named = np.array([patient_prefixes([name])[0] in known for name in films.patients[rows]])
    assert 0 < named.sum() < len(rows) == 240
    assert (planned.fold[named] == -1).all()
    assert (planned.fold[~named] >= 0).all()
    assert named[planned.learned].any()
    assert "guide learned from are left out" in planned.caveat


def test_no_patient_is_learned_from_and_tested_on_and_all_arms_are_of_equal_size(material):
    planned = utility_plan.plan_utility(material)
    patients = planned.films.patients[planned.rows]
    assert planned.learned.shape == (3, 120)
    assert len(planned.images) == 120
    for number, learned in enumerate(planned.learned):
        assert not set(patients[learned]) & set(patients[planned.fold == number])
        assert len(np.unique(learned)) == 120
    np.testing.assert_array_equal(np.sort(planned.tested), np.flatnonzero(planned.fold >= 0))


def test_good_images_teach_as_much_as_films_and_wrong_labels_teach_nothing(films, guide, tiny_generator):
    seen = []
    good = utility.measure(some_material(some_subject(), films, guide, generator=tiny_generator, on_status=seen.append))
    bad = utility.measure(some_material(some_subject(shuffled=True), films, guide))["macro"]
    macro = good["macro"]
    assert macro["trtr"]["value"] > 0.8
    assert macro["excess_retention"]["value"] == pytest.approx(1, abs=0.25)
    assert bad["excess_retention"]["value"] < 0.4
    assert bad["trts"]["value"] < macro["trts"]["value"] - 0.2
    assert bad["trtr"]["value"] == macro["trtr"]["value"]
    assert macro["guide"]["value"] > 0.7
    assert macro["pseudo_real"]["value"] > 0.6
    difference = macro["tstr"]["value"] - macro["pseudo_draws"]["value"]
    assert macro["tstr_minus_pseudo_draws"]["value"] == pytest.approx(difference, abs=1e-4)
    assert bad["pseudo_draws"] == bad["tstr_minus_pseudo_draws"] == {"value": None, "reason": NO_GENERATOR}
    assert set(good["findings"]) == set(FINDINGS)
    assert good["recipe"]["learned"] == 120
    assert [status.done for status in seen] == list(range(1, 10))
    assert {status.total for status in seen} == {9}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_figures_do_not_depend_on_processes(material):
    one = utility.measure(material)
    two = utility.measure(dataclasses.replace(material, workers=2))
    assert dump_json(one) == dump_json(two)


def test_without_the_guide_nobody_is_left_out_and_there_is_no_control(films):
    material = some_material(some_subject(), films, "The guide is not at hand.")
    planned = utility_plan.plan_utility(material)
    assert (planned.fold >= 0).all()
    assert "could not be left out, which favours images" in planned.caveat
    missing, sources = utility._Studio(material, planned).controls()
    assert missing == dict.fromkeys(("guide", "pseudo_real", "pseudo_draws"), "The guide is not at hand.")
    assert sources == {}


def test_a_control_needs_as_many_unlabelled_films(films, guide):
    material = some_material(some_subject(160), films, guide)
    missing, _ = utility._Studio(material, utility_plan.plan_utility(material)).controls()
    assert "unlabelled films are needed, and the radiograph sets given hold 130" in missing["pseudo_real"]


def test_of_a_folder_nobody_knows_whom_it_was_made_from(films, guide):
    planned = utility_plan.plan_utility(some_material(some_subject(kind="folder"), films, guide))
    assert "makers of this set" in planned.caveat


def reason(material):
    found = utility.measure(material)
    leaves = [*found["macro"].values(), *(leaf for row in found["findings"].values() for leaf in row.values())]
    assert len({leaf["reason"] for leaf in leaves}) == 1
    return leaves[0]["reason"]


def test_too_little_of_anything_is_said_in_every_place(material, films, guide, tiny_set):
    assert "needs 100 images to learn from; there are 60" in reason(some_material(some_subject(60), films, guide))
    assert "No radiographs were given" in reason(dataclasses.replace(material, films=()))
    assert "set has 52 of 26." in reason(dataclasses.replace(material, films=(open_set(tiny_set),)))
    one = some_subject()
    only = dataclasses.replace(one.images, asked=np.broadcast_to(np.eye(3, dtype=bool)[1], one.images.asked.shape))
    found = reason(some_material(dataclasses.replace(one, images=only), films, guide))
    assert "films and images with and without Effusion" in found
    large = dataclasses.replace(one.images, pixels=np.zeros((120, 32, 32), np.uint8))
    found = reason(some_material(dataclasses.replace(one, images=large), films, guide))
    assert "labelled films of 32 px" in found


def test_a_finding_the_films_do_not_know_is_left_out_and_named(films, guide):
    subject = some_subject()
    renamed = dataclasses.replace(subject, findings=("No Finding", "Effusion", "Goitre"))
    planned = utility_plan.plan_utility(some_material(renamed, films, guide))
    assert planned.findings == ("No Finding", "Effusion")
    assert "have no labels for Goitre" in planned.unmeasured["Goitre"]


def test_very_many_films_are_thinned_by_patient(films, material, monkeypatch):
    monkeypatch.setattr(utility_plan, "MOST_FILMS", 201)
    planned = utility_plan.plan_utility(material)
    assert len(planned.rows) == 200
    assert (np.unique(films.patients[planned.rows], return_counts=True)[1] == 2).all()
