"""Who is trained on and who is measured on: splits and folds that never cut through a patient.

Everything here is decided by sha256 of the patient id, so that it is the same on every machine and in every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from xrarchive.errors import InputDataError
from xrarchive.findings import nearest

# `unlabelled` is for the generator only; `holdout` is never trained on.
SPLITS = ("train", "validation", "test", "unlabelled", "holdout")
_WORDS = {**{name: name for name in SPLITS}, "val": "validation"}

# Before the name of a radiograph that has no patient id: a patient of its own.
OWN_PATIENT = "image:"

# 80/10/10, the usual cut where a source has none of its own.
_TRAIN_SHARE = 0.8
_VALIDATION_SHARE = 0.1

_HASH_RANGE = 2**64
_NAMED_IMAGES = 6


def parse_split(word: str, *, where: str) -> str:
    """The split a word in a table stands for; "val" means validation.

    Raises:
        InputDataError: If the word is blank or unknown.
    """
    found = _WORDS.get(word.strip().lower())
    if found is None:
        near = nearest(word.strip(), _WORDS)
        hint = f" The nearest known one is {_WORDS[near]!r}." if near else ""
        raise InputDataError(
            f"{where}: {word!r} is not a split.{hint} Known: {', '.join(SPLITS)}.",
            fix="Correct the word, or leave the whole column out to have patients split 80/10/10.",
        )
    return found


def assign_split(patient: str) -> str:
    """Split of a patient where the source has none: 80 % train, 10 % validation, 10 % test, by hash."""
    position = _position(f"split:{patient}")
    if position < _TRAIN_SHARE:
        return "train"
    return "validation" if position < _TRAIN_SHARE + _VALIDATION_SHARE else "test"


def carve_validation(patient: str) -> str:
    """Train or validation, in the proportion of `assign_split`, for a patient outside an official test list."""
    carved = _position(f"split:{patient}") < _VALIDATION_SHARE / (_TRAIN_SHARE + _VALIDATION_SHARE)
    return "validation" if carved else "train"


def require_whole_patients(rows: Iterable[tuple[str, str, str]]) -> None:
    """Check that no patient is in two splits.

    Args:
        rows: (patient, split, image) of every radiograph.

    Raises:
        InputDataError: Naming the first such patient, both splits and the images.
    """
    images: dict[str, dict[str, list[str]]] = {}
    for patient, split, image in rows:
        images.setdefault(patient, {}).setdefault(split, []).append(image)
    torn = [patient for patient, by_split in images.items() if len(by_split) > 1]
    if torn:
        places = "; ".join(f"{split}: {_enumerate(names)}" for split, names in sorted(images[torn[0]].items()))
        others = f" {len(torn) - 1} more patients are torn as well." if len(torn) > 1 else ""
        raise InputDataError(
            f"Patient {torn[0]!r} is in {len(images[torn[0]])} splits ({places}).{others}",
            fix="Put all images of a patient into one split; a figure measured on a seen patient is worth nothing.",
        )


def patient_folds(patients: Sequence[str] | npt.NDArray[np.str_], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Folds for cross-fitting with patients whole.

    Patients are ordered by a seeded hash of their id and dealt out in turn, so that folds differ by one patient at
    most and none is empty.

    Args:
        patients: Patient id per radiograph, N of them.
        folds: How many folds.
        seed: Another seed deals differently.

    Returns:
        int64 [N] in 0..folds-1.

    Raises:
        ValueError: If there are fewer than two folds or fewer patients than folds.
    """
    names, place = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if folds < 2 or len(names) < folds:
        raise ValueError(f"cannot deal {len(names)} patients into {folds} folds")
    order = sorted(range(len(names)), key=lambda index: (_position(f"fold:{seed}:{names[index]}"), index))
    fold = np.empty(len(names), np.int64)
    fold[order] = np.arange(len(names)) % folds
    return fold[place.reshape(-1)]


def _position(text: str) -> float:
    """A uniform place in [0, 1) that depends on `text` only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / _HASH_RANGE


def _enumerate(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_IMAGES} more" if len(names) > _NAMED_IMAGES else ""
    return ", ".join(names[:_NAMED_IMAGES]) + more
