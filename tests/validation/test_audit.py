"""Folders of images audited, in the tiny world: what an archive says of itself, its exported images say too."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from xrarchive import pipeline
from xrarchive.errors import InputDataError


@pytest.fixture(scope="module")
def built(tiny_built, tmp_path_factory):
    return shutil.copytree(tiny_built, tmp_path_factory.mktemp("audit") / "archive")


@pytest.fixture(scope="module")
def exported(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("audit") / "exported"
    pipeline.export_archive(built, out, to="folder")
    return out / "train"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_exported_images_get_the_figures_of_the_archive(
    built, exported, tiny_set, tiny_guide, tiny_judge, tiny_referee, tmp_path
):
    given = {"guide": tiny_guide, "judge": tiny_judge, "referee": tiny_referee, "quick": True}
    before = files_of(exported)
    archive = pipeline.validate(built, radiographs=[tiny_set], **given)
    folder = pipeline.audit(exported, exported / "metadata.csv", radiographs=[tiny_set], **given)
    assert files_of(exported) == before
    assert json.loads((tmp_path / "train.validation.json").read_bytes()) == folder
    assert folder["subject"]["kind"] == "folder"
    assert folder["subject"]["resized"] == "The images have 16 px and were measured as they are."
    assert folder["fidelity"] == archive["fidelity"]
    assert folder["reference"] == archive["reference"]
    assert folder["integrity"]["exact_duplicates"]["value"] == archive["integrity"]["exact_duplicates"]["value"]
    assert folder["privacy"]["copies"]["value"] == archive["privacy"]["copies"]["value"] == 0
    for raters in ("findings", "referee"):
        for name, found in archive["labels"][raters].items():
            again = folder["labels"][raters][name]
            assert [again[key] for key in ("value", "low", "high", "n")] == [
                found[key] for key in ("value", "low", "high", "n")
            ]
            for kind in ("rogan_gladen", "score_mixture"):
                assert again["purity"][kind] == found["purity"][kind]
    assert archive["labels"]["findings"]["Mass"]["value"] is not None


def test_what_only_an_archive_can_say_is_not_measured_and_why(exported, tiny_guide, tiny_judge):
    found = pipeline.audit(exported, exported / "metadata.csv", guide=tiny_guide, judge=tiny_judge)
    assert "manifest" in found["integrity"]["files"]["reason"]
    assert "lack a soft label" in found["labels"]["findings"]["Mass"]["purity"]["soft"]["reason"]
    assert found["labels"]["nuisances"] == {}
    assert "100 images" in found["utility"]["macro"]["tstr"]["reason"]
    assert found["subject"]["version"] is None
    assert found["names"]["CheXGenBench"]["FID"]["value"] is None


def test_larger_images_are_averaged_down_and_the_report_says_so(exported, tiny_guide, tiny_judge, tmp_path):
    large = tmp_path / "large"
    shutil.copytree(exported, large)
    for path in large.rglob("*.png"):
        with Image.open(path) as image:
            pixels = np.asarray(image)
        Image.fromarray(pixels.repeat(4, axis=0).repeat(4, axis=1)).convert("RGB").save(path)
    given = {"guide": tiny_guide, "judge": tiny_judge, "only": ["labels"]}
    small = pipeline.audit(exported, exported / "metadata.csv", **given)
    found = pipeline.audit(large, large / "metadata.csv", out=tmp_path / "elsewhere" / "report.json", **given)
    assert found["labels"] == small["labels"]
    assert found["manifest_sha256"] != small["manifest_sha256"]
    assert "64x64 px and were measured, averaged down to 16 px" in found["subject"]["resized"]
    assert json.loads((tmp_path / "elsewhere" / "report.json").read_bytes()) == found


def test_a_table_with_a_column_for_each_finding_says_the_same(exported, tiny_guide, tiny_judge, tmp_path):
    with (exported / "metadata.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (tmp_path / "columns.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["file_name", "No Finding", "Effusion", "Mass"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    given = {"guide": tiny_guide, "judge": tiny_judge, "only": ["labels"], "findings": ["Effusion", "Mass"]}
    joined = pipeline.audit(exported, exported / "metadata.csv", **given)
    columns = pipeline.audit(exported, tmp_path / "columns.csv", **given)
    assert columns["labels"] == joined["labels"]
    assert columns["subject"]["ignored_columns"] == []


def test_the_report_never_lands_in_the_folder_or_on_something_else_unless_told(
    exported, tiny_guide, tiny_judge, tmp_path, monkeypatch
):
    given = {"guide": tiny_guide, "judge": tiny_judge, "only": ["integrity"]}
    inside = tmp_path / "inside"
    shutil.copytree(exported, inside)
    monkeypatch.chdir(inside)
    with pytest.raises(InputDataError, match="would lie inside the folder") as caught:
        pipeline.audit(inside, inside / "metadata.csv", **given)
    assert "--out FILE" in caught.value.fix
    pipeline.audit(inside, inside / "metadata.csv", out=inside / "report.json", **given)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.validation.json").write_text('{"mine": 1}')
    with pytest.raises(InputDataError, match="exists and is no report"):
        pipeline.audit(exported, exported / "metadata.csv", **given)
    assert (tmp_path / "train.validation.json").read_text() == '{"mine": 1}'


def test_classifiers_must_see_images_of_one_size(exported, tiny_judge):
    with pytest.raises(InputDataError, match="The judge sees images of 16 px, the guide of 64 px"):
        pipeline.audit(exported, exported / "metadata.csv", judge=tiny_judge)


def test_a_part_that_does_not_exist_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="only may name integrity"):
        pipeline.audit(tmp_path / "absent", tmp_path / "absent.csv", only=["magic"])
