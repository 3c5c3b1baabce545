"""Citation, scorecard and pictures, each by itself."""

import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image

from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.cards.contents import COLUMNS, ROWS, TILE_PX, _tile, count_findings, draw_samples, sample_names
from xrarchive.cards.facts import Told, collect_facts
from xrarchive.cards.templates import cell
from xrarchive.pixels import encode_png, make_grid

CFF = Path(__file__).parents[1] / "golden" / "citation-file-format-1.2.0.json"


def plain_yaml(text):
    """As JSON would have it: dates stay text."""

    class Loader(yaml.SafeLoader):
        pass

    dates = "tag:yaml.org,2002:timestamp"
    found = yaml.SafeLoader.yaml_implicit_resolvers.items()
    Loader.yaml_implicit_resolvers = {key: [pair for pair in pairs if pair[0] != dates] for key, pairs in found}
    return yaml.load(text, Loader)


@pytest.mark.parametrize("path", ["archive", "repository"])
def test_the_citation_is_valid(archive, path):
    folder = archive if path == "archive" else CFF.parents[2]
    text = (folder / "CITATION.cff").read_text()
    errors = list(jsonschema.Draft7Validator(json.loads(CFF.read_bytes())).iter_errors(plain_yaml(text)))
    assert not [error.message for error in errors]


def test_the_citation_names_paper_sources_and_manifest(archive):
    citation = plain_yaml((archive / "CITATION.cff").read_text())
    assert citation["references"][0]["doi"] == "10.1007/s42979-021-00720-7"
    assert citation["identifiers"][0]["value"] == f"sha256:{read_manifest(archive).sha256}"


@pytest.fixture
def facts(archive):
    report = json.loads((archive / "validation.json").read_bytes())
    return collect_facts(read_manifest(archive), report, Told("2026-11-23"), archive_dir=archive)


def test_all_seven_criteria_have_figures_and_say_what_was_not_measured(facts, archive):
    names = [criterion["name"] for criterion in facts["criteria"]]
    expected = "Congruence Coverage Constraint Completeness Compliance Comprehension Consistency"
    assert names == expected.split()
    assert all(criterion["found"] and criterion["missing"] for criterion in facts["criteria"])
    text = (archive / "SCORECARD.md").read_text()
    for criterion in facts["criteria"]:
        assert f"## {criterion['name']}" in text
        assert all(f"* {line}" in text for line in (*criterion["found"], *criterion["missing"]))


def test_every_row_of_the_evidence_is_in_the_scorecard(facts):
    lines = [line for criterion in facts["criteria"] for line in (*criterion["found"], *criterion["missing"])]
    for row in facts["rows"]:
        name = row["measure"]
        assert [line for line in lines if name in line], name
        if row["value"] is None:
            assert [line for line in lines if row["reason"] in line], name


def test_readers_are_not_said_to_be_missing_where_there_were_some(facts, archive):
    report = json.loads((archive / "validation.json").read_bytes())
    told = Told("2026-11-23", study="### Read by 3")
    read = collect_facts(read_manifest(archive), report, told, archive_dir=archive)
    missing = [line for criterion in read["criteria"] for line in criterion["missing"]]
    assert "No radiologist has read this archive." not in missing
    assert "No radiologist has read this archive." in facts["criteria"][0]["missing"]


def test_pictures_are_of_the_finding_and_drawn_by_seed(archive):
    manifest = read_manifest(archive)
    labels = read_table(archive, ["label"])["label"].to_numpy()
    pixels = read_pixels(archive)
    drawn = draw_samples(archive, manifest)
    assert list(drawn) == ["samples/No_Finding.png", "samples/Effusion.png", "samples/Mass.png"]
    for finding, path in sample_names(manifest).items():
        own = pixels[labels == manifest.findings.index(finding)]
        with Image.open(io.BytesIO(drawn[path])) as image:
            assert image.text["Manifest"] == manifest.sha256
            assert image.text["Source"] == "Synthetic, by xrarchive"
            assert np.array_equal(np.asarray(image), make_grid(own, columns=COLUMNS)), "all six, in row order"
        assert (archive / path).read_bytes() == drawn[path]


def test_more_images_than_tiles_are_drawn_not_chosen(archive, monkeypatch):
    manifest = read_manifest(archive)
    monkeypatch.setattr("xrarchive.cards.contents.ROWS", 1)
    monkeypatch.setattr("xrarchive.cards.contents.COLUMNS", 3)
    first, second = draw_samples(archive, manifest), draw_samples(archive, manifest, seed=1)
    assert first == draw_samples(archive, manifest)
    assert first != second
    assert (ROWS, COLUMNS) == (4, 8)


@pytest.mark.parametrize(("shape", "kind"), [((256, 256), np.uint16), ((256, 256, 3), np.uint8), ((96, 96), np.uint8)])
def test_tiles_of_any_pixels_are_small_and_grey(shape, kind):
    tile = _tile(encode_png(np.full(shape, np.iinfo(kind).max, kind)))
    side = min(TILE_PX, shape[0])
    assert (tile.shape, tile.dtype, tile.min()) == ((side, side), np.uint8, 255)


def test_rows_are_counted(archive):
    counts = {count.finding: count for count in count_findings(archive, read_manifest(archive))}
    table = read_table(archive)
    soft = table.filter(table["label"].to_numpy() == 1)["soft_label"].to_numpy().mean()
    assert counts["Effusion"].labels == {"train": 6}
    assert (counts["Effusion"].asked, counts["Effusion"].absent) == (6, 0)
    assert counts["Effusion"].soft == pytest.approx(soft, abs=1e-3)


def test_words_of_others_stay_words():
    assert cell("a|b\n<img src=x> [c](d) `e` *f*\x00") == r"a\|b \<img src=x\> \[c\](d) \`e\` \*f\*"
