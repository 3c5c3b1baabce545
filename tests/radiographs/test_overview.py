"""What a set holds, counted apart; films that are there twice, found through compression and brightness."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_source import MakeSource, many_rows

from xrarchive import pipeline
from xrarchive.radiographs import ingest, open_set
from xrarchive.radiographs.likeness import find_alike
from xrarchive.radiographs.overview import SHEET_COLUMNS, contact_sheet, describe_set
from xrarchive.reporting.radiographs import render_set

DATA = Path("../shared/data/nih64")


def film(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)


@pytest.fixture
def found(make_source: MakeSource, tmp_path: Path) -> Path:
    """Eight films: 1 is 0 again, 5 is 4 as a poor JPEG, 7 is 6 brighter; patients p0 p0 p1 p1 p2 p3 p4 p5."""
    lines = ["image,labels,patient_id,split,view,age"]
    source = make_source(many_rows(8), ("image", "labels"))
    for index, patient in enumerate(("p0", "p0", "p1", "p1", "p2", "p3", "p4", "")):
        split = "train" if index < 5 or index == 6 else "test"
        label = ("Effusion", "Effusion|Mass", "No Finding", "")[index % 4]
        lines.append(f"images/{index:04}.png,{label},{patient},{split},{'PA' if index % 2 else 'AP'},{30 + 10 * index}")
        film(index).save(source / "images" / f"{index:04}.png")
    shutil.copy(source / "images" / "0000.png", source / "images" / "0001.png")
    stream = io.BytesIO()
    film(4).save(stream, "JPEG", quality=60)
    with Image.open(stream) as poor:
        poor.save(source / "images" / "0005.png")
    bright = np.clip(np.asarray(film(6)).astype(int) + 12, 0, 255).astype(np.uint8)
    Image.fromarray(bright).save(source / "images" / "0007.png")
    (source / "labels.csv").write_text("\n".join(lines) + "\n")
    ingest(source, tmp_path / "set", size_px=64, findings=["Effusion", "Mass"])
    return tmp_path / "set"


def test_films_that_are_there_twice_are_found(found: Path) -> None:
    pairs = find_alike(open_set(found))
    assert [(pair.first, pair.second, pair.equal) for pair in pairs] == [(0, 1, True), (4, 5, False), (6, 7, False)]
    assert pairs[0].bits == 0


def test_the_overview_counts_what_is_there(found: Path) -> None:
    told = describe_set(open_set(found))
    json.dumps(told)
    assert (told["images"], told["patients"], told["without_patient_id"]) == (8, 6, 1)
    effusion = {"present": 4, "absent": 2, "uncertain": 0, "unknown": 2, "prevalence": 4 / 6}
    assert told["findings"]["Effusion"] == effusion | {"by_split": {"train": 3, "test": 1}}
    names = list(told["findings"])
    mass, effusion_at = names.index("Mass"), names.index("Effusion")
    assert told["co_occurrence"][mass][effusion_at] == 1
    assert told["co_occurrence"][effusion_at][mass] == 0.5
    assert told["views"] == {"AP": 4, "PA": 4}
    assert told["ages"] == {str(age): 1 for age in range(30, 110, 10)}
    assert told["patients_in_two_splits"] == 0
    twice = told["duplicates"]
    assert {name: twice[name] for name in twice if name != "pairs"} == {
        "equal": 1, "near": 2, "of_two_patients": 1, "in_two_splits": 2,
    }  # fmt: skip
    assert twice["pairs"][0]["splits"] == ["train", "test"]
    assert twice["pairs"][0]["same_patient"] is False
    assert twice["pairs"][-1] == {
        "images": ["images/0000.png", "images/0001.png"], "equal": True, "bits": 0, "same_patient": True,
        "splits": ["train", "train"],
    }  # fmt: skip


def test_the_sheet_shows_films_of_each_finding(found: Path) -> None:
    radiographs = open_set(found)
    tiles, rows = contact_sheet(radiographs)
    assert rows == ["No Finding", "Effusion", "Mass"]
    assert tiles.shape == (3 * SHEET_COLUMNS, 64, 64)
    known = {radiographs.pixels[index].tobytes() for index in np.flatnonzero(radiographs.labels[:, 1] == 1)}
    row = tiles[SHEET_COLUMNS : 2 * SHEET_COLUMNS]
    assert {tile.tobytes() for tile in row[:4]} == known
    assert not row[4:].any()


def test_the_page_says_what_to_look_at_and_shows_no_film(found: Path, tmp_path: Path) -> None:
    told = pipeline.show_radiographs(found, html=tmp_path / "a.html", sheet=tmp_path / "a.png")
    page = (tmp_path / "a.html").read_text()
    assert page == render_set(told, title="Radiograph set set")
    assert "2 pairs of one film stand in two splits" in page
    assert "Look at these before you train" in page
    assert "<img" not in page
    assert "<script src" not in page
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width > SHEET_COLUMNS * 64


def test_a_set_of_nothing_special_has_nothing_to_look_at(found: Path) -> None:
    told = describe_set(open_set(found))
    told |= {"without_patient_id": 0, "lettered": [], "findings": {}, "co_occurrence": []}
    told["duplicates"] = {"equal": 0, "near": 0, "of_two_patients": 0, "in_two_splits": 0, "pairs": []}
    assert "Nothing in the set speaks against" in render_set(told, title="x")


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the radiographs in ../shared/data")
def test_the_real_set_is_as_its_readme_says(tmp_path: Path) -> None:
    ingest(DATA, tmp_path / "set", size_px=64, terms=["nih-chestxray14", "mednist"])
    told = describe_set(open_set(tmp_path / "set"))
    assert (told["images"], told["patients"], told["splits"]) == (
        2972, 1745, {"train": 2175, "validation": 346, "test": 451},
    )  # fmt: skip
    assert told["findings"]["Effusion"]["present"] == 438
    assert told["views"] == {"AP": 1387, "PA": 1585}
    assert told["duplicates"]["pairs"][0]["images"] == ["images/00002658_001.jpg", "images/00002658_002.jpg"]
