"""CheXpert (v1.0, small or full, in whatever folders it was unpacked) and the labels it shares with MIMIC-CXR.

train.csv, valid.csv and test.csv with the columns Path, Sex, Age, Frontal/Lateral, AP/PA and 14 labels: 1, 0, -1 for
uncertain, blank for not mentioned, which is not absent. `No Finding` is 1 or blank. By its definition (Irvin et al.,
AAAI 2019: no finding is positive or uncertain, devices apart) it also says something where it is blank, and only so
much is read from it: where it is 1, findings not mentioned are absent; where a finding is present, it is 0.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath

from xrarchive.errors import InputDataError
from xrarchive.findings import NO_FINDING
from xrarchive.radiographs.csv_table import inside, require_distinct
from xrarchive.radiographs.layouts.names import CHEXPERT
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, UNCERTAIN, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Finder, Tree

NAME = "chexpert"
FINDINGS = tuple(CHEXPERT.table)
_DEVICES = "Support Devices"
_REQUIRED = ("Path",)
_OPTIONAL = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
# .../patient00001/study1/view1_frontal.jpg: what stands before differs between the editions and their copies.
_PATH_PARTS = 3
# Radiologists labelled valid.csv and test.csv; train.csv is split 80/10/10 by patient.
_SPLITS = {"train": "", "valid": "validation", "test": "test"}
_CELLS = {"1.0": PRESENT, "1": PRESENT, "0.0": ABSENT, "0": ABSENT, "-1.0": UNCERTAIN, "-1": UNCERTAIN}


def recognise(tree: Tree) -> str | None:
    """The names of CheXpert's tables, with ", " between; of several for one split the plain one."""
    chosen: dict[str, str] = {}
    for name, columns in sorted(tree.tables.items(), key=lambda item: len(item[0])):
        if set(columns) >= {"Path", "Pleural Effusion", "Enlarged Cardiomediastinum"}:
            chosen.setdefault(_stem(name), name)
    return ", ".join(sorted(chosen.values())) or None


def read(tree: Tree, _: Choices) -> Reading:
    """Every line of every table. Lines are never merged: each film keeps its own labels."""
    find = tree.find_images(_PATH_PARTS)
    films: list[Film] = []
    tables = {}
    ignored: dict[str, None] = {}
    for name in str(recognise(tree)).split(", "):
        table = tree.table(name, (*_REQUIRED, *_named(tree.tables[name])), _OPTIONAL)
        part = [_film(cells, table.where(line), _SPLITS.get(_stem(name), ""), find) for line, cells in table.records]
        require_distinct([film.image for film in part], table)
        films += part
        tables[name] = table.sha256
        ignored |= dict.fromkeys(name for name in table.columns if name not in (*_REQUIRED, *_OPTIONAL, *FINDINGS))
    return Reading(tuple(films), tables, tuple(ignored), (NAME,))


def _named(columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in columns if name in FINDINGS)


def _stem(table: str) -> str:
    name = PurePosixPath(table).name.lower()
    return next((word for word in _SPLITS if name.startswith(word)), name)


def _film(cells: dict[str, str], where: str, split: str, find: Finder) -> Film:
    path = inside(cells["Path"], where=where)
    parts = path.split("/")[-_PATH_PARTS:]
    if len(parts) != _PATH_PARTS:
        raise InputDataError(
            f"{where}: {path!r} is no path of CheXpert, such as train/patient00001/study1/view1_frontal.jpg.",
            fix="Take the table as Stanford published it.",
        )
    image, place, found = find(path)
    lateral = "lateral" in (cells.get("Frontal/Lateral", "").lower(), path.rpartition("_")[2].partition(".")[0])
    return Film(
        image=image,
        place=place,
        patient=parts[0],
        split=split,
        answers=parse_answers(cells, where),
        study="/".join(parts[:2]),
        view="LATERAL" if lateral else cells.get("AP/PA", ""),
        # All patients are adults; three have the age 0.
        age=cells.get("Age", "").removesuffix(".0").lstrip("0"),
        sex=cells.get("Sex", ""),
        source=NAME,
        found=found,
    )


def parse_answers(cells: dict[str, str], where: str) -> Answers:
    """Labels of one line of a table in CheXpert's manner, with what `No Finding` implies (see above).

    Raises:
        InputDataError: For a cell that is none of 1, 0, -1 and blank.
    """
    given = tuple((name, cells[name]) for name in FINDINGS if cells.get(name))
    if strange := [pair for pair in given if pair[1] not in _CELLS]:
        raise InputDataError(
            f"{where}: {strange[0][0]} is {strange[0][1]!r}, expected 1, 0, -1 or blank.",
            fix="Take the table as it was published.",
        )
    return _imply(given)


@lru_cache(maxsize=65536)
def _imply(given: tuple[tuple[str, str], ...]) -> Answers:
    answers = {name: _CELLS[cell] for name, cell in given}
    findings = [name for name in FINDINGS if name not in (NO_FINDING, _DEVICES)]
    if answers.get(NO_FINDING) == PRESENT:
        answers = {**dict.fromkeys(findings, ABSENT), **answers}
    elif any(answers.get(name) == PRESENT for name in findings):
        answers.setdefault(NO_FINDING, ABSENT)
    return tuple(answers.items())
