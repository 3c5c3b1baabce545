"""The three real sets, against the counts written in their README. Skipped where they are absent."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from xrarchive.radiographs import IngestReport, RadiographSet, ingest, open_set, patient_folds

DATA = Path(os.environ.get("XRARCHIVE_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
BOTH = ("nih-chestxray14", "mednist")


def make(name: str, folder: Path, size_px: int) -> tuple[IngestReport, RadiographSet]:
    if not (DATA / name / "labels.csv").is_file():
        pytest.skip(f"no real radiographs at {DATA / name}; set XRARCHIVE_DATA")
    report = ingest(DATA / name, folder, size_px=size_px, terms=BOTH)
    return report, open_set(folder)


def test_nih64(tmp_path: Path) -> None:
    report, found = make("nih64", tmp_path, 64)
    assert (report.images, report.patients, report.rejected, report.enlarged) == (2972, 1745, [], 0)
    assert report.splits == {"train": 2175, "validation": 346, "test": 451}
    assert report.findings == {
        "No Finding": 1248, "Atelectasis": 343, "Cardiomegaly": 132, "Effusion": 438, "Infiltration": 758,
        "Mass": 108, "Nodule": 147, "Pneumonia": 521, "Pneumothorax": 122, "Consolidation": 179, "Edema": 166,
        "Emphysema": 71, "Fibrosis": 58, "Pleural_Thickening": 105, "Hernia": 15,
    }  # fmt: skip
    assert Counter(found.views.tolist()) == {"PA": 1585, "AP": 1387}
    effusion = found.labels[:, found.vocabulary.index("Effusion")] == 1
    test = found.splits == "test"
    assert (effusion & test).sum() == 80
    assert len(set(found.patients[effusion & test])) == 46
    assert report.ignored_columns == ["follow_up"]
    folds = patient_folds(found.patients, 5, 0)
    assert np.bincount(folds).min() > 500


@pytest.mark.slow
def test_mednist(tmp_path: Path) -> None:
    report, found = make("mednist", tmp_path, 64)
    assert (report.images, report.rejected) == (10_000, [])
    assert report.splits == {"train": 818, "validation": 157, "test": 181, "unlabelled": 6844, "holdout": 2000}
    assert (~np.isnan(found.labels[:, 0])).sum() == 1146
    assert sum(patient.startswith("image:") for patient in found.patients) == 8854
    # One film came twice into the source, once as `unlabelled` and once as `holdout`.
    assert report.shared == [["images/000229.jpeg", "images/001462.jpeg"]]


@pytest.mark.slow
@pytest.mark.parametrize(("size_px", "enlarged"), [(64, 0), (128, 0), (256, 0), (512, 1000)])
def test_nih256(tmp_path: Path, size_px: int, enlarged: int) -> None:
    report, found = make("nih256", tmp_path, size_px)
    assert (report.images, report.patients, report.enlarged) == (1000, 682, enlarged)
    assert report.findings["No Finding"] == report.findings["Pneumonia"] == 500
    assert found.pixels.shape == (1000, size_px, size_px)
    assert 90 < found.pixels.mean() < 170
    assert abs(found.read(range(1000), 4).mean() - found.pixels.mean()) < 1
