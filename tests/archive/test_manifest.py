import dataclasses
import json
import random

import pytest
from made_archive import FINDINGS, NUISANCES, make_archive, make_plan, shard_bytes

from xrarchive.archive.manifest import MANIFEST_NAME, FileRecord, read_manifest, write_manifest
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import sha256_file
from xrarchive.records import Tally


def test_round_trip(made, tmp_path):
    manifest = read_manifest(made)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert (tmp_path / MANIFEST_NAME).read_bytes() == (made / MANIFEST_NAME).read_bytes()
    assert manifest.sha256 == sha256_file(made / MANIFEST_NAME)


def test_content(made):
    manifest, plan = read_manifest(made), make_plan()
    assert (manifest.findings, manifest.nuisances) == (FINDINGS, NUISANCES)
    assert (manifest.size_px, manifest.rows, manifest.builds[0].seed) == (12, 9, 3)
    assert manifest.counts == {"No Finding": 3, "Effusion": 2, "Mass": 4}
    assert manifest.labels == ("No Finding", "Effusion", "Mass")
    assert manifest.tallies == (
        Tally(("Mass",), (), 4, 4, 8, 0, None, 7.0, 12.5),
        Tally(("No Finding",), ("Pleural_Thickening",), 3, 3, 6, 0, None, 7.0, 12.5),
        Tally(("Effusion", "Mass"), (), 2, 2, 4, 0, None, 7.0, 12.5),
    )
    assert (manifest.builds[0].plan_sha256, manifest.builds[0].units) == (plan.sha256, plan.units)
    assert manifest.settings == json.loads(json.dumps(dataclasses.asdict(plan.search)))
    assert manifest.terms == ("nih-chestxray14",)
    for name, record in manifest.files.items():
        path = made / name
        assert record == FileRecord(sha256_file(path), path.stat().st_size, record.rows)
    assert manifest.shards("data") == ("data/train-00000.parquet", "data/train-00001.parquet")


def test_it_holds_neither_date_nor_path(made):
    value = json.loads((made / MANIFEST_NAME).read_bytes())
    assert set(value) == {
        *("schema", "checksum", "findings", "nuisances", "size_px", "mode", "rows", "counts", "content_sha256"),
        *("files", "splits", "builds", "history", "withdrawn"),
    }
    assert set(value["builds"][0]) == {
        *("plan_sha256", "units", "seed", "settings", "weights", "versions", "terms", "tallies")
    }
    assert [change["date"] for change in value["history"]] == [None]
    assert str(made.parent) not in (made / MANIFEST_NAME).read_text()


def test_the_same_plan_gives_the_same_bytes_in_any_order_of_units(made, tmp_path):
    assert shard_bytes(make_archive(tmp_path / "again")) == shard_bytes(made)


def test_no_manifest_means_not_finished(tmp_path):
    with pytest.raises(InputDataError, match="No finished archive") as caught:
        read_manifest(tmp_path)
    assert "xrarchive build" in caught.value.fix


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputDataError, match="No finished archive"):
        read_manifest(tmp_path / "file")


@pytest.mark.parametrize("content", [b"{}", b"[]", b"3", b'{"schema": "xrarchive.manifest/3"}'])
def test_another_format_is_refused(tmp_path, content):
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(InputDataError, match=r"this version reads xrarchive\.manifest/1 and xrarchive\.manifest/2"):
        read_manifest(tmp_path)


def edit(archive, change):
    path = archive / MANIFEST_NAME
    value = json.loads(path.read_bytes())
    change(value)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


DAMAGE = {
    "a field is missing": lambda value: value.pop("rows"),
    "a list is a number": lambda value: value.update(findings=3),
    "a record lacks a field": lambda value: value["builds"][0]["weights"]["guide"].pop("sha256"),
    "a record has one too many": lambda value: value["files"]["data/train-00000.parquet"].update(more=1),
    "a hash was exchanged": lambda value: value["builds"][0]["weights"]["guide"].update(sha256="d" * 64),
    "a seed was changed": lambda value: value["builds"][0].update(seed=4),
    "a version was changed": lambda value: value["builds"][0]["versions"].update(numpy="0"),
    "a field was added": lambda value: value.update(more=1),
    "the checksum was changed": lambda value: value.update(checksum="0" * 64),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_an_edited_manifest_is_damaged(archive, change):
    edit(archive, change)
    with pytest.raises(DamageError, match=r"manifest\.json is damaged"):
        read_manifest(archive)


def test_other_white_space_is_damage_since_the_hash_names_the_archive(archive):
    path = archive / MANIFEST_NAME
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DamageError):
        read_manifest(archive)


def test_any_flipped_bit_is_found(archive):
    path, rng = archive / MANIFEST_NAME, random.Random(0)
    sound = path.read_bytes()
    for _ in range(100):
        data = bytearray(sound)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises((DamageError, InputDataError)):
            read_manifest(archive)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_torn_manifest_is_damaged(archive, share):
    path = archive / MANIFEST_NAME
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DamageError):
        read_manifest(archive)
