"""Archives of 16-bit and of colour images, and how large shards and row groups become."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Image, load_dataset
from hypothesis import given
from hypothesis import strategies as st
from made_archive import FINDINGS, NUISANCES, SIZE_PX, make_image, make_plan

from xrarchive import pipeline
from xrarchive.archive import schema, shards
from xrarchive.archive.changing import split, withdraw
from xrarchive.archive.manifest import FIRST_VERSION, BuildRecord, Change, Manifest, WeightsRecord, read_manifest
from xrarchive.archive.reader import check_archive, read_pixels, read_table
from xrarchive.archive.schema import CONFIGS, capped, hash_pixels, shard_name, to_tables, write_shard

PLAN = make_plan()
SHAPES = {"L": (np.uint8, ()), "I;16": (np.uint16, ()), "RGB": (np.uint8, (3,))}


def images_of(mode):
    kind, channels = SHAPES[mode]
    rng, most = np.random.default_rng(5), np.iinfo(kind).max
    images = [make_image(PLAN, planned) for index in range(PLAN.units) for planned in PLAN.unit(index)]
    shape = (SIZE_PX, SIZE_PX, *channels)
    return [dataclasses.replace(image, pixels=rng.integers(0, most + 1, shape, kind)) for image in images]


def archive_of(folder, mode, *, parts=2):
    """An archive as a build would leave it, of images no generator of ours makes."""
    images, files = images_of(mode), {}
    for index in range(parts):
        part = images[len(images) * index // parts : len(images) * (index + 1) // parts]
        for config, table in to_tables(part, FINDINGS).items():
            name = shard_name(config, index)
            write_shard(folder / name, [table], table.schema)
            files[name] = shards.record_file(folder / name)
    weights = {role: WeightsRecord(sha256, role) for role, sha256 in PLAN.weights.items()}
    build = BuildRecord(PLAN.sha256, PLAN.units, PLAN.seed, {}, weights, {}, (), ())
    history = (Change(FIRST_VERSION, "build", len(images), 0),)
    bare = Manifest(FINDINGS, NUISANCES, SIZE_PX, 0, {}, "", files, (build,), history, mode=mode)
    shards.commit(folder, bare)
    return images


@pytest.mark.parametrize("mode", SHAPES)
def test_every_mode_loads_with_its_pixels(tmp_path, mode):
    folder = tmp_path / "archive"
    images = archive_of(folder, mode)
    pixels = np.stack([image.pixels for image in images])
    assert read_manifest(folder).mode == mode
    assert check_archive(folder, read_data=True, decode=True).problems == ()
    for rows in (load_dataset(str(folder), split="train"), pipeline.load(folder, split="train")):
        assert rows.features["image"] == Image(mode=mode)
        assert {image.mode for image in rows["image"]} == {mode}
        np.testing.assert_array_equal(np.stack([np.asarray(image) for image in rows["image"]]), pixels)
    found = read_pixels(folder)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)
    np.testing.assert_array_equal(read_pixels(folder, [3]), pixels[3:4])
    assert read_table(folder, ["pixels_sha256"])["pixels_sha256"].to_pylist() == list(map(hash_pixels, pixels))


@pytest.mark.parametrize("mode", ["I;16", "RGB"])
def test_every_mode_lives_on(tmp_path, mode):
    folder = tmp_path / "archive"
    images = archive_of(folder, mode)
    withdraw(folder, ids=[images[2].image_id], reason="x", date="2026-01-02")
    split(folder, {"train": 0.5, "test": 0.5})
    assert check_archive(folder, read_data=True, decode=True).problems == ()
    left = {image.image_id: image.pixels for image in (*images[:2], *images[3:])}
    stored = dict(zip(read_table(folder, ["image_id"])["image_id"].to_pylist(), read_pixels(folder), strict=True))
    assert stored.keys() == left.keys()
    assert all(np.array_equal(stored[name], pixels) for name, pixels in left.items())


def test_an_archive_in_another_mode_than_it_says_is_found(tmp_path):
    folder = tmp_path / "archive"
    archive_of(folder, "I;16")
    shards.commit(folder, dataclasses.replace(read_manifest(folder), mode="RGB"))
    assert {problem.id for problem in check_archive(folder).problems} == {"wrong-schema"}


# Sizes


@given(st.integers(1, 10_000), st.integers(1, 1 << 30), st.integers(1, 1 << 24))
def test_no_more_rows_and_no_more_bytes_than_allowed_but_one_row(rows, most_bytes, image_bytes):
    found = capped(rows, most_bytes, image_bytes)
    assert 1 <= found <= rows
    assert found == 1 or found * image_bytes <= most_bytes
    assert found == rows or (found + 1) * image_bytes > most_bytes


@pytest.mark.parametrize(
    ("size_px", "mode", "shard", "group"),
    [
        (64, "L", 5_000, 1_000),
        (256, "L", 4_096, 512),
        (1024, "L", 256, 32),
        (1024, "I;16", 128, 16),
        (8192, "RGB", 1, 1),
    ],
)
def test_rows_of_shards_and_row_groups(size_px, mode, shard, group):
    image_bytes = size_px**2 * schema.BYTES_PER_PIXEL[mode]
    assert capped(schema.SHARD_ROWS, schema.SHARD_BYTES, image_bytes) == shard
    assert capped(schema.ROW_GROUP_ROWS, schema.ROW_GROUP_BYTES, image_bytes) == group


@pytest.mark.parametrize(("image_bytes", "groups"), [(0, [9]), (144, [9]), (300, [3, 3, 3]), (1_000, [1] * 9)])
def test_row_groups_hold_no_more_pixels_than_allowed(tmp_path, monkeypatch, image_bytes, groups):
    """Whatever pieces the rows come in: together no more than `ROW_GROUP_BYTES`, of both configs alike."""
    monkeypatch.setattr(schema, "ROW_GROUP_BYTES", 1_300 if image_bytes == 144 else 1_000)
    tables = to_tables(images_of("L"), FINDINGS)
    for config in CONFIGS:
        table, path = tables[config], tmp_path / f"{config}.parquet"
        parts = [table.slice(0, 1), table.slice(1, 6), table.slice(7)]
        assert write_shard(path, parts, table.schema, image_bytes=image_bytes) == 9
        metadata = pq.read_metadata(path)
        assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == groups
        assert pq.read_table(path).equals(table)


def test_an_empty_archive_has_tables_too():
    for table in to_tables([], FINDINGS).values():
        assert table.num_rows == 0
