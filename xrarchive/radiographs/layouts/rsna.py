"""RSNA Pneumonia Detection Challenge, and SIIM-ACR Pneumothorax Segmentation: one finding, DICOM, several lines a film.

RSNA: stage_2_train_labels.csv (patientId, x, y, width, height, Target: a line for each box) and, if there,
stage_2_detailed_class_info.csv, which tells normal films from otherwise abnormal ones. `patientId` is a film's id: its
films come from NIH ChestX-ray14, where a patient has several, and who is whose is not told.

SIIM: train-rle.csv (ImageId, " EncodedPixels" with its blank: -1 or a mask, a line for each mask).
"""

from __future__ import annotations

from xrarchive.errors import InputDataError
from xrarchive.radiographs.csv_table import LabelTable, require_unmangled
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree

NAME, SIIM_NAME = "rsna-pneumonia", "siim-acr"
_NORMAL = "Normal"
_CLASSES = (_NORMAL, "Lung Opacity", "No Lung Opacity / Not Normal")
_NO_MASK = "-1"


def recognise(tree: Tree) -> str | None:
    """The name of RSNA's table of boxes."""
    return next((name for name, columns in tree.tables.items() if {"patientId", "Target"} <= set(columns)), None)


def recognise_siim(tree: Tree) -> str | None:
    """The name of SIIM's table of masks, not of the samples beside it."""
    found = [name for name, columns in tree.tables.items() if {"ImageId", "EncodedPixels"} <= set(columns)]
    return min(found, key=lambda name: ("sample" in name, "train" not in name, name), default=None)


def read(tree: Tree, _: Choices) -> Reading:
    """Every film once: pneumonia where one of its lines says so."""
    name = str(recognise(tree))
    table = tree.table(name, ("patientId", "Target"))
    targets = _by_film(table, "patientId", "Target", {"1": PRESENT, "0": ABSENT})
    tables, classes = {name: table.sha256}, {}
    if detail := next((one for one, columns in tree.tables.items() if {"patientId", "class"} <= set(columns)), None):
        details = tree.table(detail, ("patientId", "class"))
        classes = {cells["patientId"]: cells["class"] for _, cells in details.records}
        tables[detail] = details.sha256
    find = tree.find_images()
    films = []
    for patient, target in targets.items():
        image, place, found = find(f"stage_2_train_images/{patient}.dcm")
        answers = rsna_answers(target, classes.get(patient, ""))
        films.append(Film(image, place, patient, "", answers, source=NAME, found=found))
    notes = ["A patientId here is one film's: films of one patient of NIH ChestX-ray14 may stand in two splits."]
    if not detail:
        notes.append("Without stage_2_detailed_class_info.csv nobody knows which films without pneumonia are normal.")
    return Reading(tuple(films), tables, (), (NAME,), tuple(notes))


def rsna_answers(target: int, kind: str) -> Answers:
    """Pneumonia, and `No Finding` as far as the class tells it."""
    if kind in _CLASSES or target == PRESENT:
        return (("Target", target), (_NORMAL, PRESENT if kind == _NORMAL else ABSENT))
    return (("Target", target),)


def read_siim(tree: Tree, _: Choices) -> Reading:
    """Every film once: pneumothorax where one of its lines holds a mask."""
    name = str(recognise_siim(tree))
    table = tree.table(name, ("ImageId", "EncodedPixels"))
    find = tree.find_images()
    films = []
    for image_id, label in _by_film(table, "ImageId", "EncodedPixels", {_NO_MASK: ABSENT}, otherwise=PRESENT).items():
        image, place, found = find(f"{image_id}.dcm")
        answers: Answers = (("EncodedPixels", label),)
        if label == PRESENT:
            answers += (("No Finding", ABSENT),)
        films.append(Film(image, place, "", "", answers, source=SIIM_NAME, found=found))
    notes = ("A film without pneumothorax may show anything else: `No Finding` is unknown there.",)
    return Reading(tuple(films), {name: table.sha256}, (), (SIIM_NAME,), notes)


def _by_film(
    table: LabelTable, key: str, column: str, cells: dict[str, int], otherwise: int | None = None
) -> dict[str, int]:
    """The label of every film: the strongest of its lines."""
    found: dict[str, int] = {}
    for line, record in table.records:
        name = require_unmangled(record[key], where=table.where(line))
        label = cells.get(record[column], otherwise)
        if label is None:
            raise InputDataError(
                f"{table.where(line)}: {column} is {record[column]!r}, expected {' or '.join(cells)}.",
                fix="Take the table as it was published.",
            )
        found[name] = max(label, found.get(name, label))
    return found
