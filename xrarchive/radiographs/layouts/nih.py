"""NIH ChestX-ray14 as published, both editions of its table.

Data_Entry_2017.csv or Data_Entry_2017_v2020.csv; images in `images/`, in `images_001/images/` and so on, or in
images_001.tar.gz and so on; the official train_val_list.txt and test_list.txt if there. BBox_List_2017.csv is compared
with the labels, boxes are not kept.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_bytes
from xrarchive.findings import NIH_VOCABULARY
from xrarchive.radiographs.csv_table import LabelTable, decode_text, inside, parse_labels, require_distinct
from xrarchive.radiographs.layouts.names import NIH
from xrarchive.radiographs.layouts.rows import PRESENT, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree
from xrarchive.radiographs.split import OWN_PATIENT, assign_split, carve_validation

NAME = "nih-chestxray14"
_REQUIRED = ("Image Index", "Finding Labels", "Patient ID")
_OPTIONAL = ("Patient Age", "Patient Gender", "Patient Sex", "View Position")
# The older edition is taken only where the corrected one of 2020 is absent.
_TABLES = ("Data_Entry_2017_v2020.csv*", "Data_Entry_2017*.csv*", "Data_Entry*.csv*")
_TRAIN_LIST, _TEST_LIST = "train_val_list.txt", "test_list.txt"
_BOXES = "BBox_List_2017.csv"


def recognise(tree: Tree) -> str | None:
    """The name of NIH's table, or a table with its columns."""
    for pattern in _TABLES:
        if tables := [name for name in tree.matching(pattern) if "/" not in name]:
            return tables[-1]
    return next((name for name, columns in tree.tables.items() if set(_REQUIRED) <= set(columns)), None)


def read(tree: Tree, _: Choices) -> Reading:
    """Every line of the table, labels complete: NIH's text miner looked for all fourteen findings."""
    name = str(recognise(tree))
    # The header holds unquoted commas and the first edition ends every line with one: only the columns read must fit.
    table = tree.table(name, _REQUIRED, _OPTIONAL)
    halves, lists = _read_lists(tree)
    find = tree.find_images()
    films = []
    for line, cells in table.records:
        where = table.where(line)
        index = inside(cells["Image Index"], where=where)
        image, place, found = find(index)
        films.append(
            Film(
                image=image,
                place=place,
                patient=cells["Patient ID"],
                split=_split(index, cells["Patient ID"] or f"{OWN_PATIENT}{index}", halves, where=where),
                answers=_answers(cells["Finding Labels"], where=where),
                complete=True,
                view=cells.get("View Position", ""),
                age=cells.get("Patient Age", ""),
                sex=cells.get("Patient Gender") or cells.get("Patient Sex") or "",
                source=NAME,
                found=found,
            )
        )
    require_distinct([film.image for film in films], table)
    return Reading(
        films=tuple(films),
        tables={PurePosixPath(name).name: table.sha256, **lists},
        ignored_columns=tuple(name for name in table.columns if name and name not in (*_REQUIRED, *_OPTIONAL)),
        terms=(NAME,),
        notes=tuple(_compare_boxes(tree, table)),
    )


_WORDS = tuple(dict.fromkeys((*NIH_VOCABULARY, *NIH.table)))


def _answers(text: str, *, where: str) -> Answers | None:
    try:
        return _parse(text)
    except InputDataError:
        parse_labels(text, _WORDS, where=where, fix="Take the table as NIH published it.")
        raise


@lru_cache(maxsize=4096)
def _parse(text: str) -> Answers | None:
    names = parse_labels(text, _WORDS, where="")
    return None if names is None else tuple((name, PRESENT) for name in names)


def _read_lists(tree: Tree) -> tuple[dict[str, str] | None, dict[str, str]]:
    """Official half ("train_val" or "test") by image name, None where NIH's lists are absent; and their sha256."""
    absent = [name for name in (_TRAIN_LIST, _TEST_LIST) if name not in tree.files]
    if len(absent) == 2:
        return None, {}
    if absent:
        raise InputDataError(
            f"{tree.root} holds one of NIH's two official lists; {absent[0]} is missing.",
            fix=f"Add {absent[0]}, or remove the other to have patients split 80/10/10.",
            path=tree.root / absent[0],
        )
    halves: dict[str, str] = {}
    for half, name in (("train_val", _TRAIN_LIST), ("test", _TEST_LIST)):
        names = set(decode_text(tree.root / name, tree.read(name)).split())
        if both := names & halves.keys():
            raise InputDataError(
                f"{min(both)!r} stands in both {_TRAIN_LIST} and {_TEST_LIST}.",
                fix="Download the two lists again.",
                path=tree.root / name,
            )
        halves.update(dict.fromkeys(names, half))
    return halves, {name: sha256_bytes(tree.read(name)) for name in (_TRAIN_LIST, _TEST_LIST)}


def _split(name: str, patient: str, halves: dict[str, str] | None, *, where: str) -> str:
    """Official test stays test; validation is carved out of train_val by patient, since NIH names none."""
    if halves is None:
        return assign_split(patient)
    if name not in halves:
        raise InputDataError(
            f"{where}: {name!r} stands in neither {_TRAIN_LIST} nor {_TEST_LIST}.",
            fix="Take table and lists from the same download, or remove both lists to split 80/10/10.",
        )
    return "test" if halves[name] == "test" else carve_validation(patient)


def _compare_boxes(tree: Tree, table: LabelTable) -> list[str]:
    """What the radiologists' boxes say, beside the labels that were mined from reports."""
    name = next((name for name in tree.tables if name.startswith(_BOXES)), None)
    if name is None:
        return []
    boxes = tree.table(name, ("Image Index", "Finding Label")).records
    labels = {cells["Image Index"]: cells["Finding Labels"].split("|") for _, cells in table.records}
    pairs = {(cells["Image Index"], NIH.name_of(cells["Finding Label"])) for _, cells in boxes}
    unlabelled = sum(finding not in labels.get(image, (finding,)) for image, finding in pairs)
    films = len({image for image, _ in pairs})
    return [
        f"{_BOXES} has {len(boxes):,} boxes on {films:,} films; boxes are not kept. "
        f"{unlabelled:,} of the boxed findings are missing from the label of their film."
    ]
