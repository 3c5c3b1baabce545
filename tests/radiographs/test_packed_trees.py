"""Layouts in zip, tar and npz, end to end: streamed, never unpacked."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import numpy as np
import published_trees as trees
import pytest
from published_trees import labels, make, pixels_of, png, put, write_tar, write_zip
from tiny_source import gradient, write_labels

from xrarchive.findings import NIH_FINDINGS
from xrarchive.radiographs.layouts import read_listing
from xrarchive.radiographs.layouts.names import PADCHEST


def test_nih_in_tar_parts(tmp_path: Path) -> None:
    rows = trees.write_nih(tmp_path / "nih", packed=True)
    found = make(tmp_path / "nih")
    assert found.meta["layout"] == "nih-chestxray14"
    assert found.terms == ("nih-chestxray14",)
    for name in found.vocabulary:
        expected = {Path(row["Image Index"]).stem: float(name in row["Finding Labels"].split("|")) for row in rows}
        assert labels(found, name) == expected
    assert set(found.patients) == {row["Patient ID"] for row in rows}
    assert found.ages.tolist() == [float(row["Patient Age"]) for row in rows]
    image = Path(rows[25]["Image Index"]).stem
    np.testing.assert_allclose(pixels_of(found, image).mean(), np.asarray(gradient(25))[:, 4:36].mean(), atol=2)


def test_padchest_in_folder_and_zip(tmp_path: Path) -> None:
    rows = trees.write_padchest(tmp_path / "padchest")
    found = make(tmp_path / "padchest")
    frontal = [row for row in rows if row["Projection"] in ("PA", "AP", "AP_horizontal")]
    words = {Path(row["ImageID"]).stem: {w.strip() for w in ast.literal_eval(row["Labels"])} for row in frontal}
    taken = {name: said for name, said in words.items() if "exclude" not in said}
    assert set(found.patients) == {row["PatientID"] for row in frontal if "exclude" not in row["Labels"]}
    for name in found.vocabulary[1:]:
        ours = {word for word, mapped in PADCHEST.table.items() if mapped == name}
        known = {image: float(bool(said & ours)) for image, said in taken.items() if said - PADCHEST.remarks}
        assert {image: label for image, label in labels(found, name).items() if not np.isnan(label)} == known
    index = next(i for i, row in enumerate(rows) if Path(row["ImageID"]).stem in taken and i % 2)
    zipped = pixels_of(found, Path(rows[index]["ImageID"]).stem)
    np.testing.assert_allclose(zipped.mean(), np.asarray(gradient(index))[:, 4:36].mean(), atol=2)


@pytest.mark.parametrize("px", [28, 64])
@pytest.mark.parametrize("as_file", [True, False])
def test_chestmnist_in_every_size(tmp_path: Path, px: int, as_file: bool) -> None:
    expected = trees.write_chestmnist(tmp_path / "mnist", px)
    source = tmp_path / "mnist"
    found = make(next(source.iterdir()) if as_file else source)
    assert found.terms == ("nih-chestxray14", "chestmnist")
    np.testing.assert_array_equal(found.labels[:, 1:], expected)
    np.testing.assert_array_equal(found.labels[:, 0], (expected.sum(1) == 0).astype(float))
    assert found.meta["splits"] == {"train": 30, "validation": 8, "test": 10}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_whole_source_in_one_archive_gives_the_same_labels(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "plain"
    (folder / "images").mkdir(parents=True)
    rows = [{"image": f"images/{i}.png", "labels": NIH_FINDINGS[i], "patient_id": f"p{i}"} for i in range(6)]
    for index in range(6):
        put(folder / "images" / f"{index}.png", png(index))
    write_labels(folder, rows, ("image", "labels", "patient_id"))
    members = [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in sorted(folder.rglob("*.*"))]
    archive = tmp_path / f"films.{kind}"
    (write_zip if kind == "zip" else write_tar)(archive, members)
    plain, packed = read_listing(folder), read_listing(archive)
    assert [(row.image, row.labels, row.split) for row in packed.rows] == [
        (row.image, row.labels, row.split) for row in plain.rows
    ]
    assert len(make(archive)) == 6
    (write_zip if kind == "zip" else write_tar)(archive, [(f"films-1.0/{name}", data) for name, data in members])
    assert [row.image for row in read_listing(archive).rows] == [row.image for row in plain.rows]


def test_laterals_are_listed_among_the_rejects(tmp_path: Path) -> None:
    trees.write_chexpert(tmp_path / "chexpert", batches=False)
    found = make(tmp_path / "chexpert")
    with (found.folder / "rejects.csv").open(newline="") as stream:
        assert sum("lateral" in ",".join(row.values()).lower() for row in csv.DictReader(stream)) == 5
