"""Weights to use: from the package, a file, a folder; images and scores as archives have them."""

import dataclasses
import shutil

import numpy as np
import pytest
from made_archive import make_archive, make_image, make_plan
from PIL import Image

import xrarchive
from xrarchive.archive.changing import withdraw
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.bundled import bundled_weights
from xrarchive.errors import DamageError, InputDataError


@pytest.fixture(scope="module")
def generator():
    return xrarchive.Generator.from_pretrained()


@pytest.fixture(scope="module")
def judge():
    return xrarchive.Classifier.from_pretrained("bundled")


@pytest.fixture(scope="module")
def archive(generator, tmp_path_factory):
    """Nine images that the bundled generator made of random latents."""
    plan = make_plan()
    plan = dataclasses.replace(plan, weights={**plan.weights, "generator": generator.sha256})

    def made(plan, planned):
        latent = generator.latent(planned.seed)
        return dataclasses.replace(make_image(plan, planned), latent=latent, pixels=generator.images(latent[None])[0])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("made_archive.make_image", made)
        patched.setattr("made_archive.SIZE_PX", 64)
        return make_archive(tmp_path_factory.mktemp("made") / "archive", plan)


def test_an_image_belongs_to_its_seed_whatever_stands_beside_it(generator):
    four = generator.generate(4, seed=10)
    assert (four.dtype, four.shape) == (np.uint8, (4, 64, 64))
    assert np.array_equal(generator.generate([12]), four[2:3])
    assert np.array_equal(generator.generate(range(10, 14)), four)
    assert len({image.tobytes() for image in four}) == 4


def test_only_the_direction_of_a_latent_matters(generator):
    latent = generator.latent(3)
    assert latent.shape == (generator.latent_size,)
    near = generator.images(np.stack([latent, 2 * latent])).astype(int)
    assert np.abs(near[0] - near[1]).max() <= 1


@pytest.mark.parametrize("latents", [np.zeros((2, 3)), np.zeros(128), np.full((1, 128), np.nan), np.zeros((0, 128))])
def test_latents_of_another_form_are_refused(generator, latents):
    with pytest.raises(ValueError, match="latents must be finite"):
        generator.images(latents)


def test_images_of_an_archive_made_again(generator, archive):
    ids = read_table(archive, ["image_id"])["image_id"].to_pylist()
    again = generator.remake(archive, [ids[7], ids[2]])
    assert np.array_equal(again, read_pixels(archive, [7, 2]))


def test_what_cannot_be_made_again_is_named(generator, archive, tmp_path):
    copy = shutil.copytree(archive, tmp_path / "copy")
    withdraw(copy, ids=["s3-Mass-000001"], reason="blurred", date="2026-01-02")
    with pytest.raises(InputDataError, match=r"s3-Mass-000001 \(withdrawn in 2\.0\.0: blurred\), x \(never there\)"):
        generator.remake(copy, ["s3-Mass-000001", "x", "s3-Mass-000000"])
    with pytest.raises(InputDataError, match=r"was made by the generator a{12}…"):
        generator.remake(make_archive(tmp_path / "other"), ["s3-Mass-000001"])


def test_scores_by_finding_and_calls(judge, generator):
    pixels = generator.generate(3)
    scores = judge.scores(pixels)
    assert scores.shape == (3, len(judge.vocabulary))
    assert np.array_equal(judge.score(pixels)["Effusion"], scores[:, judge.vocabulary.index("Effusion")])
    assert np.array_equal(judge.scores([Image.fromarray(one) for one in pixels]), scores)
    calls, thresholds = judge.calls(pixels), np.array([judge.thresholds[name] for name in judge.vocabulary])
    assert np.array_equal(np.isnan(calls), np.broadcast_to(np.isnan(thresholds), calls.shape))
    assert np.array_equal(calls == 1, scores >= thresholds)


@pytest.mark.parametrize(
    "images", [np.zeros((1, 32, 32), np.uint8), np.zeros((1, 64, 64)), np.zeros((64, 64), np.uint8)]
)
def test_images_of_another_form_are_refused(judge, images):
    with pytest.raises(ValueError, match="fit_square resizes"):
        judge.scores(images)


def test_roles_stay_apart(tmp_path):
    shutil.copy(bundled_weights("guide"), tmp_path / "judge.safetensors")
    with pytest.raises(InputDataError, match="is a guide, a judge was expected"):
        xrarchive.Classifier.from_pretrained(tmp_path)
    assert xrarchive.Classifier.from_pretrained(role="guide").meta["role"] == "guide"


def test_a_file_a_folder_and_a_version_in_a_published_folder(generator, tmp_path):
    version = tmp_path / "share" / "clinic" / "weights" / "v1.0.0"
    version.mkdir(parents=True)
    file = shutil.copy(bundled_weights("generator"), version)
    for source, revision in [(file, None), (version, None), (version.parent, "v1.0.0")]:
        assert xrarchive.Generator.from_pretrained(source, revision=revision).sha256 == generator.sha256
    with pytest.raises(InputDataError, match="it has no revision"):
        xrarchive.Generator.from_pretrained(file, revision="v1.0.0")
    with pytest.raises(InputDataError, match=r"holds no judge\.safetensors"):
        xrarchive.Classifier.from_pretrained(version)


def test_weights_go_by_the_name_of_their_dataset(generator, tmp_path):
    version, weights = tmp_path / "clinic" / "chests" / "v1.0.0", tmp_path / "models" / "clinic" / "chests" / "v1.0.0"
    version.mkdir(parents=True)
    with pytest.raises(InputDataError, match=r"holds no generator\.safetensors"):
        xrarchive.Generator.from_pretrained(version.parent, revision="v1.0.0")
    weights.mkdir(parents=True)
    shutil.copy(bundled_weights("generator"), weights)
    assert xrarchive.Generator.from_pretrained(version.parent, revision="v1.0.0").sha256 == generator.sha256


def test_the_very_bytes_may_be_pinned(generator):
    assert xrarchive.Generator.from_pretrained(sha256=generator.sha256).sha256 == generator.sha256
    with pytest.raises(DamageError, match="expected 0000"):
        xrarchive.Generator.from_pretrained(sha256="0" * 64)


@pytest.mark.parametrize("source", ["nothing", "", "a/b/c"])
def test_neither_a_file_nor_a_name(source):
    with pytest.raises(InputDataError, match="neither a folder nor"):
        xrarchive.Generator.from_pretrained(source)


def test_an_archive_is_no_folder_of_weights(archive):
    with pytest.raises(InputDataError, match=r"holds no generator\.safetensors") as caught:
        xrarchive.Generator.from_pretrained(archive)
    assert "xrarchive.load" in caught.value.fix
