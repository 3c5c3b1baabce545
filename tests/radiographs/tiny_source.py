"""Small synthetic sources of radiographs: grey gradients, no patient anywhere."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLUMNS = ("image", "labels", "patient_id", "split", "view", "age", "sex", "source", "note")
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
MakeSource = Callable[..., Path]


def gradient(index: int, width: int = 40, height: int = 32) -> Image.Image:
    """A grey image no other index has."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(((x * 3 + y * 2 + index * 7) % 256).astype(np.uint8))


def four_rows() -> list[dict[str, str]]:
    """Two patients with three radiographs, and one of nobody known that is unlabelled."""
    known = {"view": "PA", "age": "57", "sex": "M", "source": "here", "note": "x"}
    return [
        {"image": "images/a.png", "labels": "No Finding", "patient_id": "p1", "split": "train", **known},
        {"image": "images/b.png", "labels": "Effusion|Mass", "patient_id": "p1", "split": "train", **known},
        {"image": "images/c.png", "labels": "Effusion", "patient_id": "p2", "split": "val", **known},
        {"image": "images/d.png", "labels": "", "patient_id": "", "split": "unlabelled"},
    ]


def many_rows(count: int) -> list[dict[str, str]]:
    """`count` radiographs of half as many patients, to be split by us (leave the column out)."""
    return [
        {"image": f"images/{index:04}.png", "labels": "Effusion" if index % 3 else "", "patient_id": f"p{index // 2}"}
        for index in range(count)
    ]


def write_source(source: Path, rows: Sequence[dict[str, str]], columns: Sequence[str] = COLUMNS) -> Path:
    """A folder in the labels.csv layout, every listed image included."""
    (source / "images").mkdir(parents=True)
    for index, row in enumerate(rows):
        gradient(index).save(source / row["image"])
    write_labels(source, rows, columns)
    return source


def write_labels(source: Path, rows: Sequence[dict[str, str]], columns: Sequence[str] = COLUMNS) -> None:
    with (source / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_nih(source: Path, *, edition: str = "Data_Entry_2017_v2020.csv", folder: str = "images") -> Path:
    """Six films of four patients as NIH ChestX-ray14 publishes them, in either edition of its table."""
    first = edition == "Data_Entry_2017.csv"
    end = "," if first else ""
    age = "058Y" if first else "58"
    lines = [
        f"00000001_000.png,Cardiomegaly,000,1,{age},M,PA,2682,2749,0.143,0.143",
        "00000001_001.png,Cardiomegaly|Emphysema,001,1,414,M,AP,2894,2729,0.143,0.143",
        "00000002_000.png,No Finding,000,2,81,F,PA,2500,2048,0.171,0.171",
        "00000003_000.png,Hernia,000,3,81,F,PA,2582,2991,0.143,0.143",
        "00000003_001.png,Pleural_Thickening,001,3,74,F,PA,2500,2048,0.168,0.168",
        "00000004_000.png,No Finding,000,4,32,M,AP,2500,2048,0.168,0.168",
    ]
    source.mkdir(parents=True)
    (source / edition).write_text("".join(f"{line}{end}\n" for line in (NIH_HEADER, *lines)))
    for index, line in enumerate(lines):
        place = source / folder.format(index % 2 + 1)
        place.mkdir(parents=True, exist_ok=True)
        gradient(index).save(place / line.split(",")[0])
    return source
