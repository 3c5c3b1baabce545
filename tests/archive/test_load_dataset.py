"""What a user gets from an archive folder with the real `datasets.load_dataset`."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Image, List, Value, load_dataset
from made_archive import FINDINGS, ROWS_PER_SHARD, SIZE_PX, make_archive, make_image, make_plan

from xrarchive.archive import schema
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.archive.schema import DATA, features_of

PLAN = make_plan()
IMAGES = [make_image(PLAN, planned) for index in range(PLAN.units) for planned in PLAN.unit(index)]


def load(folder, *config, **options):
    return load_dataset(str(folder), *config, split="train", **options)


@pytest.fixture(scope="module")
def rows(made):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", made.parent / "cache")
        yield load(made)


def test_pixels_and_row_order(rows):
    assert {image.mode for image in rows["image"]} == {"L"}
    np.testing.assert_array_equal(
        np.stack([np.asarray(image) for image in rows["image"]]), [image.pixels for image in IMAGES]
    )
    assert rows["image_id"][:] == [image.image_id for image in IMAGES]


def test_classes_take_turns_within_a_shard(rows):
    labels = [FINDINGS[label] for label in rows["label"]]
    assert labels == ["Mass", "No Finding", "Effusion"] * 2 + ["Mass", "No Finding", "Mass"]


def test_label_names_and_their_order(rows):
    assert rows.features["label"].names == list(FINDINGS)
    assert rows.features["findings"].feature.names == list(FINDINGS)
    assert [[FINDINGS[index] for index in found] for found in rows["findings"]] == [
        list(image.findings) for image in IMAGES
    ]


def test_a_finding_is_null_where_nobody_asked_and_false_where_its_absence_was(rows):
    for name in FINDINGS:
        told = [True if name in image.findings else False if name in image.absent else None for image in IMAGES]
        assert rows[name][:] == told
    assert False in rows["Pleural_Thickening"][:]


def test_scores_and_the_mark_synthetic(rows):
    for name in FINDINGS:
        assert rows[f"guide_{name}"][:] == [float(np.float32(image.guide[name])) for image in IMAGES]
        assert rows[f"judge_{name}"][:] == [float(np.float32(image.judge[name])) for image in IMAGES]
    assert set(rows["synthetic"]) == {True}


def test_features_are_those_promised(rows):
    assert list(rows.features) == [
        *("image", "image_id", "label", "findings"),
        *FINDINGS,
        *(f"guide_{name}" for name in FINDINGS),
        *(f"judge_{name}" for name in FINDINGS),
        "soft_label",
        "synthetic",
        "pixels_sha256",
    ]
    assert rows.features["image"] == Image(mode="L")
    assert rows.features["findings"] == List(ClassLabel(names=list(FINDINGS)))
    assert rows.features["Mass"] == Value("bool")
    assert rows.features == features_of(DATA, FINDINGS)


def test_provenance_joins_by_image_id(made):
    provenance = load(made, "provenance")
    assert provenance["image_id"][:] == [image.image_id for image in IMAGES]
    assert provenance["seed"][:] == [image.seed for image in IMAGES]
    assert provenance["latent"][:] == [image.latent.tolist() for image in IMAGES]
    for name in ("targets", "nuisances", "start_nuisances"):
        wanted = [np.float32(getattr(image, name)).tolist() for image in IMAGES]
        assert provenance[name][:] == wanted
    lists = {"latent": [], "targets": [], "nuisances": [], "start_nuisances": []}
    assert provenance[0] | lists | {"seed": 0, "image_id": ""} == {
        "image_id": "", "build": 0, "seed": 0, "draw": 1, "steps": 7, "travel_deg": 12.5, **lists,
    }  # fmt: skip


def test_streaming_gives_the_same_rows(made, rows):
    streamed = list(load(made, streaming=True))
    assert [row["image_id"] for row in streamed] == rows["image_id"][:]
    assert [np.asarray(row["image"]).tobytes() for row in streamed] == [image.pixels.tobytes() for image in IMAGES]


@pytest.mark.parametrize("streaming", [False, True])
def test_filters_by_the_integer_of_a_label(made, streaming):
    mass = FINDINGS.index("Mass")
    chosen = list(load(made, filters=[("label", "==", mass)], streaming=streaming))
    assert [row["image_id"] for row in chosen] == [i.image_id for i in IMAGES if i.findings[0] == "Mass"]


@pytest.mark.parametrize("config", ["data", "provenance"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_missing_shard_is_an_error_and_no_shorter_dataset(archive, config, index):
    (archive / config / f"train-0000{index}.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        load(archive, *(["provenance"] if config == "provenance" else []))


def test_files_besides_the_shards_are_never_taken_for_data(archive):
    for name in ("validation.json", "data/train-00007.parquet", "data/test-00000.parquet"):
        (archive / name).write_bytes((archive / "data/train-00000.parquet").read_bytes())
    assert set(load_dataset(str(archive))) == {"train"}
    assert len(load(archive)) == len(IMAGES)


def test_a_folder_whose_name_looks_like_a_partition(tmp_path):
    folder = make_archive(tmp_path / "seed=3" / "label=9")
    assert read_table(folder).column_names == list(features_of(DATA, FINDINGS))
    assert read_table(folder, ["label"]).column_names == ["label"]


def test_arrow_schema_is_exact_with_its_metadata(made):
    for name in read_manifest(made).files:
        found = pq.read_schema(made / name)
        wanted = features_of(name.split("/")[0], FINDINGS).arrow_schema
        assert found.equals(wanted)
        assert found.metadata == wanted.metadata
        assert set(found.metadata) == {b"huggingface"}
    found = pq.read_schema(made / "data/train-00000.parquet")
    assert found.field("image").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})
    assert found.field("label").type == pa.int64()
    assert found.field("guide_Mass").type == pa.float32()
    assert all(field.nullable for field in found)


def test_shards_are_written_as_decided(made):
    path = made / "data/train-00000.parquet"
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert not any("DICTIONARY" in encoding for encoding in columns["image.bytes"].encodings)
    assert columns["label"].compression == "SNAPPY"
    assert all(column.has_offset_index for column in columns.values())
    assert json.loads(pq.read_metadata(path).metadata[b"content_defined_chunking"])["min_chunk_size"] == 262_144


def test_pages_carry_checksums(archive):
    path = archive / "data/train-00001.parquet"
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_row_groups_are_full_whatever_the_units(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "ROW_GROUP_ROWS", 4)
    tables = schema.to_tables(IMAGES, FINDINGS)["data"]
    parts = [tables.slice(0, 1), tables.slice(1, 6), tables.slice(7)]
    assert schema.write_shard(tmp_path / "a.parquet", parts, tables.schema) == len(IMAGES)
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [4, 4, 1]


@pytest.mark.parametrize(("rows_per_shard", "shards"), [(1, [1] * 9), (4, [4, 4, 1]), (9, [9]), (100, [9])])
def test_units_become_shards_of_a_fixed_number_of_rows(tmp_path, rows_per_shard, shards):
    folder = make_archive(tmp_path / "archive", rows_per_shard=rows_per_shard)
    manifest = read_manifest(folder)
    for config in ("data", "provenance"):
        assert [manifest.files[name].rows for name in manifest.shards(config)] == shards
    np.testing.assert_array_equal(read_pixels(folder), [image.pixels for image in IMAGES])
    assert load(folder)["image_id"][:] == [image.image_id for image in IMAGES]


def test_reading_columns_and_rows(made):
    table = read_table(made, ["image_id", "label"])
    assert table.column_names == ["image_id", "label"]
    assert table["image_id"].to_pylist() == [image.image_id for image in IMAGES]
    np.testing.assert_array_equal(read_pixels(made, [8, 0]), [IMAGES[8].pixels, IMAGES[0].pixels])
    assert read_pixels(made).shape == (len(IMAGES), SIZE_PX, SIZE_PX)
    assert read_table(made, config="provenance").num_rows == len(IMAGES) > ROWS_PER_SHARD
