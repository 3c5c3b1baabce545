from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny_source import MakeSource, four_rows, gradient, many_rows, write_labels, write_nih

from xrarchive import files
from xrarchive.errors import (
    DamageError,
    InputDataError,
    LockedError,
    PlanChangedError,
    SettingsError,
    StorageError,
)
from xrarchive.pixels import fit_square
from xrarchive.radiographs import ingest, open_set
from xrarchive.records import Status

PLAIN = ("image", "labels", "patient_id")


def contents(folder: Path) -> dict[str, bytes]:
    """Name and bytes of every file of a set; the folder `partial` of an unfinished one is not looked into."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".lock"))
    return {path.name: path.read_bytes() for path in files}


def test_what_comes_in_comes_out(make_source: MakeSource, tmp_path: Path) -> None:
    report = ingest(make_source(), tmp_path / "set", size_px=16, terms=["mednist"])
    found = open_set(tmp_path / "set")
    assert (report.images, report.patients, report.layout) == (4, 3, "labels.csv")
    assert report.splits == {"train": 2, "validation": 1, "unlabelled": 1}
    assert report.findings["Effusion"] == 2
    assert report.findings["No Finding"] == 1
    assert report.ignored_columns == ["note"]
    assert report.terms == ["mednist"]
    assert report.sha256 == found.sha256 == files.sha256_file(tmp_path / "set" / "set.json")
    for index in range(4):
        np.testing.assert_array_equal(found.pixels[index], fit_square(gradient(index), 16, "crop"))
    effusion, none = found.vocabulary.index("Effusion"), found.vocabulary.index("No Finding")
    np.testing.assert_array_equal(found.labels[:, effusion], [0, 1, 1, np.nan])
    np.testing.assert_array_equal(found.labels[:, none], [1, 0, 0, np.nan])
    assert np.isnan(found.labels[3]).all()


def test_the_report_is_json(make_source: MakeSource, tmp_path: Path) -> None:
    report = ingest(make_source(), tmp_path / "set", size_px=16)
    assert json.loads(json.dumps(dataclasses.asdict(report)))["rejected"] == []


def test_the_table_is_typed(make_source: MakeSource, tmp_path: Path) -> None:
    ingest(make_source(), tmp_path / "set", size_px=16, findings=["Effusion", "Mass"])
    table = pq.read_table(tmp_path / "set" / "radiographs.parquet")
    assert table.column_names[-3:] == ["No Finding", "Effusion", "Mass"]
    assert str(table.schema.field("Mass").type) == "int8"
    assert table["Mass"].to_pylist() == [0, 1, 0, None]
    assert table["age"].to_pylist() == [57, 57, 57, None]
    assert table["width"].to_pylist() == [40] * 4
    assert all(len(value) == 64 for value in table["sha256"].to_pylist())


def test_nih_brings_its_terms(tmp_path: Path) -> None:
    report = ingest(write_nih(tmp_path / "nih"), tmp_path / "set", size_px=16)
    assert (report.layout, report.images, report.patients) == ("nih-chestxray14", 6, 4)
    assert report.terms == ["nih-chestxray14"]
    assert (open_set(tmp_path / "set").views == ["PA", "AP", "PA", "PA", "PA", "AP"]).all()


def test_same_source_same_bytes_wherever_it_stands(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source(many_rows(300), PLAIN)
    (source / "images" / "0007.png").write_bytes(b"no image")
    shutil.copytree(source, tmp_path / "copy")
    ingest(source, tmp_path / "one", size_px=16)
    ingest(tmp_path / "copy", tmp_path / "two", size_px=16)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_order_is_kept_over_threads_and_batches(make_source: MakeSource, tmp_path: Path) -> None:
    seen: list[Status] = []
    ingest(make_source(many_rows(300), PLAIN), tmp_path / "set", size_px=32, on_status=seen.append)
    found = open_set(tmp_path / "set")
    for index in (0, 127, 128, 299):
        np.testing.assert_array_equal(found.pixels[index], fit_square(gradient(index), 32, "crop"))
    assert [status.done for status in seen] == [128, 256, 300]
    assert seen[-1].total == 300


def test_every_smaller_size_is_the_area_average_of_the_next_larger(make_source: MakeSource, tmp_path: Path) -> None:
    source, noise = make_source(many_rows(140), PLAIN), np.random.default_rng(0)
    for path in (source / "images").iterdir():
        Image.fromarray(noise.integers(0, 256, (32, 32), np.uint8)).save(path)
    ingest(source, tmp_path / "set", size_px=32)
    found = open_set(tmp_path / "set")
    assert found.sizes_px == (32, 16, 8, 4)
    assert sorted(found.meta["files"]) == sorted(set(contents(found.folder)) - {"set.json"})
    for larger, smaller in itertools.pairwise(found.sizes_px):
        squares = np.load(found.folder / f"pixels-{larger}.npy").reshape(140, smaller, 2, smaller, 2)
        mean = squares.astype(np.float64).mean(axis=(2, 4))
        assert (mean % 1 == 0.5).any()
        level = np.load(found.folder / f"pixels-{smaller}.npy")
        assert (level.dtype, level.shape) == (np.uint8, (140, smaller, smaller))
        np.testing.assert_array_equal(level, np.floor(mean + 0.5))


def test_white_stays_white_and_black_black(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source(many_rows(2), PLAIN)
    for index, grey in enumerate((0, 255)):
        Image.new("L", (40, 40), grey).save(source / "images" / f"{index:04}.png")
    ingest(source, tmp_path / "set", size_px=16)
    assert open_set(tmp_path / "set").read([0, 1], 4).reshape(2, -1).tolist() == [[0] * 16, [255] * 16]


def test_running_again_does_nothing_and_reports_the_same(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    first = ingest(source, tmp_path / "set", size_px=16)
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir() if path.suffix}
    assert ingest(source, tmp_path / "set", size_px=16, max_rejects=0.5) == first
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir() if path.suffix} == times


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size_px": 32}, "made with size_px 16, now asked for: 32"),
        ({"fit": "pad"}, "made with fit crop, now asked for: pad"),
        ({"terms": ["mednist"]}, "made with terms none, now asked for: mednist"),
        ({"findings": ["Mass", "Effusion"]}, "now asked for: No Finding, Mass, Effusion"),
    ],
)
def test_another_setting_never_changes_a_finished_set(
    make_source: MakeSource, tmp_path: Path, settings: dict[str, Any], expected: str
) -> None:
    source = make_source()
    ingest(source, tmp_path / "set", size_px=16)
    before = contents(tmp_path / "set")
    with pytest.raises(PlanChangedError, match=expected):
        ingest(source, tmp_path / "set", **{"size_px": 16, **settings})
    assert contents(tmp_path / "set") == before


def test_other_labels_or_images_never_change_a_finished_set(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    ingest(source, tmp_path / "set", size_px=16)
    gradient(77).save(source / "images" / "a.png")
    with pytest.raises(PlanChangedError, match="image files that have changed since"):
        ingest(source, tmp_path / "set", size_px=16)
    write_labels(source, four_rows()[:3])
    with pytest.raises(PlanChangedError, match=r"other content of labels\.csv"):
        ingest(source, tmp_path / "set", size_px=16)


def test_a_damaged_set_is_found_when_run_again(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    ingest(source, tmp_path / "set", size_px=16)
    path = tmp_path / "set" / "pixels-16.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamageError, match=r"pixels-16\.npy is damaged: expected sha256"):
        ingest(source, tmp_path / "set", size_px=16)


def test_a_few_unreadable_files_are_listed_and_left_out(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source(many_rows(200), PLAIN)
    (source / "images" / "0003.png").unlink()
    broken = source / "images" / "0150.png"
    broken.write_bytes(broken.read_bytes()[:50])
    report = ingest(source, tmp_path / "set", size_px=16)
    expected = [
        {"image": "images/0003.png", "code": "missing", "reason": "file not found"},
        {"image": "images/0150.png", "code": "truncated", "reason": "image file is truncated"},
    ]
    assert report.rejected == expected
    with (tmp_path / "set" / "rejects.csv").open(newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert [row.pop("sha256") for row in listed] == ["", files.sha256_file(broken)]
    assert listed == expected
    found = open_set(tmp_path / "set")
    assert len(found) == len(found.pixels) == len(found.labels) == report.images == 198
    np.testing.assert_array_equal(found.pixels[3], fit_square(gradient(4), 16, "crop"))
    np.testing.assert_array_equal(found.pixels[197], fit_square(gradient(199), 16, "crop"))
    assert ingest(source, tmp_path / "set", size_px=16) == report


def test_too_many_unreadable_files_stop_the_run_and_leave_no_set(make_source: MakeSource, tmp_path: Path) -> None:
    source, out = make_source(many_rows(200), PLAIN), tmp_path / "set"
    for index in range(3):
        (source / "images" / f"{index:04}.png").write_bytes(b"" if index else b"GIF89a")
    with pytest.raises(InputDataError) as caught:
        ingest(source, out, size_px=16)
    assert caught.value.code == 3
    assert "3 of 200 radiographs cannot be read (1.5%, allowed 1.0%)" in caught.value.message
    assert "2 x empty file; 1 x not one of PNG, JPEG, TIFF, DICOM" in caught.value.message
    assert str(out / "rejects.csv") in caught.value.fix
    assert list(contents(out)) == ["rejects.csv"]
    assert contents(out)["rejects.csv"].count(b"\n") == 4
    with pytest.raises(InputDataError, match="No radiograph set"):
        open_set(out)
    assert ingest(source, out, size_px=16, max_rejects=0.015).images == 197


def test_nothing_readable_is_no_set_whatever_is_allowed(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    shutil.rmtree(source / "images")
    with pytest.raises(InputDataError, match="4 of 4 radiographs cannot be read"):
        ingest(source, tmp_path / "set", size_px=16, max_rejects=1)


def test_bad_input_makes_no_folder(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    write_labels(source, [{"image": "images/a.png", "labels": "Massive", "split": "train"}])
    with pytest.raises(InputDataError, match=r"labels\.csv:2: the finding 'Massive'"):
        ingest(source, tmp_path / "set", size_px=16)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size_px": 100}, "cannot be stored at 100 px"),
        ({"fit": "stretch"}, "Unknown fit 'stretch'"),
        ({"terms": ["nih"]}, "Unknown terms 'nih'"),
        ({"findings": ["split"]}, "cannot be called 'split'"),
    ],
)
def test_settings_we_do_not_know(
    make_source: MakeSource, tmp_path: Path, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SettingsError, match=expected):
        ingest(make_source(), tmp_path / "set", **settings)


def test_a_share_is_a_share(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"max_rejects must be in 0\.\.1"):
        ingest(tmp_path, tmp_path / "set", max_rejects=5)


def test_one_file_in_two_splits_is_reported(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    shutil.copy(source / "images" / "a.png", source / "images" / "c.png")
    assert ingest(source, tmp_path / "set", size_px=16).shared == [["images/a.png", "images/c.png"]]


def test_enlarged_radiographs_are_counted(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    assert ingest(source, tmp_path / "small", size_px=32).enlarged == 0
    assert ingest(source, tmp_path / "large", size_px=64).enlarged == 4


def test_a_folder_in_use_is_left_alone(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    with files.locked(tmp_path / "set"), pytest.raises(LockedError, match="in use by process"):
        ingest(source, tmp_path / "set", size_px=16)


def test_a_file_in_the_way_is_said(make_source: MakeSource, tmp_path: Path) -> None:
    (tmp_path / "set").touch()
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        ingest(make_source(), tmp_path / "set", size_px=16)


def test_a_full_disk_leaves_no_set_and_the_next_run_finishes_it(make_source: MakeSource, tmp_path: Path) -> None:
    source, out = make_source(many_rows(200), PLAIN), tmp_path / "set"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StorageError) as caught:
            ingest(source, out, size_px=16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == 4
    assert caught.value.path == str(out / "partial" / "pixels-16.npy")
    assert contents(out) == {}
    assert ingest(source, out, size_px=16).images == 200


@pytest.mark.parametrize("stop_after", range(6))
def test_an_ingest_stopped_between_files_is_not_finished_and_can_be_run_again(
    make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    source, out = make_source(), tmp_path / "set"
    whole = ingest(source, tmp_path / "whole", size_px=16)
    left = [stop_after]
    replace = Path.replace

    def stop(path: Path, target: Path) -> Path:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest(source, out, size_px=16)
    assert not (out / "set.json").exists()
    assert not list(out.glob(".tmp-*"))
    assert ingest(source, out, size_px=16).sha256 == whole.sha256
    assert contents(out) == contents(tmp_path / "whole")


KILLED = """
import sys, time
from pathlib import Path
from xrarchive.radiographs import ingest
def wait(status):
    print("decoded", flush=True)
    time.sleep(60)
ingest(Path(sys.argv[1]), Path(sys.argv[2]), size_px=16, on_status=wait)
"""


@pytest.mark.slow
def test_kill_9_leaves_nothing_that_looks_finished(make_source: MakeSource, tmp_path: Path) -> None:
    source, out = make_source(), tmp_path / "set"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, source, out], stdout=subprocess.PIPE, env={**os.environ}
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.kill()
    assert (out / "partial" / "journal.jsonl").exists()
    with pytest.raises(InputDataError, match="No radiograph set"):
        open_set(out)
    ingest(source, out, size_px=16)
    assert not (out / "partial").exists()
    pixels = ["pixels-16.npy", "pixels-4.npy", "pixels-8.npy"]
    assert sorted(contents(out)) == [*pixels, "radiographs.parquet", "rejects.csv", "set.json"]


def test_neither_ingest_nor_reading_needs_torch() -> None:
    code = "import sys, xrarchive.radiographs, xrarchive.terms; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
