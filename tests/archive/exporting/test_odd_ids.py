"""Ids and labels nobody would choose, and columns of a later version."""

import csv
import dataclasses
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xrarchive.archive.exporting import export_archive
from xrarchive.archive.manifest import FileRecord, read_manifest, write_manifest
from xrarchive.archive.schema import write_shard
from xrarchive.files import sha256_file

IDS = ["..", "../../escape", "-rf", "é😀\u202e", "x" * 255, "=cmd()"]
NAME = "data/train-00000.parquet"


@pytest.fixture
def odd(archive):
    """The first shard with odd ids and one more column; labels `../x` and two that differ by a space."""
    table = pq.read_table(archive / NAME)
    table = table.set_column(table.schema.get_field_index("image_id"), "image_id", pa.array(IDS))
    table = table.append_column("sharpness", pa.array(["ab"] * 6)).replace_schema_metadata(None)
    write_shard(archive / NAME, [table], table.schema)
    manifest = read_manifest(archive)
    record = FileRecord(sha256_file(archive / NAME), (archive / NAME).stat().st_size, 6)
    findings = ("../x", "A B", "A_B", "Mass")
    write_manifest(archive, dataclasses.replace(manifest, files={NAME: record}, rows=6, findings=findings))
    return archive


def test_files_stay_inside_and_the_table_keeps_the_ids(odd, tmp_path):
    before = sorted(path for path in tmp_path.rglob("*") if "out" not in path.parts)
    export_archive(odd, tmp_path / "out", to="folder")
    assert sorted(path for path in tmp_path.rglob("*") if "out" not in path.relative_to(tmp_path).parts) == before
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6
    with (tmp_path / "out/train/metadata.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image_id"] for row in rows] == ["..", "../../escape", "'-rf", *IDS[3:5], "'=cmd()"]
    assert {row["sharpness"] for row in rows} == {"ab"}
    assert rows[1]["label"] == "../x"


def test_tars_too(odd, tmp_path):
    export_archive(odd, tmp_path / "out", to="webdataset")
    with tarfile.open(tmp_path / "out/train-00000.tar") as tar:
        names = tar.getnames()
        rows = [json.load(tar.extractfile(name)) for name in names if name.endswith(".json")]
    assert all(name.count(".") == 1 and "/" not in name for name in names)
    assert [row["image_id"] for row in rows] == IDS
    assert {row["sharpness"] for row in rows} == {"ab"}
