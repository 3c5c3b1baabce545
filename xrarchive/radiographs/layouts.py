"""Folders of radiographs as they come: which layout is it, and what does its table say of each image?

In: a folder in one of two layouts. Out: a `Listing` of one `Row` per radiograph, checked, with nothing decoded yet.

*labels.csv*: columns `image` (path inside the folder) and `labels` (findings joined by '|'), and if present
`patient_id`, `split`, `view`, `age`, `sex`, `source`.

*NIH ChestX-ray14* as published: `Data_Entry_2017.csv` or `Data_Entry_2017_v2020.csv`, images in `images/`,
`images_001/images/` and so on, and the official `train_val_list.txt` and `test_list.txt` if present.

Symbolic links are followed, since large sources are often linked into place; a path in a table must not leave the
folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_bytes
from xrarchive.radiographs.csv_table import (
    LabelTable,
    decode_text,
    inside,
    parse_labels,
    read_table,
    reading,
    require_distinct,
)
from xrarchive.radiographs.places import Place
from xrarchive.radiographs.split import OWN_PATIENT, assign_split, carve_validation, parse_split, require_whole_patients

LABELS_NAME = "labels.csv"
_REQUIRED = ("image", "labels")
_OPTIONAL = ("patient_id", "split", "view", "age", "sex", "source")

# The older edition is taken only where the corrected one of 2020 is absent.
_NIH_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017*.csv")
_NIH_TRAIN_LIST = "train_val_list.txt"
_NIH_TEST_LIST = "test_list.txt"
_NIH_IMAGE_FOLDERS = ("images", "images_*/images", "images_*")
_NIH_REQUIRED = ("Image Index", "Finding Labels", "Patient ID")
_NIH_OPTIONAL = ("Patient Age", "Patient Gender", "Patient Sex", "View Position")

# The first edition of NIH ChestX-ray14 has ages up to 414; nobody photographed there was older than this.
_MAX_AGE_YEARS = 110
_AGE = re.compile(r"(\d{1,3})(?:\.0)?\s*([YMWDymwd]?)")


@dataclass(frozen=True, slots=True)
class Row:
    """What a source says of one radiograph.

    Attributes:
        image: Its name in the set: the path inside the source folder, with '/'.
        place: Where to read it. It need not exist.
        patient: Never blank: a radiograph without patient id is a patient of its own, "image:<name>".
        split: One of `SPLITS`.
        labels: Findings present, or None where nobody looked (all unknown).
        view: "PA", "AP", another upper-case word of the source, or "" for unknown.
        age: In years, None if unknown or impossible.
        sex: "M", "F" or "" for unknown.
        source: Where it comes from, in the source's words, or "".
    """

    image: str
    place: Place
    patient: str
    split: str
    labels: tuple[str, ...] | None
    view: str
    age: int | None
    sex: str
    source: str


@dataclass(frozen=True)
class Listing:
    """All radiographs of a source.

    Attributes:
        layout: "labels.csv" or "nih-chestxray14".
        rows: One per radiograph, in the table's order.
        ignored_columns: Columns of the table that were not read.
        tables: sha256 of every table read, by file name.
        terms: Terms that go with the layout.
    """

    layout: str
    rows: tuple[Row, ...]
    ignored_columns: tuple[str, ...]
    tables: dict[str, str]
    terms: tuple[str, ...]


def read_listing(source: Path, vocabulary: Sequence[str]) -> Listing:
    """Recognise the layout of `source` and read its table.

    Raises:
        InputDataError: If the folder is missing, empty or of no known layout; if a table lacks a column, lists an image
            twice, leaves the folder or names an undeclared finding or split; if a patient is in two splits.
    """
    with reading(source):
        found = "a folder" if source.is_dir() else "a file" if source.exists() else "nothing"
    if found != "a folder":
        raise InputDataError(
            f"No folder of radiographs at {source}: found {found}.",
            fix=f"Give the folder that holds {LABELS_NAME}, or NIH ChestX-ray14 as downloaded.",
            path=source,
        )
    with reading(source):
        listing = _recognise(source)(vocabulary)
    require_whole_patients((row.patient, row.split, row.image) for row in listing.rows)
    return listing


def _recognise(source: Path) -> Callable[[Sequence[str]], Listing]:
    """The reader for the layout of `source`."""
    if (source / LABELS_NAME).is_file():
        return lambda vocabulary: _read_labels_layout(source, vocabulary)
    for pattern in _NIH_TABLES:
        if tables := sorted(source.glob(pattern)):
            return lambda vocabulary: _read_nih_layout(source, tables[-1], vocabulary)
    names = sorted(entry.name for entry in source.iterdir())
    found = f"it holds {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" if names else "it is empty"
    raise InputDataError(
        f"{source} is no known layout of radiographs: expected {LABELS_NAME} or Data_Entry_2017*.csv, {found}.",
        fix=f"Write {LABELS_NAME} with the columns image,labels beside the images, or give NIH ChestX-ray14's folder.",
        path=source,
    )


def _read_labels_layout(source: Path, vocabulary: Sequence[str]) -> Listing:
    table = read_table(source / LABELS_NAME, _REQUIRED, exact=True)
    split_known = "split" in table.columns
    rows = []
    for line, cells in table.records:
        where = table.where(line)
        image = inside(cells["image"], where=where)
        patient = cells.get("patient_id", "") or f"{OWN_PATIENT}{image}"
        rows.append(
            Row(
                image=image,
                place=Place(source / image),
                patient=patient,
                split=parse_split(cells["split"], where=where) if split_known else assign_split(patient),
                labels=parse_labels(cells["labels"], vocabulary, where=where),
                view=cells.get("view", "").upper(),
                age=_parse_age(cells.get("age", "")),
                sex=_parse_sex(cells.get("sex", "")),
                source=cells.get("source", ""),
            )
        )
    ignored = tuple(name for name in table.columns if name not in (*_REQUIRED, *_OPTIONAL))
    return Listing(LABELS_NAME, _distinct(rows, table), ignored, {LABELS_NAME: table.sha256}, ())


def _read_nih_layout(source: Path, path: Path, vocabulary: Sequence[str]) -> Listing:
    # The header holds unquoted commas and the first edition ends every line with one: only the columns read must fit.
    table = read_table(path, _NIH_REQUIRED, exact=False)
    splits, lists = _read_nih_lists(source)
    files = _find_nih_images(source)
    rows = []
    for line, cells in table.records:
        where = table.where(line)
        name = inside(cells["Image Index"], where=where)
        patient = cells["Patient ID"] or f"{OWN_PATIENT}{name}"
        image = files.get(name, name)
        rows.append(
            Row(
                image=image,
                place=Place(source / image),
                patient=patient,
                split=_nih_split(name, patient, splits, where=where),
                labels=parse_labels(cells["Finding Labels"], vocabulary, where=where),
                view=cells.get("View Position", "").upper(),
                age=_parse_age(cells.get("Patient Age", "")),
                sex=_parse_sex(cells.get("Patient Gender") or cells.get("Patient Sex") or ""),
                source="nih-chestxray14",
            )
        )
    ignored = tuple(name for name in table.columns if name and name not in (*_NIH_REQUIRED, *_NIH_OPTIONAL))
    tables = {path.name: table.sha256, **lists}
    return Listing("nih-chestxray14", _distinct(rows, table), ignored, tables, ("nih-chestxray14",))


def _read_nih_lists(source: Path) -> tuple[dict[str, str] | None, dict[str, str]]:
    """Official half ("train_val" or "test") by image name, None where NIH's lists are absent; and their sha256."""
    paths = {"train_val": source / _NIH_TRAIN_LIST, "test": source / _NIH_TEST_LIST}
    absent = [path.name for path in paths.values() if not path.is_file()]
    if len(absent) == 2:
        return None, {}
    if absent:
        raise InputDataError(
            f"{source} holds one of NIH's two official lists; {absent[0]} is missing.",
            fix=f"Add {absent[0]}, or remove the other to have patients split 80/10/10.",
            path=source / absent[0],
        )
    halves: dict[str, str] = {}
    for half, path in paths.items():
        names = set(decode_text(path, path.read_bytes()).split())
        if both := names & halves.keys():
            raise InputDataError(
                f"{min(both)!r} stands in both {_NIH_TRAIN_LIST} and {_NIH_TEST_LIST}.",
                fix="Download the two lists again.",
                path=path,
            )
        halves.update(dict.fromkeys(names, half))
    return halves, {path.name: sha256_bytes(path.read_bytes()) for path in paths.values()}


def _nih_split(name: str, patient: str, halves: dict[str, str] | None, *, where: str) -> str:
    """Official test stays test; validation is carved out of train_val by patient, since NIH names none."""
    if halves is None:
        return assign_split(patient)
    if name not in halves:
        raise InputDataError(
            f"{where}: {name!r} stands in neither {_NIH_TRAIN_LIST} nor {_NIH_TEST_LIST}.",
            fix="Take table and lists from the same download, or remove both lists to split 80/10/10.",
        )
    return "test" if halves[name] == "test" else carve_validation(patient)


def _find_nih_images(source: Path) -> dict[str, str]:
    """Path inside `source` by file name, over all image folders of the download and of its Kaggle copy."""
    found: dict[str, str] = {}
    for pattern in _NIH_IMAGE_FOLDERS:
        for folder in sorted(source.glob(pattern)):
            for path in folder.glob("*.*"):
                found.setdefault(path.name, path.relative_to(source).as_posix())
    return found


def _distinct(rows: Sequence[Row], table: LabelTable) -> tuple[Row, ...]:
    require_distinct([row.image for row in rows], table)
    return tuple(rows)


def _parse_age(text: str) -> int | None:
    """Years from "57", "57.0", "058Y" or DICOM's months, weeks and days; None for anything else or above 110."""
    match = _AGE.fullmatch(text)
    if not match:
        return None
    years = int(match[1]) // {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}[match[2].upper()]
    return years if years <= _MAX_AGE_YEARS else None


def _parse_sex(text: str) -> str:
    word = text.upper()
    return word[0] if word in {"M", "F", "MALE", "FEMALE"} else ""
