"""Two archives to one: nothing is lost or invented, every conflict is named before anything is written."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from life_world import DATE, assert_sound, extend_made, files_below, rows_of
from made_archive import make_archive, make_plan, small_shards

from xrarchive.archive.changing import split, withdraw
from xrarchive.archive.manifest import read_manifest, write_manifest
from xrarchive.archive.merging import merge
from xrarchive.archive.reader import read_table
from xrarchive.archive.schema import PROVENANCE
from xrarchive.archive.shards import WORK
from xrarchive.errors import DamageError, InputDataError, PlanChangedError

GONE = "s3-Mass-000001"


@pytest.fixture(autouse=True)
def shards_of_six() -> Iterator[None]:
    with small_shards(6):
        yield


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("second") / "archive", make_plan(seed=4))


@pytest.fixture
def other(second: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(second, tmp_path / "other"))


def take_out(folder: Path, *ids: str) -> None:
    withdraw(folder, ids=ids, reason="burned-in text", date=DATE)


def test_all_rows_of_both_and_builds_that_made_them(archive, other, tmp_path):
    extend_made(archive, 5)
    manifest = merge(archive, other, tmp_path / "out")
    assert assert_sound(tmp_path / "out") == manifest
    assert rows_of(tmp_path / "out") == rows_of(archive) | rows_of(other)
    assert [build.plan_sha256 for build in manifest.builds] == [
        build.plan_sha256 for folder in (archive, other) for build in read_manifest(folder).builds
    ]
    assert (manifest.version, manifest.history[0].change, manifest.history[0].added) == ("1.0.0", "merge", 24)
    table = read_table(tmp_path / "out", ["image_id", "build"], PROVENANCE)
    for image_id, build in zip(table["image_id"].to_pylist(), table["build"].to_pylist(), strict=True):
        assert manifest.builds[build].seed == int(image_id[1])
        assert (build == 1) == (image_id.startswith("s3") and image_id not in rows_of_first_build(archive))


def rows_of_first_build(folder: Path) -> set[str]:
    table = read_table(folder, ["image_id", "build"], PROVENANCE).to_pydict()
    return {name for name, build in zip(table["image_id"], table["build"], strict=True) if build == 0}


def test_the_same_merge_again_finds_itself_even_after_changes(archive, other, tmp_path):
    merge(archive, other, tmp_path / "out")
    before = files_below(tmp_path / "out")
    merge(archive, other, tmp_path / "out")
    assert files_below(tmp_path / "out") == before
    take_out(tmp_path / "out", GONE)
    assert merge(archive, other, tmp_path / "out").version == "2.0.0"
    with pytest.raises(PlanChangedError, match="another archive"):
        merge(other, archive, tmp_path / "out")


def test_what_was_withdrawn_stays_withdrawn(archive, other, tmp_path):
    take_out(archive, GONE)
    take_out(other, "s4-Mass-000001")
    manifest = merge(archive, other, tmp_path / "out")
    assert {item.image_id for item in manifest.withdrawn} == {GONE, "s4-Mass-000001"}
    extend_made(tmp_path / "out", 11)
    assert not {GONE, "s4-Mass-000001"} & set(rows_of(tmp_path / "out"))
    assert_sound(tmp_path / "out")


def test_changes_after_a_merge_never_write_over_a_shard_in_use(archive, other, tmp_path):
    """Both shards here bear the number that the first change of the merged archive has again."""
    take_out(archive, GONE)
    take_out(other, "s4-Mass-000001")
    out = tmp_path / "out"
    merge(archive, other, out)
    used = set(read_manifest(out).files)
    take_out(out, "s3-Mass-000000", "s4-Mass-000000")
    assert not {name for name in read_manifest(out).files if "-r" in name} & used
    assert_sound(out)


def test_every_conflict_is_named_before_anything_is_written(archive, other, tmp_path):
    split(other, {"train": 0.5, "test": 0.5})
    manifest = read_manifest(other)
    weights = {**manifest.builds[-1].weights}
    weights["judge"] = dataclasses.replace(weights["judge"], sha256="f" * 64)
    build = dataclasses.replace(manifest.builds[0], weights=weights)
    write_manifest(other, dataclasses.replace(manifest, builds=(build,), nuisances=("view",), size_px=13))
    with pytest.raises(InputDataError) as caught:
        merge(archive, other, tmp_path / "out")
    for word in ("nuisances", "size_px 12 against 13", "splits", "judge cccccccccccc against ffffffffffff"):
        assert word in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_shared_and_withdrawn_ids_are_conflicts(archive, made, tmp_path):
    with pytest.raises(InputDataError, match="9 ids in both"):
        merge(archive, made, tmp_path / "out")
    take_out(archive, GONE)
    with pytest.raises(InputDataError, match=f"8 ids in both.*; 1 ids that .* withdrew: {GONE}"):
        merge(archive, made, tmp_path / "out")
    with pytest.raises(InputDataError, match="ids in both"):
        merge(archive, archive, archive)


def test_damage_is_not_merged_in(archive, other, tmp_path):
    for folder, name in ((archive, "data/train-00000.parquet"), (other, "provenance/train-00001.parquet")):
        path = folder / name
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
        with pytest.raises(DamageError, match=r"not the shard the manifest names|cannot be read"):
            merge(archive, other, tmp_path / f"out-{path.parent.name}")
        content[-20] ^= 1
        path.write_bytes(content)


def test_the_folder_must_be_empty_or_of_this_merge(archive, other, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").touch()
    with pytest.raises(InputDataError, match=r"is not empty: notes\.txt"):
        merge(archive, other, out)
    (out / "notes.txt").unlink()
    (out / WORK).mkdir()  # killed before the claim was there
    merge(archive, other, out)
    assert not (out / WORK).exists()
    with pytest.raises(PlanChangedError, match="another archive"):
        merge(archive, other, other)


def test_the_splits_of_both_stay(archive, other, tmp_path):
    for folder in (archive, other):
        split(folder, {"train": 0.5, "test": 0.5})
    merge(archive, other, tmp_path / "out")
    assert rows_of(tmp_path / "out") == rows_of(archive) | rows_of(other)
    assert_sound(tmp_path / "out")
