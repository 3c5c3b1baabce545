"""Archives kept in tests/golden: of the formats there were, read for ever; of the bundled weights, made again."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from made_archive import shard_bytes

from xrarchive import pipeline
from xrarchive.archive.manifest import FORMAT, MANIFEST_NAME, read_manifest, require_current, write_manifest
from xrarchive.archive.reader import check_archive, read_pixels, read_table
from xrarchive.archive.schema import hash_pixels
from xrarchive.building.making import package_versions
from xrarchive.bundled import bundled_weights
from xrarchive.errors import InputDataError
from xrarchive.files import dump_json, sha256_bytes, sha256_file
from xrarchive.regenerating import LEAST_PSNR_DB, regenerate

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = (1, 2)
OF_BUNDLED = GOLDEN / "archive-of-bundled"
FINDINGS = ("No Finding", "Effusion")
# What decides pixels; the others decide only how they are packed.
PIXEL_DECIDING = ("torch", "numpy", "scipy", "python", "processor")


@pytest.fixture(params=FORMATS, ids=lambda number: f"format {number}")
def golden(request):
    return GOLDEN / f"archive-format-{request.param}"


@pytest.fixture
def old(tmp_path):
    """A copy of the archive of format 1."""
    return Path(shutil.copytree(GOLDEN / "archive-format-1", tmp_path / "old"))


def differing_versions(manifest):
    here = package_versions()
    there = manifest.builds[0].versions
    return [f"{name} {there[name]} there, {here[name]} here" for name in PIXEL_DECIDING if there[name] != here[name]]


def test_there_is_one_of_every_format():
    assert [read_manifest(GOLDEN / f"archive-format-{number}").format for number in FORMATS] == list(FORMATS)
    assert max(FORMATS) == FORMAT


def test_manifest(golden):
    manifest = read_manifest(golden)
    assert manifest.sha256 == sha256_file(golden / MANIFEST_NAME)
    assert dump_json(manifest.as_dict()) == (golden / MANIFEST_NAME).read_bytes()  # what publishing sends
    assert (manifest.rows, manifest.size_px, manifest.mode) == (4, 64, "L")
    assert (manifest.version, dict(manifest.splits), manifest.withdrawn) == ("1.0.0", {"train": 1.0}, ())
    assert manifest.counts == dict.fromkeys(FINDINGS, 2)
    assert [(tally.findings, tally.asked, tally.accepted) for tally in manifest.tallies] == [
        ((name,), 2, 2) for name in FINDINGS
    ]
    assert set(manifest.weights) == {"generator", "guide", "judge"}


@pytest.mark.parametrize("depth", [{}, {"read_data": True}, {"decode": True}], ids=["structure", "hashes", "pixels"])
def test_check(golden, depth):
    assert check_archive(golden, **depth).problems == ()


def test_show_and_log(golden, tmp_path):
    told = pipeline.show(golden, contact_sheet=tmp_path / "sheet.png")
    assert (told["rows"], told["manifest_sha256"]) == (4, read_manifest(golden).sha256)
    assert (tmp_path / "sheet.png").exists()
    assert [change["change"] for change in pipeline.log(golden)["history"]] == ["build"]


def test_tables(golden):
    images, origins = read_table(golden), read_table(golden, config="provenance")
    wanted = [f"s0-{name.replace(' ', '_')}-{number:06d}" for number in range(2) for name in FINDINGS]
    assert images["image_id"].to_pylist() == origins["image_id"].to_pylist() == wanted
    assert ("pixels_sha256" in images.column_names) == ("build" in origins.column_names) == (golden.name[-1] != "1")


def test_it_loads(golden):
    pixels = read_pixels(golden)
    for rows in (load_dataset(str(golden), split="train"), pipeline.load(golden, split="train")):
        np.testing.assert_array_equal(np.stack([np.asarray(image) for image in rows["image"]]), pixels)
        assert [rows.features["label"].names[label] for label in rows["label"]] == list(FINDINGS) * 2
        if "pixels_sha256" in rows.features:
            assert rows["pixels_sha256"][:] == [hash_pixels(image) for image in pixels]
    assert load_dataset(str(golden), "provenance", split="train").num_rows == 4


def test_the_bundled_weights_make_their_images_again():
    manifest = read_manifest(OF_BUNDLED)
    found = regenerate(OF_BUNDLED, bundled_weights("generator"), count=4)
    assert (found.count, found.failed) == (4, ())
    if differing_versions(manifest):
        assert found.identical == 4 or found.least_psnr_db >= LEAST_PSNR_DB
    else:
        assert (found.identical, found.least_psnr_db) == (4, None)


def test_the_same_plan_still_gives_the_same_content(tmp_path):
    manifest = read_manifest(OF_BUNDLED)
    if differing := differing_versions(manifest):
        pytest.skip(f"made with other versions: {', '.join(differing)}")
    report = pipeline.build(tmp_path / "again", per_class=2, findings=FINDINGS, workers=1)
    again = read_manifest(report.out)
    if again.settings["dtype"] != manifest.settings["dtype"]:
        pytest.skip(f"made in {manifest.settings['dtype']}, this processor computes in {again.settings['dtype']}")
    assert again.builds[0].plan_sha256 == manifest.builds[0].plan_sha256
    assert again.content_sha256 == manifest.content_sha256
    assert again.tallies == manifest.tallies


CHANGES = {
    "extend": lambda folder: pipeline.extend(folder, per_class=3),
    "build": lambda folder: pipeline.build(folder, per_class=2, findings=FINDINGS, workers=1),
    "withdraw": lambda folder: pipeline.withdraw(folder, ids=["s0-Effusion-000000"], reason="x", date="2026-01-01"),
    "split": lambda folder: pipeline.split(folder, {"train": 0.5, "test": 0.5}),
    "merge into": lambda folder: pipeline.merge(folder, GOLDEN / "archive-format-2", folder.with_name("out")),
    "merge from": lambda folder: pipeline.merge(GOLDEN / "archive-format-2", folder, folder.with_name("out")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_format_1_is_not_changed(old, change):
    before = shard_bytes(old)
    with pytest.raises(InputDataError, match=r"old is of format 1, which can be read, not changed") as caught:
        change(old)
    assert "Build it again" in caught.value.fix
    assert shard_bytes(old) == before
    assert not old.with_name("out").exists()


def test_todays_format_may_be_changed():
    require_current(GOLDEN, read_manifest(GOLDEN / f"archive-format-{FORMAT}"))


@pytest.mark.parametrize("number", [0, 3, 10])
def test_other_formats_are_refused_by_name(old, number):
    path = old / MANIFEST_NAME
    value = json.loads(path.read_bytes())
    content = {**value, "schema": f"xrarchive.manifest/{number}"}
    del content["checksum"]
    path.write_bytes(dump_json({**content, "checksum": sha256_bytes(dump_json(content))}))
    for read in (read_manifest, check_archive, pipeline.show, read_table, *CHANGES.values()):
        with pytest.raises(InputDataError, match=rf"is of format 'xrarchive\.manifest/{number}', this version reads"):
            read(old)


def test_what_was_different_when_it_was_built_is_reported(tmp_path):
    folder = Path(shutil.copytree(OF_BUNDLED, tmp_path / "archive"))
    manifest = read_manifest(folder)
    versions = {**package_versions(), "torch": "1.0", "colour": "blue"}
    write_manifest(
        folder, dataclasses.replace(manifest, builds=(dataclasses.replace(manifest.builds[0], versions=versions),))
    )
    found = regenerate(folder, bundled_weights("generator"), count=1)
    assert found.count == 1
    assert found.versions == {"torch": ("1.0", package_versions()["torch"]), "colour": ("blue", "none")}
