import numpy as np
import pyarrow as pa
import pytest

from xrarchive.archive.schema import to_tables
from xrarchive.errors import DamageError
from xrarchive.pixels import encode_png
from xrarchive.records import SyntheticImage
from xrarchive.validation.columns import PROVENANCE_COLUMNS, needed_columns, to_images

FINDINGS = ("No Finding", "Edema", "Mass")


def rows(**changes):
    pixels = np.arange(3 * 16 * 16, dtype=np.uint8).reshape(3, 16, 16)
    columns = {
        "image": [{"bytes": encode_png(p), "path": "x.png"} for p in pixels],
        "image_id": ["a", "b", "c"],
        "findings": [[0], [1, 2], [2]],
        "label": [0, 1, 2],
        "soft_label": pa.array([0.5, 0.25, 0.125], pa.float32()),
        "judge_Edema": pa.array([0.25, 0.5, None], pa.float32()),
        "judge_Mass": pa.array([0.75, 1.0, 0.0], pa.float32()),
    }
    return pixels, pa.table(columns | changes)


def origins(**changes):
    columns = {
        "image_id": ["a", "b", "c"],
        "nuisances": pa.array([[1.0, -2.0], [0.5, 0.25], [3.0, 4.0]], pa.list_(pa.float32())),
        "start_nuisances": pa.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]], pa.list_(pa.float32())),
    }
    return pa.table(columns | changes)


NUISANCES = ("view", "sex")


def test_columns_become_arrays():
    pixels, table = rows()
    images = to_images(table, origins(), FINDINGS, NUISANCES)
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.asked, [[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(images.judge[:, 1:], np.float32([[0.25, 0.75], [0.5, 1], [np.nan, 0]]))
    assert np.isnan(images.judge[:, 0]).all()
    assert images.image_ids == ["a", "b", "c"]
    np.testing.assert_array_equal(images.labels, [0, 1, 2])
    np.testing.assert_array_equal(images.soft, np.float32([0.5, 0.25, 0.125]))
    np.testing.assert_array_equal(images.nuisances, np.float32([[1, -2], [0.5, 0.25], [3, 4]]))
    np.testing.assert_array_equal(images.start_nuisances, np.float32([[0, 0], [0, 0], [1, 1]]))


def test_only_needed_columns_are_named():
    available = ["image", "label", "findings", "image_id", "judge_Edema", "guide_Edema"]
    assert needed_columns(FINDINGS, available) == [
        "image", "image_id", "label", "findings", "soft_label", "guide_Edema", "judge_Edema",
    ]  # fmt: skip


def test_an_empty_table_gives_empty_arrays():
    _, table = rows()
    images = to_images(table.slice(0, 0), origins().slice(0, 0), FINDINGS, NUISANCES)
    assert images.asked.shape == (0, 3)
    assert images.nuisances.shape == (0, 2)


def test_damage_names_the_image():
    pixels, table = rows(findings=[[0], [3], [1]])
    with pytest.raises(DamageError, match="Image b has the classes"):
        to_images(table, origins(), FINDINGS, NUISANCES)
    with pytest.raises(DamageError, match="Image c has the label 3"):
        to_images(rows(label=[0, 1, 3])[1], origins(), FINDINGS, NUISANCES)
    broken = [{"bytes": encode_png(pixels[0])}, {"bytes": encode_png(pixels[1])[:40]}, {"bytes": b""}]
    with pytest.raises(DamageError, match="Image b cannot be decoded"):
        to_images(rows(image=broken)[1], origins(), FINDINGS, NUISANCES)
    sizes = [{"bytes": encode_png(pixels[0])}, {"bytes": encode_png(pixels[1, :8])}, {"bytes": encode_png(pixels[2])}]
    with pytest.raises(DamageError, match="Image b has the size"):
        to_images(rows(image=sizes)[1], origins(), FINDINGS, NUISANCES)


def test_provenance_of_other_images_is_damage():
    _, table = rows()
    with pytest.raises(DamageError, match="same order"):
        to_images(table, origins(image_id=["a", "c", "b"]), FINDINGS, NUISANCES)
    with pytest.raises(DamageError, match="Image a has 2 nuisances; the manifest names 1"):
        to_images(table, origins(), FINDINGS, NUISANCES[:1])
    without = origins(nuisances=[[]] * 3, start_nuisances=[[]] * 3)
    assert to_images(table, without, FINDINGS, ()).nuisances.shape == (3, 0)


def test_reads_what_the_archive_writes():
    pixels = np.arange(2 * 16 * 16, dtype=np.uint8).reshape(2, 16, 16)
    asked = [("Edema", "Mass"), ("No Finding",)]
    scores = dict.fromkeys(FINDINGS, 0.25)
    made = [
        SyntheticImage(
            image_id=f"i{n}",
            pixels=pixels[n],
            findings=asked[n],
            absent=(),
            guide=scores,
            judge=scores,
            soft_label=0.75,
            targets=(1.0,) * len(asked[n]),
            seed=0,
            draw=0,
            steps=5,
            travel_deg=1.0,
            nuisances=(1.5, -1.0),
            start_nuisances=(0.5, -0.5),
            latent=np.zeros(4, np.float32),
        )
        for n in (0, 1)
    ]
    tables = to_tables(made, FINDINGS)
    images = to_images(
        tables["data"].select(needed_columns(FINDINGS, tables["data"].column_names)),
        tables["provenance"].select(PROVENANCE_COLUMNS),
        FINDINGS,
        NUISANCES,
    )
    np.testing.assert_array_equal(images.labels, [1, 0])
    assert (images.soft == 0.75).all()
    np.testing.assert_array_equal(images.nuisances, [[1.5, -1.0]] * 2)
    np.testing.assert_array_equal(images.start_nuisances, [[0.5, -0.5]] * 2)
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.asked, [[0, 1, 1], [1, 0, 0]])
    assert (images.judge == 0.25).all()
