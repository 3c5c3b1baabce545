"""`validate` with a third classifier, in the tiny world: who may measure, and who is refused."""

import dataclasses
import json
import shutil

import pytest
from tiny_build import FINDINGS

from xrarchive import pipeline
from xrarchive.archive.manifest import read_manifest, write_manifest
from xrarchive.errors import InputDataError
from xrarchive.files import sha256_file
from xrarchive.validating import material


@pytest.fixture(scope="module")
def built(tiny_built, tmp_path_factory):
    return shutil.copytree(tiny_built, tmp_path_factory.mktemp("referee") / "archive")


def test_a_referee_measures_beside_the_judge_and_alone_where_it_filtered(
    built, tiny_set, tiny_judge, tiny_referee, tmp_path
):
    folder = tmp_path / "filtered"
    shutil.copytree(built, folder)
    manifest = read_manifest(folder)
    build = dataclasses.replace(manifest.builds[0], settings=manifest.settings | {"judge_filter": True})
    write_manifest(folder, dataclasses.replace(manifest, builds=(build,)))
    given = {"radiographs": [tiny_set], "judge": tiny_judge, "only": ["labels"]}
    both = pipeline.validate(built, **given, referee=tiny_referee.parent)
    alone = pipeline.validate(folder, **given, referee=tiny_referee)
    nobody = pipeline.validate(folder, **given)
    assert (both["labels"]["by"], alone["labels"]["by"]) == ("judge", "referee")
    assert alone["labels"]["findings"]["Mass"]["value"] == both["labels"]["referee"]["Mass"]["value"]
    assert both["labels"]["referee"]["Mass"]["value"] != both["labels"]["findings"]["Mass"]["value"]
    assert both["labels"]["raters"]["referee"] == {"sha256": sha256_file(tiny_referee)}
    assert all("--referee" in found["reason"] for found in nobody["labels"]["findings"].values())
    purity = both["labels"]["findings"]["Mass"]["purity"]
    assert purity["rogan_gladen"]["value"] is not None
    assert purity["rogan_gladen"]["floor"]["value"] == pytest.approx(0.37, abs=0.1)
    assert 0 < purity["soft"]["value"] < 1
    assert list(both["labels"]["nuisances"]) == list(manifest.nuisances) == ["view"]
    assert set(both["labels"]["nuisances"]["view"]) == set(FINDINGS)
    assert json.loads((folder / "validation.json").read_bytes()) == nobody


@pytest.mark.parametrize("role", ["guide", "judge"])
def test_whoever_had_a_part_in_the_images_cannot_referee(built, role, tiny_guide, tiny_judge):
    path = {"guide": tiny_guide, "judge": tiny_judge}[role]
    with pytest.raises(InputDataError, match=f"is the {role} this archive was built with") as caught:
        pipeline.validate(built, judge=tiny_judge, referee=path)
    assert "--role referee" in caught.value.fix


def test_a_referee_must_be_one_and_see_images_of_this_size(built, tiny_judge, tiny_referee, train_tiny, tmp_path):
    other = train_tiny(tmp_path / "run", "guide", epochs=1, seed=9)
    with pytest.raises(InputDataError, match="is a guide, a referee was expected"):
        pipeline.validate(built, judge=tiny_judge, referee=other)
    with pytest.raises(InputDataError, match="absent"):
        pipeline.validate(built, judge=tiny_judge, referee=tmp_path / "absent.safetensors")
    manifest = dataclasses.replace(read_manifest(built), size_px=64)
    with pytest.raises(InputDataError, match="sees images of 16 px, the archive's are 64 px"):
        material._load_referee(tiny_referee, manifest)


def test_a_referee_that_knows_fewer_findings_scores_those(tiny_referee, rng):
    import numpy as np

    from xrarchive.classifier.classifier import load_classifier

    referee = load_classifier(tiny_referee)
    findings = ("Hernia", "Mass", "No Finding")
    pixels = rng.integers(0, 256, (3, 16, 16)).astype(np.uint8)
    scores = material.known_scores(referee, findings, pixels)
    assert np.isnan(scores[:, 0]).all()
    expected = referee.scores(pixels)[:, [referee.vocabulary.index(name) for name in ("Mass", "No Finding")]]
    np.testing.assert_array_equal(scores[:, 1:], expected)
    rater = material.make_rater("referee", referee, findings, scores)
    assert np.isnan(rater.thresholds).tolist() == [True, False, False]
