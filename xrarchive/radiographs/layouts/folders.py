"""Folders without a table: what their names and the images themselves tell.

ImageFolder: TRAIN_OR_TEST/FINDING/image or FINDING/image. The folder's finding is present; under `No Finding` (or
"NORMAL") all others are absent, elsewhere the others are unknown: a film filed under one finding may show another.

DICOM: any tree of DICOM files, with or without a DICOMDIR. Patient, study, view, age and sex come from the headers;
what is no radiograph, or of another part of the body, is left out. Nothing tells findings: all films are unlabelled.

Images alone: unlabelled, each a patient of its own.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xrarchive.errors import InputDataError
from xrarchive.findings import NIH_FINDINGS, NO_FINDING
from xrarchive.radiographs.dicom import DicomFacts
from xrarchive.radiographs.layouts.headers import SUFFIXES, read_facts
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree, is_image

IMAGE_FOLDER, DICOM, PLAIN = "image-folder", "dicom", "images"
SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_NORMAL = ("normal", "no finding", "no_finding", "no-finding", "healthy")
_INDEX = "DICOMDIR"
# Files without suffix that are opened to see whether one is DICOM, before it is decided that none is.
_TRIED = 20
# DICOM PS3.3 C.7.3.1.1.1 and CID 4031, as far as they may be a radiograph of the chest; a blank says nothing.
_MODALITIES = ("CR", "DX", "RG", "")
_BODY_PARTS = ("CHEST", "THORAX", "LUNG", "CHEST PA", "CHEST AP", "PORT CHEST", "CHEST_TO_ABDOMEN", "")


def recognise_image_folder(tree: Tree) -> str | None:
    """Folders that are called as findings are."""
    found = sorted({name for image in _images(tree) if (name := _finding(image, NIH_FINDINGS))})
    return f"folders {', '.join(found)}" if found else None


def read_image_folder(tree: Tree, choices: Choices) -> Reading:
    """Every image below a folder that is called as a finding is, or as the findings that were declared."""
    vocabulary = tuple(choices.findings or NIH_FINDINGS)
    films = []
    for name in _images(tree):
        finding = _finding(name, vocabulary)
        if finding:
            split = next((SPLITS[part.lower()] for part in PurePosixPath(name).parts if part.lower() in SPLITS), "")
            answers = class_answers(finding, vocabulary)
            films.append(Film(name, tree.everything[name], "", split, answers, source=""))
    left = sum(not _finding(name, vocabulary) for name in _images(tree))
    notes = ["Patients are unknown, each film is its own: films of one patient may stand in two splits."]
    if left:
        notes.append(f"{left:,} images lie in no folder that is called as a finding is; they are not taken.")
    return Reading(tuple(films), {}, notes=tuple(notes))


def recognise_dicom(tree: Tree) -> str | None:
    """Files that are called as DICOM files are, a DICOMDIR, or DICOM files without suffix."""
    if named := _candidates(tree, suffixes=True):
        return f"{len(named):,} DICOM files"
    if any(PurePosixPath(name).name == _INDEX for name in tree.files):
        return _INDEX
    bare = _candidates(tree, suffixes=False)[:_TRIED]
    found = read_facts([tree.everything[name] for name in bare]) if bare else {}
    return "DICOM files without suffix" if any(found.values()) else None


def read_dicom(tree: Tree, _: Choices) -> Reading:
    """Every DICOM file but the DICOMDIR, unlabelled."""
    names = _candidates(tree, suffixes=True) + _candidates(tree, suffixes=False)
    facts = read_facts([tree.everything[name] for name in names])
    films = []
    for index, name in enumerate(names):
        found = facts.get(index)
        # A damaged file is listed if its name says DICOM, so that it ends among the rejects; others are no DICOM.
        if found or name.lower().endswith(SUFFIXES):
            films.append(_dicom_film(tree, name, found or DicomFacts()))
    if not films:
        raise InputDataError(
            f"{tree.root} holds a {_INDEX} and none of the files it lists.",
            fix="Copy the whole disc, not the index alone.",
            path=tree.root,
        )
    blank = sum(not film.patient for film in films)
    notes = ["DICOM tells no findings: all films are unlabelled; to label them, write labels.csv with their paths."]
    if blank:
        notes.append(f"{blank:,} files name no patient; each is its own.")
    return Reading(tuple(films), {}, notes=tuple(notes))


def _dicom_film(tree: Tree, name: str, facts: DicomFacts) -> Film:
    refused = None
    if facts.modality not in _MODALITIES:
        refused = ("other-modality", facts.modality)
    elif facts.body_part not in _BODY_PARTS:
        refused = ("other-body-part", facts.body_part)
    return Film(
        image=name,
        place=tree.everything[name],
        patient=facts.patient,
        study=facts.study,
        view=facts.view,
        age=facts.age,
        sex=facts.sex,
        refused=refused,
    )


def _candidates(tree: Tree, *, suffixes: bool) -> list[str]:
    """Files that are called DICOM, or files without any suffix."""
    names = [name for name in tree.everything if PurePosixPath(name).name != _INDEX]
    if suffixes:
        return [name for name in names if name.lower().endswith(SUFFIXES)]
    # A name that is a unique identifier, such as 1.2.840.113619, has no suffix either.
    return [name for name in names if PurePosixPath(name).name.replace(".", "").isdigit() or "." not in name[-6:]]


def recognise_images(tree: Tree) -> str | None:
    """Images without a table."""
    count = sum(1 for _ in _images(tree))
    return f"{count:,} images and no table" if count else None


def read_images(tree: Tree, _: Choices) -> Reading:
    """Every image, unlabelled."""
    films = tuple(Film(name, place) for name, place in tree.everything.items() if is_image(name))
    notes = (
        "Without a table all are unlabelled: a generator can learn from them, a classifier cannot. Folders that are "
        "called as findings of yours count with --layout image-folder --findings A,B.",
    )
    return Reading(films, {}, notes=notes)


def _images(tree: Tree) -> list[str]:
    return [name for name in tree.everything if is_image(name) and not name.lower().endswith(SUFFIXES)]


def _finding(name: str, vocabulary: tuple[str, ...]) -> str | None:
    """The finding whose name the innermost such folder bears."""
    folders = reversed(PurePosixPath(name).parts[:-1])
    return next((found for part in folders if (found := class_of(part, vocabulary))), None)


def class_of(word: str, vocabulary: tuple[str, ...]) -> str | None:
    """The finding that the name of a folder or class stands for, whatever its case and with '_' or '-' for a blank."""
    known = {_plain(finding): finding for finding in vocabulary}
    known |= {_plain(normal): NO_FINDING for normal in _NORMAL}
    return known.get(_plain(word))


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")


def class_answers(finding: str, vocabulary: tuple[str, ...]) -> Answers:
    """What one name of a set of classes says: of other findings nothing, unless it is `No Finding`."""
    if finding == NO_FINDING:
        return tuple(
            (name, PRESENT if name == NO_FINDING else ABSENT) for name in dict.fromkeys((NO_FINDING, *vocabulary))
        )
    return ((NO_FINDING, ABSENT), (finding, PRESENT))
