"""PadChest: PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv(.gz), 16-bit PNGs in folders or zips by `ImageDir`.

Labels are a Python list as text, with blank and untrimmed words; a film with an unreadable or no list is unlabelled.
`exclude` is the set's own word for what is no radiograph of a chest; `unchanged` and `suboptimal study` are no
findings. Where nothing but such words stands, nobody told what is there. 226 films are `normal` beside other words;
there `No Finding` is uncertain.

Ids exceed 2^63 and are text. The age is that at the examination, to the year.
"""

from __future__ import annotations

import ast
from functools import lru_cache

from xrarchive.radiographs.csv_table import inside, require_distinct, require_unmangled
from xrarchive.radiographs.layouts.names import PADCHEST, PAIRS
from xrarchive.radiographs.layouts.rows import PRESENT, UNCERTAIN, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Finder, Tree

NAME = "padchest"
_REQUIRED = ("ImageID", "PatientID", "Labels", "Projection")
_OPTIONAL = ("ImageDir", "StudyDate_DICOM", "StudyID", "PatientBirth", "PatientSex_DICOM")
_NORMAL, _EXCLUDE = "normal", "exclude"
# The longest list of the published table has under 500 characters.
_LONGEST_LIST = 10_000


def recognise(tree: Tree) -> str | None:
    """The name of PadChest's table."""
    return next((name for name, columns in tree.tables.items() if set(_REQUIRED) <= set(columns)), None)


def read(tree: Tree, _: Choices) -> Reading:
    """Every line of the table; what is not in a film's list is absent."""
    name = str(recognise(tree))
    table = tree.table(name, _REQUIRED, _OPTIONAL)
    find = tree.find_images()
    films = [_film(cells, table.where(line), find) for line, cells in table.records]
    require_distinct([film.image for film in films], table)
    ignored = tuple(column for column in table.columns if column and column not in (*_REQUIRED, *_OPTIONAL))
    unlabelled = sum(film.answers is None for film in films)
    notes = (f"{unlabelled:,} films say nothing of findings; they are unlabelled.",) if unlabelled else ()
    return Reading(tuple(films), {name: table.sha256}, ignored, (NAME,), notes)


def _film(cells: dict[str, str], where: str, find: Finder) -> Film:
    folder = cells.get("ImageDir", "")
    name = inside(f"{folder}/{cells['ImageID']}" if folder else cells["ImageID"], where=where)
    image, place, found = find(name)
    words = parse_list(cells["Labels"])
    return Film(
        image=image,
        place=place,
        patient=require_unmangled(cells["PatientID"], where=where),
        answers=None if words is None else to_answers(words),
        complete=True,
        study=require_unmangled(cells.get("StudyID", ""), where=where),
        view=cells["Projection"],
        age=_age(cells.get("StudyDate_DICOM", ""), cells.get("PatientBirth", "")),
        sex=cells.get("PatientSex_DICOM", ""),
        source=NAME,
        found=found,
        refused=("excluded-by-source", _EXCLUDE) if words and _EXCLUDE in words else None,
    )


@lru_cache(maxsize=65536)
def parse_list(text: str) -> tuple[str, ...] | None:
    """The words of a Python list of words, trimmed, each once; None if it is none."""
    if len(text) > _LONGEST_LIST:
        return None
    try:
        words = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return tuple(dict.fromkeys(word.strip() for word in words))


@lru_cache(maxsize=65536)
def to_answers(words: tuple[str, ...]) -> Answers | None:
    """What the words say of findings, None where they say nothing."""
    said = [word for word in words if word not in PADCHEST.remarks]
    if not said:
        return None
    found = dict.fromkeys((part for word in said for part in PAIRS.get(word, (word,))), PRESENT)
    if _NORMAL in found and len(found) > 1:
        found[_NORMAL] = UNCERTAIN
    return tuple(found.items())


def _age(study_date: str, birth: str) -> str:
    year = birth.removesuffix(".0")
    if not (study_date[:4].isdigit() and year.isdigit()):
        return ""
    return str(max(0, int(study_date[:4]) - int(year)))
