"""Every public layout end to end: a tree with real label lines goes in unnamed, a set with these labels comes out."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import published_trees as trees
import pytest
from published_trees import dicom, labels, make, pixels_of, png, put, write_csv
from tiny_source import gradient

from xrarchive.errors import PlanChangedError
from xrarchive.radiographs import Choices, ingest
from xrarchive.radiographs.layouts import read_listing


@pytest.mark.parametrize("first", [False, True])
def test_nih(tmp_path: Path, first: bool) -> None:
    rows = trees.write_nih(tmp_path / "nih", packed=False, first_edition=first)
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


@pytest.mark.parametrize("batches", [False, True])
def test_chexpert(tmp_path: Path, batches: bool) -> None:
    rows = trees.write_chexpert(tmp_path / "CheXpert-v1.0-small", batches=batches)
    found = make(tmp_path / "CheXpert-v1.0-small", choices=Choices(uncertain=("ignore", "Edema=ones")))
    frontal = [row for row in rows if row["Frontal/Lateral"] == "Frontal"]
    assert len(found) == len(frontal) == 20
    again = ingest(
        tmp_path / "CheXpert-v1.0-small", tmp_path / "set", size_px=16, choices=Choices(uncertain=("Edema=ones",))
    )
    assert again.left_out == found.meta["left_out"] == {"view-lateral": 5}
    assert again.unmapped["Support Devices"] == sum(row["Support Devices"] in ("1.0", "-1.0") for row in frontal)
    with pytest.raises(PlanChangedError, match="policies"):
        ingest(tmp_path / "CheXpert-v1.0-small", tmp_path / "set", size_px=16)
    assert found.meta["schema"] == "xrarchive.set/2"
    assert found.meta["settings"]["policies"] == {"uncertain": "ignore", "uncertain Edema": "ones"}
    stored = found.table.to_pylist()
    for row, record in zip(stored, frontal, strict=True):
        cell = record["Pleural Effusion"]
        if cell:
            assert row["Effusion"] == int(float(cell))
        if record["Edema"] == "-1.0":
            assert row["Edema"] == 1
        assert row["patient_id"] in record["Path"]
        assert row["study_id"] in record["Path"]
    effusion = [row["Effusion"] for row in stored]
    assert -1 in effusion
    column = found.vocabulary.index("Effusion")
    assert np.isnan(found.labels[:, column]).tolist() == [value in (-1, None) for value in effusion]
    assert found.uncertain[:, column].tolist() == [value == -1 for value in effusion]


def test_mimic_joins_labels_on_subject_and_study(tmp_path: Path) -> None:
    films, studies = trees.write_mimic(tmp_path / "mimic")
    found = make(tmp_path / "mimic")
    assert found.meta["layout"] == "mimic-cxr-jpg"
    assert found.terms == ("physionet-credentialed",)
    assert len(found) == 13
    by_study = {row["study_id"]: row for row in studies}
    for row in found.table.to_pylist():
        given = by_study.get(row["study_id"])
        if given is None:
            assert {row[name] for name in found.vocabulary} == {None}
        elif given["Pleural Effusion"]:
            assert row["Effusion"] == int(float(given["Pleural Effusion"]))
    assert found.meta["splits"] == {"train": 9, "validation": 2, "test": 2}
    assert len(films) == 25


@pytest.mark.parametrize("kaggle", [True, False])
@pytest.mark.parametrize("policy", ["any", "majority", "all"])
def test_vindr(tmp_path: Path, kaggle: bool, policy: str) -> None:
    rows = trees.write_vindr(tmp_path / "vindr", kaggle=kaggle)
    found = make(tmp_path / "vindr", choices=Choices(readers=policy))
    assert found.meta["settings"]["policies"] == {"readers": policy}
    votes: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["class_name"] == "Cardiomegaly":
            votes[row["image_id"]].add(row["rad_id"])
    needed = {"any": 1, "majority": 2, "all": 3}[policy]
    expected = {row["image_id"]: float(len(votes[row["image_id"]]) >= needed) for row in rows}
    assert labels(found, "Cardiomegaly") == expected
    assert ("Pneumonia" in found.vocabulary) is not kaggle


def test_rsna_in_dicom(tmp_path: Path) -> None:
    rows = trees.write_rsna(tmp_path / "rsna")
    found = make(tmp_path / "rsna")
    expected = {row["patientId"]: 0.0 for row in rows} | {r["patientId"]: 1.0 for r in rows if r["Target"] == "1"}
    lateral = list(expected)[3]
    assert labels(found, "Pneumonia") == {name: label for name, label in expected.items() if name != lateral}
    assert found.meta["left_out"] == {"view-lateral": 1}
    assert np.isnan(found.ages).all()
    assert set(found.views) == {"PA"}
    assert set(np.unique(found.labels[:, 0])) == {0.0, 1.0}


def test_siim_in_dicom(tmp_path: Path) -> None:
    rows = trees.write_siim(tmp_path / "siim")
    found = make(tmp_path / "siim")
    masks = {row["ImageId"] for row in rows if row[" EncodedPixels"] != "-1"}
    for row in found.table.to_pylist():
        name = row["image"].rpartition("/")[2].removesuffix(".dcm")
        assert (row["Pneumothorax"], row["No Finding"]) == ((1, 0) if name in masks else (0, None))


def test_openi(tmp_path: Path) -> None:
    reports = trees.write_openi(tmp_path / "openi")
    found = make(tmp_path / "openi")
    for name, report in reports.items():
        text = report.decode()
        mine = [row for row in found.table.to_pylist() if row["study_id"] == f"CXR{Path(name).stem}"]
        assert len(mine) == text.count("<parentImage ")
        for row in mine:
            assert row["Cardiomegaly"] in (int("<major>Cardiomegaly" in text), None)


def test_a_folder_of_dicom_files(tmp_path: Path) -> None:
    source = tmp_path / "export"
    for index, (patient, view, modality) in enumerate(
        [("A", "PA", "DX"), ("A", "LL", "DX"), ("B", "AP", "CR"), ("B", "PA", "CT"), ("C", "", "DX")]
    ):
        data = dicom(index, PatientID=patient, ViewPosition=view, Modality=modality, StudyInstanceUID=f"1.2.{index}")
        put(source / f"PAT{index // 2}" / f"IM{index:06}", data)
    put(source / "DICOMDIR", b"\0" * 128 + b"DICM")
    put(source / "README", b"no film")
    listing = read_listing(source)
    assert (listing.layout, listing.private) == ("dicom", True)
    assert [(row.patient, row.view) for row in listing.rows] == [("A", "PA"), ("B", "AP"), ("C", "")]
    assert {one.code for one in listing.left_out} == {"view-lateral", "other-modality"}
    assert {label for row in listing.rows for label in row.labels} == {None}
    assert len(make(source)) == 3


def test_folders_called_as_findings(tmp_path: Path) -> None:
    source = tmp_path / "kaggle"
    for index, name in enumerate(["train/NORMAL", "train/PNEUMONIA", "test/NORMAL", "test/PNEUMONIA", "val/PNEUMONIA"]):
        put(source / name / f"{index}.png", png(index))
    found = make(source, findings=("Pneumonia",))
    assert found.meta["layout"] == "image-folder"
    assert found.meta["splits"] == {"train": 2, "validation": 1, "test": 2}
    expected = {"train": [[1, 0], [0, 1]], "validation": [[0, 1]], "test": [[1, 0], [0, 1]]}
    for split, rows in expected.items():
        np.testing.assert_array_equal(found.labels[found.splits == split], rows)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_other_tables(tmp_path: Path, name: str) -> None:
    source = tmp_path / "own"
    rows = [{"file_name": f"{i}.png", "subject_id": f"p{i // 2}", "Effusion": cell, "Mass": "0"}
            for i, cell in enumerate(["1", "0", "-1", ""])]  # fmt: skip
    if name.endswith("csv"):
        write_csv(source / name, rows)
    else:
        lines = ['{"file_name": "%(file_name)s", "subject_id": "%(subject_id)s", "Effusion": %(E)s, "Mass": 0}\n']
        put(source / name, "".join(lines[0] % {**row, "E": row["Effusion"] or "null"} for row in rows).encode())
    for index in range(4):
        put(source / f"{index}.png", png(index))
    found = make(source)
    assert found.table["Effusion"].to_pylist() == [1, 0, -1, None]
    assert found.table["Mass"].to_pylist() == [0, 0, 0, 0]
    assert found.table["No Finding"].to_pylist() == [0, None, None, None]
    assert found.patients.tolist() == ["p0", "p0", "p1", "p1"]


def test_tables_beside_the_right_one(tmp_path: Path) -> None:
    """CheXpert ships other labelers' tables, SIIM's copies samples."""
    rows = trees.write_chexpert(tmp_path / "chexpert", batches=False)
    write_csv(tmp_path / "chexpert" / "train_cheXbert.csv", rows)
    plain = [{name: cell for name, cell in row.items() if name not in ("Frontal/Lateral", "AP/PA")} for row in rows[:3]]
    renamed = [{**row, "Path": row["Path"].replace("/train/patient", "/test/patient9")} for row in plain]
    write_csv(tmp_path / "chexpert" / "test_labels.csv", renamed)
    listing = read_listing(tmp_path / "chexpert")
    assert listing.why == "test_labels.csv, train.csv"
    assert [row.split for row in listing.rows][:3] == ["test"] * 3
    assert len(listing.rows) == 3 + 20
    siim = trees.write_siim(tmp_path / "siim")
    write_csv(tmp_path / "siim" / "train-rle-sample.csv", siim[:2])
    write_csv(tmp_path / "siim" / "sample_submission.csv", siim[:3])
    assert read_listing(tmp_path / "siim").why == "train-rle.csv"


def test_folders_called_as_findings_of_ones_own(tmp_path: Path) -> None:
    for index, name in enumerate(["fracture", "Healthy", "other"]):
        put(tmp_path / "x" / name / f"{index}.png", png(index))
    assert read_listing(tmp_path / "x").layout == "image-folder"
    put(tmp_path / "y" / "fracture" / "0.png", png(0))
    listing = read_listing(tmp_path / "y", ("Fracture",), Choices(layout="image-folder"))
    assert [row.labels for row in listing.rows] == [(0, 1)]
    assert "--layout image-folder" in read_listing(tmp_path / "y").notes[0]


def test_odd_names_and_links_in_circles(tmp_path: Path) -> None:
    source = tmp_path / "films"
    for index, name in enumerate([b"\xff.png", b"a\nb.png", "\u202egnp.png".encode(), b"-rf.png", b"%00.png"]):
        put(source / os.fsdecode(name), png(index))
    (source / "again").symlink_to(source)
    found = make(source)
    assert found.table["image"].to_pylist()[-1] == "\\udcff.png"
    assert len(found) == 5
