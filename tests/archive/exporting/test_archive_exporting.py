"""Every format: complete, the same bytes each time, whole or not at all."""

import dataclasses
import errno

import pytest
from made_archive import shard_bytes

from xrarchive.archive.exporting import export_archive, folder
from xrarchive.archive.manifest import read_manifest, write_manifest
from xrarchive.errors import DamageError, InputDataError, StorageError

FORMATS = ("folder", "webdataset", "csv", "dicom")


@pytest.fixture(params=FORMATS)
def to(request):
    if request.param == "dicom":
        pytest.importorskip("pydicom")
    return request.param


def test_the_same_archive_gives_the_same_bytes_and_a_true_report(archive, tmp_path, to):
    seen = []
    report = export_archive(archive, tmp_path / "a", to=to, on_status=seen.append)
    (tmp_path / "b").mkdir()  # an empty folder is taken
    export_archive(archive, tmp_path / "b", to=to)
    files = shard_bytes(tmp_path / "a")
    assert files == shard_bytes(tmp_path / "b")
    assert (report.rows, report.files, report.bytes) == (9, len(files), sum(map(len, files.values())))
    assert report.manifest_sha256 == read_manifest(archive).sha256
    assert report.manifest_sha256.encode() in files["README.md"]
    assert b"Wang et al." in files["README.md"]
    assert [(status.done, status.total) for status in seen] == [(done, 9) for done in range(1, 10)]


def test_a_folder_with_files_or_inside_the_archive_is_refused(archive, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    for out in (tmp_path / "out", tmp_path / "out" / "mine", archive / "exported"):
        with pytest.raises(InputDataError) as caught:
            export_archive(archive, out, to="csv")
        assert caught.value.path == str(out)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    with pytest.raises(InputDataError, match="No finished archive"):
        export_archive(tmp_path / "none", tmp_path / "new", to="csv")


def test_an_unknown_format_is_the_callers_mistake(archive, tmp_path):
    with pytest.raises(ValueError, match="to must be one of"):
        export_archive(archive, tmp_path / "out", to="zip")


@pytest.mark.parametrize("damage", ["flipped", "missing", "rows", "name"])
def test_damage_is_found_and_nothing_is_left(archive, tmp_path, to, damage):
    path = archive / "data/train-00001.parquet"
    manifest = read_manifest(archive)
    files = dict(manifest.files)
    if damage == "flipped":
        data = bytearray(path.read_bytes())
        data[data.index(b"IDAT") + 20] ^= 1
        path.write_bytes(data)
    elif damage == "missing":
        path.unlink()
    elif damage == "rows":
        files["data/train-00001.parquet"] = dataclasses.replace(files["data/train-00001.parquet"], rows=7)
    else:
        files["data/../train-00002.parquet"] = files["data/train-00001.parquet"]
    write_manifest(archive, dataclasses.replace(manifest, files=files))
    with pytest.raises(DamageError):
        export_archive(archive, tmp_path / "out", to=to)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["archive"]


def test_a_full_disk_is_said_and_leaves_nothing(archive, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(folder, "_write_new", full)
    with pytest.raises(StorageError, match="the disk is full"):
        export_archive(archive, tmp_path / "out", to="folder")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["archive"]
