"""Tars, read by tarfile and by webdataset itself where it is installed."""

import json
import tarfile

import pytest

from xrarchive.archive.exporting import export_archive
from xrarchive.archive.reader import read_table


def test_a_tar_for_each_shard_with_the_rows_in_order(archive, tmp_path):
    export_archive(archive, tmp_path / "out", to="webdataset")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "train-00000.tar", "train-00001.tar"}
    ids, members = read_table(archive, ["image_id"])["image_id"].to_pylist(), []
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            members += tar.getmembers()
    assert [member.name for member in members] == [f"{name}.{kind}" for name in ids for kind in ("png", "json", "cls")]
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}


@pytest.mark.filterwarnings("ignore")
def test_webdataset_reads_it(archive, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    export_archive(archive, tmp_path / "out", to="webdataset")
    urls = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    samples, table = list(webdataset.WebDataset(urls, shardshuffle=False)), read_table(archive)
    assert [sample["__key__"] for sample in samples] == table["image_id"].to_pylist()
    assert [sample["png"] for sample in samples] == [value["bytes"] for value in table["image"].to_pylist()]
    assert [int(sample["cls"]) for sample in samples] == table["label"].to_pylist()
    rows = [json.loads(sample["json"]) for sample in samples]
    assert rows[2]["findings"] == ["Effusion", "Mass"]
    assert list(rows[0]) == table.column_names[1:]
    assert rows[0]["Effusion"] is None
