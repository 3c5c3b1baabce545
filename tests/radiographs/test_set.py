from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_source import MakeSource

from xrarchive.errors import DamageError, InputDataError
from xrarchive.radiographs import RadiographSet, ingest, open_set


@pytest.fixture
def found(make_source: MakeSource, tmp_path: Path) -> RadiographSet:
    ingest(make_source(), tmp_path / "set", size_px=16, findings=["Effusion", "Mass"], terms=["nih-chestxray14"])
    return open_set(tmp_path / "set")


def test_what_a_set_gives(found: RadiographSet) -> None:
    assert len(found) == 4
    assert found.size_px == 16
    assert found.vocabulary == ("No Finding", "Effusion", "Mass")
    assert found.terms == ("nih-chestxray14",)
    assert isinstance(found.pixels, np.memmap)
    assert not found.pixels.flags.writeable
    assert (found.pixels.shape, found.pixels.dtype) == ((4, 16, 16), np.uint8)
    assert (found.labels.shape, found.labels.dtype) == ((4, 3), np.float32)
    assert found.patients.tolist() == ["p1", "p1", "p2", "image:images/d.png"]
    assert found.views.tolist() == ["PA", "PA", "PA", ""]
    assert found.splits.tolist() == ["train", "train", "validation", "unlabelled"]


def test_rows_of_splits(found: RadiographSet) -> None:
    assert found.rows("train").tolist() == [0, 1]
    assert found.rows("unlabelled", "train").tolist() == [0, 1, 3]
    assert found.rows("holdout").tolist() == []
    assert found.rows("train").dtype == np.int64
    with pytest.raises(ValueError, match="unknown splits \\['val'\\]"):
        found.rows("val")


def test_a_patient_hash_names_a_set_of_patients(found: RadiographSet) -> None:
    assert found.patient_hash([0, 2]) == found.patient_hash([2, 1, 0])
    assert found.patient_hash([0]) != found.patient_hash([2])
    assert found.patient_hash(np.array([0, 2])) == hashlib.sha256(b"xrarchive.patients/1\np1\np2").hexdigest()


def test_no_set(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="No radiograph set") as caught:
        open_set(tmp_path)
    assert "xrarchive ingest" in caught.value.fix


def test_another_format(found: RadiographSet) -> None:
    (found.folder / "set.json").write_text(json.dumps({**found.meta, "schema": "xrarchive.set/9"}))
    with pytest.raises(InputDataError, match=r"format 'xrarchive\.set/9', expected 'xrarchive\.set/1'"):
        open_set(found.folder)


@pytest.mark.parametrize(
    ("text", "error", "expected"),
    [
        ("{", DamageError, "is damaged"),
        ("[]", InputDataError, "format None"),
        ('{"schema": "xrarchive.set/1"}', DamageError, "lacks files, findings"),
    ],
)
def test_a_damaged_set_json(found: RadiographSet, text: str, error: type[Exception], expected: str) -> None:
    (found.folder / "set.json").write_text(text)
    with pytest.raises(error, match=expected):
        open_set(found.folder)


@pytest.mark.parametrize("name", ["pixels-16.npy", "radiographs.parquet", "rejects.csv"])
def test_a_shortened_or_missing_file(found: RadiographSet, name: str) -> None:
    path = found.folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamageError, match=rf"{name} is \d+ bytes, expected|{name} is [\d,]+ bytes, expected"):
        open_set(found.folder)
    path.unlink()
    with pytest.raises(DamageError, match=rf"{name} is missing"):
        open_set(found.folder)


@pytest.mark.parametrize("name", ["pixels-16.npy", "radiographs.parquet", "rejects.csv"])
def test_one_flipped_bit_is_found(found: RadiographSet, name: str) -> None:
    found.check_files()
    data = bytearray((found.folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (found.folder / name).write_bytes(data)
    with pytest.raises(DamageError, match=rf"{name} is damaged"):
        open_set(found.folder).check_files()


def test_a_held_out_film_with_a_twin_among_the_seen_is_left_out(found: RadiographSet) -> None:
    pixels = np.array(found.pixels)
    pixels[2] = pixels[0]
    twins = RadiographSet(found.folder, found.sha256, found.meta)
    twins.__dict__["pixels"] = pixels
    assert found.unseen_rows("validation", seen=("train",)).tolist() == [2]
    assert twins.unseen_rows("validation", seen=("train",)).tolist() == []
    assert twins.unseen_rows("validation", seen=("unlabelled",)).tolist() == [2]
