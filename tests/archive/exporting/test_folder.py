"""Image folders and CSV, read back by `datasets` and by the csv module."""

import csv
import gc

import numpy as np
import pytest
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from made_archive import FINDINGS

from xrarchive.archive.exporting import export_archive
from xrarchive.archive.exporting.folder import cell
from xrarchive.archive.reader import read_pixels, read_table


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_images_are_the_bytes_of_the_shards_by_label(archive, tmp_path):
    export_archive(archive, tmp_path / "out", to="folder")
    top, table = tmp_path / "out" / "train", read_table(archive)
    rows = read_csv(top / "metadata.csv")
    assert [(top / row["file_name"]).read_bytes() for row in rows] == [v["bytes"] for v in table["image"].to_pylist()]
    assert sorted(path.name for path in top.iterdir() if path.is_dir()) == ["Effusion", "Mass", "No_Finding"]
    assert rows[1]["file_name"].startswith("No_Finding/")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # `datasets` leaves its CSV open
@pytest.mark.parametrize("named", [True, False])
def test_datasets_joins_images_and_labels(archive, tmp_path, named):
    export_archive(archive, tmp_path / "out", to="folder")
    out = str(tmp_path / "out")
    loaded = load_dataset("imagefolder", data_dir=out) if named else load_dataset(out)
    assert set(loaded) == {"train"}
    rows, table = loaded["train"], read_table(archive)
    assert rows["image_id"][:] == table["image_id"].to_pylist()
    assert rows["label"][:] == [FINDINGS[label] for label in table["label"].to_pylist()]
    assert rows["Mass"][:] == [None if value is None else float(value) for value in table["Mass"].to_pylist()]
    np.testing.assert_array_equal(np.float32(rows["judge_Mass"][:]), table["judge_Mass"].to_numpy())
    np.testing.assert_array_equal([np.asarray(image) for image in rows["image"]], read_pixels(archive))
    gc.collect()


def test_csv_alone_holds_every_column_but_the_image(archive, tmp_path):
    export_archive(archive, tmp_path / "out", to="csv")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "train.csv"}
    rows, table = read_csv(tmp_path / "out" / "train.csv"), read_table(archive)
    assert list(rows[0]) == table.column_names[1:]
    assert rows[2]["findings"] == "Effusion|Mass"
    assert [row["Pleural_Thickening"] for row in rows[:3]] == ["", "0", ""]
    assert [row["Mass"] for row in rows[:3]] == ["1", "", "1"]
    assert [row["synthetic"] for row in rows] == ["1"] * 9
    assert np.float32(rows[0]["guide_Mass"]) == table["guide_Mass"][0].as_py()
    assert len(rows[0]["guide_Mass"]) < 13


@given(st.one_of(st.text(), st.lists(st.text()), st.sampled_from(["=1", "+1", "-1", "@x", "\tx", "\0x", "\rx"])))
def test_no_text_is_a_formula(value):
    assert not str(cell(value)).startswith(("=", "+", "-", "@", "\t", "\0", "\r"))


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (-1.5, -1.5), (True, 1), (["A", "B"], "A|B"), ("=1", "'=1")]
)
def test_cells(value, expected):
    assert cell(value) == expected
