"""Folders without a table: what their names and the images themselves tell.

ImageFolder: TRAIN_OR_TEST/FINDING/image or FINDING/image. The folder's finding is present; under `No Finding` (or
"NORMAL") all others are absent, elsewhere the others are unknown: a film filed under one finding may show another.

DICOM: any tree of DICOM files, with or without a DICOMDIR. Patient, study, view, age and sex come from the headers.
Nothing tells findings: all films are unlabelled.

Images alone: unlabelled, each a patient of its own.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xrarchive.findings import NIH_FINDINGS, NO_FINDING
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree, is_image

IMAGE_FOLDER, DICOM, PLAIN = "image-folder", "dicom", "images"
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_NORMAL = ("normal", "no finding", "no_finding", "no-finding", "healthy")
_DICOM_SUFFIXES = (".dcm", ".dicom")
_MAGIC, _MAGIC_AT = b"DICM", 128
_INDEX = "DICOMDIR"
# Files without suffix that are opened to see whether they are DICOM, before it is decided that none is.
_TRIED = 20


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
            split = next((_SPLITS[part.lower()] for part in PurePosixPath(name).parts if part.lower() in _SPLITS), "")
            answers = _answers(finding, vocabulary)
            films.append(Film(name, tree.files[name], "", split, answers, source=""))
    left = sum(not _finding(name, vocabulary) for name in _images(tree))
    notes = ["Patients are unknown, each film is its own: films of one patient may stand in two splits."]
    if left:
        notes.append(f"{left:,} images lie in no folder that is called as a finding is; they are not taken.")
    return Reading(tuple(films), {}, notes=tuple(notes))


def recognise_images(tree: Tree) -> str | None:
    """Images without a table."""
    count = sum(1 for _ in _images(tree))
    return f"{count:,} images and no table" if count else None


def read_images(tree: Tree, _: Choices) -> Reading:
    """Every image, unlabelled."""
    films = tuple(Film(name, place, split="unlabelled") for name, place in tree.everything.items() if is_image(name))
    notes = ("Without a table all are unlabelled: a generator can learn from them, a classifier cannot.",)
    return Reading(films, {}, notes=notes)


def _images(tree: Tree) -> list[str]:
    return [name for name in tree.everything if is_image(name) and not name.lower().endswith(_DICOM_SUFFIXES)]


def _finding(name: str, vocabulary: tuple[str, ...]) -> str | None:
    """The finding whose name the innermost such folder bears, whatever its case and with '_' or '-' for a blank."""
    known = {_plain(finding): finding for finding in vocabulary}
    known |= {_plain(word): NO_FINDING for word in _NORMAL}
    folders = reversed(PurePosixPath(name).parts[:-1])
    return next((known[_plain(part)] for part in folders if _plain(part) in known), None)


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")


def _answers(finding: str, vocabulary: tuple[str, ...]) -> Answers:
    if finding == NO_FINDING:
        return tuple(
            (name, PRESENT if name == NO_FINDING else ABSENT) for name in dict.fromkeys((NO_FINDING, *vocabulary))
        )
    return ((NO_FINDING, ABSENT), (finding, PRESENT))
