"""What differs between two archives: found in full, and without reading what both have."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
from made_archive import FINDINGS, REQUESTS, finish, make_archive, make_plan, small_shards, write_units

from xrarchive.archive import rows as rows_module
from xrarchive.archive import schema, shards, writer
from xrarchive.archive.changing import split, withdraw
from xrarchive.archive.diffing import diff_archives, ks_distance
from xrarchive.archive.manifest import FORMAT, WeightsRecord, read_manifest, write_manifest
from xrarchive.archive.merging import merge
from xrarchive.archive.reader import read_table
from xrarchive.archive.schema import PROVENANCE, features_of, write_shard
from xrarchive.archive.source import Source, open_folder
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import dump_json, locked, sha256_bytes
from xrarchive.pixels import decode_png, encode_png
from xrarchive.plan import Plan
from xrarchive.records import ImageRequest

GONE = "s3-Mass-000001"
DATE = "2026-01-02"


def compare(a, b):
    return diff_archives(open_folder(a), open_folder(b))


@pytest.fixture
def before(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "before"))


def extend(folder):
    before = read_manifest(folder)
    search = dataclasses.replace(make_plan().search, unit_images=5)
    plan = Plan((ImageRequest(("Mass",), 5),), make_plan().weights, 11, search)
    with small_shards(6), locked(folder):
        writer.claim_folder(folder, plan, extending=True)
        write_units(folder, plan)
        finish(folder, plan)
    return before


def rewrite(folder, name, change):
    """Change the table of a shard and make the manifest say so."""
    manifest = read_manifest(folder)
    table = change(pq.read_table(folder / name))
    write_shard(folder / name, [table], table.schema)
    write_manifest(
        folder, dataclasses.replace(manifest, files={**manifest.files, name: shards.record_file(folder / name)})
    )


def with_value(column, row, value):
    def change(table):
        values = table[column].to_pylist()
        values[row] = value
        place = table.column_names.index(column)
        return table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))

    return change


def to_format_1(folder):
    """The same archive as a version of xrarchive that wrote format 1 would have left it."""
    manifest = read_manifest(folder)
    files = {}
    for name in manifest.files:
        config = name.split("/")[0]
        schema = features_of(config, manifest.findings, version=1).arrow_schema
        table = pq.read_table(folder / name).select(schema.names).cast(schema)
        if config == "data":  # another zlib would pack the same pixels otherwise
            images = [
                {"bytes": encode_png(decode_png(item["bytes"]), text={}), "path": item["path"]}
                for item in table["image"].to_pylist()
            ]
            table = table.set_column(0, schema.field(0), pa.array(images, schema.field(0).type))
        write_shard(folder / name, [table], schema)
        files[name] = dataclasses.asdict(shards.record_file(folder / name))
    build = manifest.as_dict()["builds"][0]
    made = ("plan_sha256", "seed", "settings", "weights", "versions", "terms", "tallies")
    whole = manifest.as_dict()
    content = {
        "schema": "xrarchive.manifest/1",
        **{name: build[name] for name in made},
        **{name: whole[name] for name in ("findings", "nuisances", "size_px", "rows", "counts")},
        "files": files,
    }
    (folder / "manifest.json").write_bytes(dump_json({**content, "checksum": sha256_bytes(dump_json(content))}))


def test_identical_archives_are_not_read(before, archive):
    for path in archive.glob("*/*.parquet"):
        path.unlink()
    found = compare(before, archive)
    assert found.same_rows
    assert (found.settings, found.labels, found.scores, found.history) == ((), (), (), ())
    assert (found.shards_read, found.bytes_read, found.shards_shared) == (0, 0, 4)


def test_an_extension_adds_rows_and_a_build(before, archive):
    extend(archive)
    for path in before.glob("*/*.parquet"):  # what both have is never opened
        path.unlink()
        (archive / path.relative_to(before)).unlink()
    found = compare(before, archive)
    assert found.added == tuple(f"s11-Mass-{number:06d}" for number in range(5))
    assert (found.removed, found.changed) == ((), {})
    assert [(item.label, item.before, item.after) for item in found.labels] == [("Mass", 4, 9)]
    assert [(item.where, item.name, item.old, item.new) for item in found.settings] == [
        ("build 1", "seed", 3, 11),
        ("build 1", "settings.unit_images", 4, 5),
    ]
    assert found.builds_added == (read_manifest(archive).builds[1].plan_sha256,)
    assert [(change.version, change.change) for change in found.history] == [("1.1.0", "extend")]
    assert {shift.ks for shift in found.scores} == {None}
    assert {(shift.before_rows, shift.after_rows) for shift in found.scores} == {(0, 5)}


def test_a_withdrawal_removes_rows_and_says_why(before, archive):
    withdraw(archive, ids=[GONE], reason="burned-in text", date=DATE)
    found = compare(before, archive)
    assert (found.added, found.removed, found.changed) == ((), (GONE,), {})
    assert [(item.image_id, item.reason, item.version) for item in found.withdrawn] == [
        (GONE, "burned-in text", "2.0.0")
    ]
    assert (found.shards_read, found.shards_shared) == (4, 2)  # one shard a config is the same
    assert (found.a.version, found.b.version) == ("1.0.0", "2.0.0")


def test_a_split_changes_the_column_split_alone(before, archive):
    split(archive, {"train": 0.5, "test": 0.5})
    found = compare(before, archive)
    moved = [
        name
        for path in archive.glob("data/test-*.parquet")
        for name in pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()
    ]
    assert moved
    assert found.changed == dict.fromkeys(sorted(moved), ("split",))
    assert found.columns == {"split": len(moved)}
    assert (found.added, found.removed, found.labels) == ((), (), ())
    assert [(item.name, item.old, item.new) for item in found.settings] == [
        ("splits", {"train": 1.0}, {"train": 0.5, "test": 0.5})
    ]


def test_the_same_shard_in_another_split_is_a_change(before, archive):
    split(archive, {"test": 1.0})
    found = compare(before, archive)
    assert found.columns == {"split": 9}


@pytest.mark.parametrize(
    ("config", "column", "value"),
    [
        ("data", "label", 2),
        ("data", "findings", [1]),
        ("data", "Effusion", False),
        ("data", "judge_Mass", 0.25),
        ("data", "pixels_sha256", "0" * 64),
        ("provenance", "steps", 8),
        ("provenance", "latent", [0.0] * 5),
        ("provenance", "travel_deg", None),
    ],
)
def test_a_changed_value_names_its_column(before, archive, config, column, value):
    name = f"{config}/train-00000.parquet"
    rewrite(archive, name, with_value(column, 2, value))
    changed = pq.read_table(archive / name)["image_id"][2].as_py()
    found = compare(before, archive)
    assert found.changed == {changed: (column,)}
    assert (found.added, found.removed) == ((), ())
    assert (found.shards_read, found.shards_shared) == (2, 3)


def test_zeros_of_either_sign_are_the_same_and_null_is_not_zero(before, archive):
    name = "provenance/train-00000.parquet"
    rewrite(before, name, with_value("travel_deg", 0, 0.0))
    rewrite(archive, name, with_value("travel_deg", 0, -0.0))
    assert compare(before, archive).same_rows
    rewrite(archive, name, with_value("travel_deg", 0, None))
    assert compare(before, archive).columns == {"travel_deg": 1}


def test_the_other_direction_is_the_mirror_image(before, archive):
    extend(archive)
    withdraw(archive, ids=[GONE], reason="blurred", date=DATE)
    rewrite(archive, "data/train-00001.parquet", with_value("soft_label", 0, 0.5))
    there, back = compare(before, archive), compare(archive, before)
    assert (there.added, there.removed, there.changed) == (back.removed, back.added, back.changed)
    assert (there.builds_added, there.builds_removed) == (back.builds_removed, back.builds_added)
    for one, other in zip(there.scores, back.scores, strict=True):
        assert (one.before, one.after, one.ks) == (other.after, other.before, other.ks)
    assert back.history == back.withdrawn == ()


def test_what_the_lists_say_is_what_the_ids_say(before, tmp_path):
    requests = (*REQUESTS[1:], ImageRequest(("Mass",), 2))
    other = make_archive(tmp_path / "other", make_plan(requests=requests), rows_per_shard=2)
    found = compare(before, other)
    ids = [set(read_table(folder, ["image_id"])["image_id"].to_pylist()) for folder in (before, other)]
    assert set(found.added) == ids[1] - ids[0]
    assert set(found.removed) == ids[0] - ids[1] != set()
    assert found.changed == {}  # the same draws, packed otherwise


def test_scores_are_compared_over_the_rows_that_differ(before, archive):
    rewrite(archive, "data/train-00000.parquet", with_value("judge_Mass", 2, 0.25))
    rewrite(archive, "data/train-00000.parquet", with_value("judge_Mass", 3, 0.75))
    old = pq.read_table(before / "data/train-00000.parquet")["judge_Mass"].to_numpy()[2:4]
    (shift,) = [shift for shift in compare(before, archive).scores if shift.column == "judge_Mass"]
    assert (shift.before_rows, shift.after_rows, shift.after) == (2, 2, 0.5)
    assert shift.before == pytest.approx(old.mean(), abs=1e-6)
    assert shift.ks == pytest.approx(scipy.stats.ks_2samp(old, [0.25, 0.75]).statistic, abs=1e-6)


def test_ks_is_that_of_scipy():
    rng = np.random.default_rng(5)
    for first, second in [(1, 1), (4, 9), (200, 31)]:
        values = [rng.integers(0, 20, count).astype(np.float32) for count in (first, second)]
        assert ks_distance(*values) == pytest.approx(scipy.stats.ks_2samp(*values).statistic)


def test_format_1_against_2_knows_the_pixels(before, archive):
    to_format_1(before)
    assert read_manifest(before).format == FORMAT - 1
    found = compare(before, archive)
    assert found.same_rows
    assert found.only_b == ("data/pixels_sha256", "provenance/build")
    assert [(item.name, item.old, item.new) for item in found.settings] == [("format", 1, 2)]
    black = {"bytes": encode_png(np.zeros((12, 12), np.uint8), text={}), "path": "x.png"}
    rewrite_format_1(before, with_value("image", 0, black))
    assert compare(before, archive).columns == {"pixels_sha256": 1}
    assert compare(archive, before).columns == {"pixels_sha256": 1}


def test_two_of_format_1(before, archive):
    to_format_1(before)
    to_format_1(archive)
    assert compare(before, archive).shards_read == 0
    rewrite_format_1(archive, with_value("label", 0, 1))
    assert compare(before, archive).columns == {"label": 1}
    rewrite_format_1(archive, with_value("image", 0, {"bytes": b"no PNG", "path": "x.png"}))
    with pytest.raises(DamageError, match="cannot be decoded"):
        compare(before, archive)


def rewrite_format_1(folder, change):
    name = "data/train-00000.parquet"
    table = change(pq.read_table(folder / name))
    write_shard(folder / name, [table], table.schema)
    whole = json.loads((folder / "manifest.json").read_bytes())
    del whole["checksum"]
    whole["files"][name] = dataclasses.asdict(shards.record_file(folder / name))
    (folder / "manifest.json").write_bytes(dump_json({**whole, "checksum": sha256_bytes(dump_json(whole))}))


def test_labels_are_compared_by_name(before, archive):
    """Another order of the vocabulary is a setting, not a change of every row."""
    order = [FINDINGS.index(name) for name in reversed(FINDINGS)]
    manifest = read_manifest(archive)

    def renumber(table):
        labels = [order.index(label) for label in table["label"].to_pylist()]
        findings = [[order.index(label) for label in row] for row in table["findings"].to_pylist()]
        for column, values in (("label", labels), ("findings", findings)):
            field = table.schema.field(column)
            table = table.set_column(table.column_names.index(column), field, pa.array(values, field.type))
        return table

    for name in manifest.shards("data"):
        rewrite(archive, name, renumber)
    write_manifest(archive, dataclasses.replace(read_manifest(archive), findings=FINDINGS[::-1]))
    found = compare(before, archive)
    assert found.same_rows
    assert [item.name for item in found.settings] == ["findings"]


def test_a_merge_moves_builds_without_changing_rows(before, tmp_path):
    other = make_archive(tmp_path / "other", make_plan(seed=4))
    merge(other, before, tmp_path / "both")
    found = compare(before, tmp_path / "both")
    assert (len(found.added), found.removed, found.changed) == (9, (), {})
    assert found.builds_added == (read_manifest(other).builds[0].plan_sha256,)


def test_weights_and_versions_that_differ(before, archive):
    manifest = read_manifest(archive)
    weights = {**manifest.weights, "generator": WeightsRecord("d" * 64, "new.safetensors")}
    build = dataclasses.replace(manifest.builds[0], weights=weights, versions={"torch": "9"}, plan_sha256="e" * 64)
    write_manifest(archive, dataclasses.replace(manifest, builds=(build,)))
    found = compare(before, archive)
    assert {item.name: (item.old, item.new) for item in found.settings} == {
        "versions.numpy": (np.__version__, None),
        "versions.torch": (None, "9"),
        "weights.generator": ("a" * 64, "d" * 64),
    }
    assert found.builds_removed == (manifest.builds[0].plan_sha256,)
    assert found.builds_added == ("e" * 64,)


def test_only_what_differs_is_asked_for(before, archive):
    withdraw(archive, ids=[GONE], reason="blurred", date=DATE)
    asked = []

    def counting(folder):
        return Source(str(folder), read_manifest(folder), lambda path: (asked.append(path), folder / path)[1])

    diff_archives(counting(before), counting(archive))
    assert sorted(asked) == [
        "data/train-00000-r1.parquet",
        "data/train-00000.parquet",
        "provenance/train-00000-r1.parquet",
        "provenance/train-00000.parquet",
    ]


def test_a_shard_that_cannot_be_read_is_damage(before, archive):
    withdraw(archive, ids=[GONE], reason="blurred", date=DATE)
    (before / "data/train-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamageError, match="train-00000"):
        compare(before, archive)


def test_a_column_that_is_missing_or_points_nowhere_is_damage(before, archive):
    name = "data/train-00000.parquet"
    rewrite(archive, name, with_value("label", 0, 77))
    with pytest.raises(DamageError, match="cannot be read"):
        compare(before, archive)
    rewrite(archive, name, lambda table: table.drop_columns(["soft_label"]))
    with pytest.raises(DamageError, match="soft_label"):
        compare(before, archive)


def test_a_folder_without_an_archive(tmp_path):
    with pytest.raises(InputDataError, match="No finished archive"):
        open_folder(tmp_path)


def test_provenance_is_compared_where_only_its_shard_differs(before, archive):
    rewrite(archive, f"{PROVENANCE}/train-00001.parquet", with_value("draw", 0, 9))
    found = compare(before, archive)
    assert found.columns == {"draw": 1}
    assert found.scores == ()


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_row_groups_are_read_one_by_one_and_only_what_differs_is_kept(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(schema, "ROW_GROUP_ROWS", rows)
    folders = [make_archive(tmp_path / name) for name in "ab"]
    rewrite(folders[1], "data/train-00000.parquet", with_value("judge_Mass", 0, 0.25))
    rewrite(folders[1], "provenance/train-00001.parquet", with_value("draw", 0, 9))
    withdraw(folders[1], ids=[GONE], reason="blurred", date=DATE)
    kept, read = [], rows_module._read_rows

    def noting(shards, wanted):
        kept.append(len(read(shards, wanted).places))
        return read(shards, wanted)

    monkeypatch.setattr(rows_module, "_read_rows", noting)
    found = compare(*folders)
    assert (found.removed, found.columns) == ((GONE,), {"judge_Mass": 1, "draw": 1})
    assert kept == [2, 1, 1, 1]  # the withdrawn row is in one of the two, its provenance does not matter
