"""What a page of an archive holds: which images, their bytes, what is said of them, and nothing that could run."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_archive import FINDINGS, make_archive

from xrarchive import pipeline
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import read_table
from xrarchive.archive.schema import PROVENANCE
from xrarchive.browsing import page, selecting
from xrarchive.browsing.content import hash_latent
from xrarchive.errors import DamageError, InputDataError


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("made") / "archive")


def data_of(path):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S)
    return json.loads(found[1])


def pictures_of(path):
    blocks = re.findall(r'<script type="text/plain" class="pictures">(.*?)</script>', path.read_text(), re.S)
    return [base64.b64decode(line) for block in blocks for line in block.split("\n")]


def test_pictures_are_those_of_the_archive_byte_for_byte(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "BLOCK", 4)
    report = pipeline.browse(archive, tmp_path / "page.html")
    assert pictures_of(report.out) == [value["bytes"] for value in read_table(archive, ["image"])["image"].to_pylist()]
    assert (report.images, report.fitting, report.rows) == (9, 9, 9)
    assert report.bytes == report.out.stat().st_size
    assert data_of(report.out)["block"] == 4


def test_rows_say_what_the_archive_says(archive, tmp_path):
    data = data_of(pipeline.browse(archive, tmp_path / "page.html").out)
    images, table, origins = data["images"], read_table(archive), read_table(archive, config=PROVENANCE)
    assert {len(values) for values in images.values()} == {9}
    assert images["id"] == table["image_id"].to_pylist()
    assert [FINDINGS[label] for label in images["label"]] == [FINDINGS[i] for i in table["label"].to_pylist()]
    for k, name in enumerate(FINDINGS):
        letters = {"+": True, "-": False, ".": None}
        assert [letters[row[k]] for row in images["asked"]] == table[name].to_pylist()
        assert np.allclose([row[k] / 1000 for row in images["judge"]], table[f"judge_{name}"].to_numpy(), atol=5.1e-4)
    assert images["seed"] == [str(seed) for seed in origins["seed"].to_pylist()]
    assert images["latent"][3] == hash_latent(origins["latent"][3].as_py())
    assert images["pixels"] == table["pixels_sha256"].to_pylist()
    assert data["manifest"] == read_manifest(archive).sha256


def test_the_same_archive_gives_the_same_page(archive, tmp_path):
    first, again = (pipeline.browse(archive, tmp_path / name, images=5).out for name in ("a.html", "b.html"))
    assert first.read_bytes() == again.read_bytes()
    other = pipeline.browse(archive, tmp_path / "c.html", images=5, seed=1).out
    assert data_of(other)["images"]["id"] != data_of(first)["images"]["id"]


def test_what_does_not_fit_is_drawn_evenly_and_said(archive, tmp_path):
    data = data_of(pipeline.browse(archive, tmp_path / "page.html", images=6).out)
    labels = [FINDINGS[label] for label in data["images"]["label"]]
    assert {name: labels.count(name) for name in set(labels)} == {"Mass": 2, "No Finding": 2, "Effusion": 2}
    assert (data["drawn"], data["fitting"], data["seed"]) == (True, 9, 0)


def test_as_many_as_fit_by_the_size_of_the_shards(archive, tmp_path, monkeypatch):
    manifest = read_manifest(archive)
    held = sum(manifest.files[name].bytes for name in manifest.shards("data"))
    monkeypatch.setattr(selecting, "PAGE_BYTES", held // 3 + 1)
    assert pipeline.browse(archive, tmp_path / "page.html").images == 3


def test_only_what_a_condition_holds_for(archive, tmp_path):
    report = pipeline.browse(archive, tmp_path / "page.html", where="label == 'Mass' and steps > 0")
    assert report.images == report.fitting == 4
    assert data_of(report.out)["where"] == "label == 'Mass' and steps > 0"
    assert len(pictures_of(report.out)) == 4


@pytest.mark.parametrize("where", ["steps > 99", "judge_Mass >", "Masses == 1"])
def test_a_condition_that_finds_nothing_or_cannot_be_read(archive, tmp_path, where):
    with pytest.raises(InputDataError, match=r"fits|cannot be read"):
        pipeline.browse(archive, tmp_path / "page.html", where=where)
    assert not list(tmp_path.iterdir())


def test_a_page_never_lands_among_the_files_of_the_archive(archive):
    with pytest.raises(InputDataError, match="file of the archive itself"):
        pipeline.browse(archive, archive / "page.html")
    assert not (archive / "page.html").exists()


def test_a_page_is_named_after_its_archive(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pipeline.browse(archive).out == Path("archive.html")


def test_no_path_of_this_machine_is_in_the_page(archive, tmp_path):
    text = pipeline.browse(archive, tmp_path / "page.html").out.read_text()
    assert str(archive.parent) not in text
    assert str(tmp_path) not in text


def test_the_policy_names_its_program_and_its_style_alone(archive, tmp_path):
    text = pipeline.browse(archive, tmp_path / "page.html").out.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", rules["script-src"])
    assert "//" not in re.sub(r"http://www.w3.org/2000/svg", "", text.partition("<script>")[2])


def test_a_damaged_shard_is_named(tmp_path):
    copy = make_archive(tmp_path / "copy")
    victim = sorted((copy / "provenance").iterdir())[-1]
    victim.unlink()
    with pytest.raises(DamageError, match=re.escape(victim.name)):
        pipeline.browse(copy, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_drawn_evenly_whatever_there_is():
    labels = np.array([0] * 50 + [1] * 3 + [2] * 20)
    rows = selecting.draw_evenly(labels, np.arange(73), 21, 0)
    assert np.bincount(labels[rows]).tolist() == [9, 3, 9]
    assert np.all(np.diff(rows) > 0)
    assert selecting.draw_evenly(labels, np.arange(5), 21, 0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["archive-format-1", "archive-format-2"])
def test_archives_of_every_format_there_was(name, tmp_path):
    golden = Path(__file__).parents[1] / "golden" / name
    report = pipeline.browse(golden, tmp_path / "page.html")
    data = data_of(report.out)
    assert report.images == len(pictures_of(report.out)) == read_manifest(golden).rows
    assert {len(values) for values in data["images"].values()} == {report.images}
    assert set(data["images"]["build"]) == {0}
    assert (data["images"]["pixels"][0] is None) == (name == "archive-format-1")
