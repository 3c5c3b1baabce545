import numpy as np
import pyarrow as pa
import pytest

from xrarchive.archive.schema import to_tables
from xrarchive.errors import DamageError
from xrarchive.pixels import encode_png
from xrarchive.records import SyntheticImage
from xrarchive.validation.columns import needed_columns, to_images

FINDINGS = ("No Finding", "Edema", "Mass")


def rows(**changes):
    pixels = np.arange(3 * 16 * 16, dtype=np.uint8).reshape(3, 16, 16)
    columns = {
        "image": [{"bytes": encode_png(p), "path": "x.png"} for p in pixels],
        "image_id": ["a", "b", "c"],
        "findings": [[0], [1, 2], [2]],
        "judge_Edema": pa.array([0.25, 0.5, None], pa.float32()),
        "judge_Mass": pa.array([0.75, 1.0, 0.0], pa.float32()),
    }
    return pixels, pa.table(columns | changes)


def test_columns_become_arrays():
    pixels, table = rows()
    images = to_images(table, FINDINGS)
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.asked, [[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(images.judge[:, 1:], np.float32([[0.25, 0.75], [0.5, 1], [np.nan, 0]]))
    assert np.isnan(images.judge[:, 0]).all()
    assert images.image_ids == ["a", "b", "c"]


def test_only_needed_columns_are_named():
    available = ["image", "label", "findings", "image_id", "judge_Edema", "guide_Edema"]
    assert needed_columns(FINDINGS, available) == ["image", "image_id", "findings", "judge_Edema"]


def test_an_empty_table_gives_empty_arrays():
    _, table = rows()
    assert to_images(table.slice(0, 0), FINDINGS).asked.shape == (0, 3)


def test_damage_names_the_image():
    pixels, table = rows(findings=[[0], [3], [1]])
    with pytest.raises(DamageError, match="Image b has the classes"):
        to_images(table, FINDINGS)
    broken = [{"bytes": encode_png(pixels[0])}, {"bytes": encode_png(pixels[1])[:40]}, {"bytes": b""}]
    with pytest.raises(DamageError, match="Image b cannot be decoded"):
        to_images(rows(image=broken)[1], FINDINGS)
    sizes = [{"bytes": encode_png(pixels[0])}, {"bytes": encode_png(pixels[1, :8])}, {"bytes": encode_png(pixels[2])}]
    with pytest.raises(DamageError, match="Image b has the size"):
        to_images(rows(image=sizes)[1], FINDINGS)


def test_reads_what_the_archive_writes():
    pixels = np.arange(2 * 16 * 16, dtype=np.uint8).reshape(2, 16, 16)
    asked = [("Edema", "Mass"), ("No Finding",)]
    scores = dict.fromkeys(FINDINGS, 0.25)
    made = [
        SyntheticImage(f"i{n}", pixels[n], asked[n], scores, scores, 0, 0, 5, 1.0, np.zeros(4, np.float32))
        for n in (0, 1)
    ]
    table = to_tables(made, FINDINGS)["data"]
    images = to_images(table.select(needed_columns(FINDINGS, table.column_names)), FINDINGS)
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.asked, [[0, 1, 1], [1, 0, 0]])
    assert (images.judge == 0.25).all()
