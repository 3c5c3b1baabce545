from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_source import MakeSource

from xrarchive.errors import DamageError, InputDataError
from xrarchive.radiographs import RadiographSet, ingest, open_set
from xrarchive.radiographs.table import pyramid_px


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


@pytest.mark.parametrize("name", ["pixels-16.npy", "pixels-8.npy", "radiographs.parquet", "rejects.csv"])
def test_a_shortened_or_missing_file(found: RadiographSet, name: str) -> None:
    path = found.folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamageError, match=rf"{name} is \d+ bytes, expected|{name} is [\d,]+ bytes, expected"):
        open_set(found.folder)
    path.unlink()
    with pytest.raises(DamageError, match=rf"{name} is missing"):
        open_set(found.folder)


@pytest.mark.parametrize("name", ["pixels-16.npy", "pixels-8.npy", "radiographs.parquet", "rejects.csv"])
def test_one_flipped_bit_is_found(found: RadiographSet, name: str) -> None:
    found.check_files()
    data = bytearray((found.folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (found.folder / name).write_bytes(data)
    with pytest.raises(DamageError, match=rf"{name} is damaged"):
        open_set(found.folder).check_files()


def test_a_held_out_film_with_a_twin_among_the_seen_is_left_out(found: RadiographSet, tmp_path: Path) -> None:
    pixels = np.array(found.pixels)
    pixels[2] = pixels[0]
    twins = RadiographSet(shutil.copytree(found.folder, tmp_path / "twins"), found.sha256, found.meta)
    np.save(twins.folder / "pixels-16.npy", pixels)
    assert found.unseen_rows("validation", seen=("train",)).tolist() == [2]
    assert twins.unseen_rows("validation", seen=("train",)).tolist() == []
    assert twins.unseen_rows("validation", seen=("unlabelled",)).tolist() == [2]


@pytest.mark.parametrize(
    ("size_px", "expected"),
    [
        (1024, (1024, 512, 256, 128, 64, 32, 16, 8, 4)),
        (16, (16, 8, 4)),
        (4, (4,)),
        (2, (2,)),
        (96, (96,)),
        (100, (100,)),
    ],
)
def test_powers_of_two_are_stored_at_every_size(size_px: int, expected: tuple[int, ...]) -> None:
    assert pyramid_px(size_px) == expected


@pytest.mark.parametrize("px", [16, 8, 4])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 0], [2, 2, 1, 2], [], np.array([1], np.uint8)])
def test_reading_rows_at_a_size(found: RadiographSet, px: int, rows: list[int]) -> None:
    whole = np.load(found.folder / f"pixels-{px}.npy")
    pixels = found.read(rows, px)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (len(rows), px, px))
    np.testing.assert_array_equal(pixels, whole[np.array(rows, np.int64)])
    assert pixels.flags.writeable


def test_reading_all_rows_at_full_size_gives_the_pixels(found: RadiographSet) -> None:
    np.testing.assert_array_equal(found.read(range(4), 16), found.pixels)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([0, 4], r"must be in 0\.\.3, got 0\.\.4"),
        ([-1], r"must be in 0\.\.3, got -1\.\.-1"),
        ([[0, 1]], r"must be indices \[n\], got int64 \[1, 2\]"),
        ([True, False, True, False], r"must be indices \[n\], got bool \[4\]"),
        ([0.5], r"must be indices \[n\], got float64"),
    ],
)
def test_rows_that_no_set_has(found: RadiographSet, rows: list[int], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        found.read(rows, 8)


@pytest.mark.parametrize(("px", "size"), [(32, 32), (12, 16), (2, 16), (0, 16)])
def test_a_size_that_is_not_stored_is_refused(found: RadiographSet, px: int, size: int) -> None:
    with pytest.raises(InputDataError, match=rf"holds no pixels of {px} px, only 16, 8, 4\.") as caught:
        found.read([0], px)
    assert f"xrarchive ingest SRC --out NEW --size {size}`" in caught.value.fix


def test_a_file_shortened_since_the_set_was_opened(found: RadiographSet) -> None:
    path = found.folder / "pixels-8.npy"
    path.write_bytes(path.read_bytes()[:-10])
    assert found.read([2], 8).shape == (1, 8, 8)
    with pytest.raises(DamageError, match=r"pixels-8\.npy ends within radiograph 3: expected 64 bytes, found 54"):
        found.read([0, 3], 8)


def test_a_set_made_before_smaller_sizes_were_stored(found: RadiographSet) -> None:
    for name in ("pixels-8.npy", "pixels-4.npy"):
        (found.folder / name).unlink()
        del found.meta["files"][name]
    (found.folder / "set.json").write_text(json.dumps(found.meta))
    old = open_set(found.folder)
    old.check_files()
    assert old.sizes_px == (16,)
    np.testing.assert_array_equal(old.read([3, 1], 16), old.pixels[[3, 1]])
    with pytest.raises(InputDataError, match="holds no pixels of 8 px, only 16") as caught:
        old.read([0], 8)
    assert "Ingest again into another folder" in caught.value.fix


EPOCH = """
import sys
from pathlib import Path
import numpy as np
from xrarchive.radiographs import RadiographSet

def resident_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000

folder, images = Path(sys.argv[1]), int(sys.argv[2])
files = {"pixels-1024.npy": {"bytes": 128 + images * 1024**2}}
found = RadiographSet(folder, "", {"images": images, "settings": {"size_px": 1024}, "files": files})
order = np.random.default_rng(0).permutation(images)
start = peak = resident_mb()
for batch in np.array_split(order, images // 6):
    pixels = found.read(batch, 1024)
    peak = max(peak, resident_mb())
print(peak - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of resident memory")
@pytest.mark.parametrize("images", [30, 600])
def test_an_epoch_at_1024_px_leaves_memory_flat(tmp_path: Path, images: int) -> None:
    with (tmp_path / "pixels-1024.npy").open("wb") as stream:
        stream.truncate(128 + images * 1024**2)
    command = [sys.executable, "-c", EPOCH, str(tmp_path), str(images)]
    grown_mb = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown_mb < 30
