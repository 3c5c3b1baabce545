"""MedMNIST's chest X-rays as .npz, in every size: ChestMNIST (NIH ChestX-ray14) and PneumoniaMNIST.

Arrays train_images, val_images, test_images uint8 [N, px, px] and train_labels, ... [N, 14] or [N, 1]; nothing is
unpickled. Patients are unknown: MedMNIST split ChestMNIST as NIH did, by patient, and its splits are kept.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_file
from xrarchive.findings import NIH_FINDINGS, NO_FINDING
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree
from xrarchive.radiographs.places import Place

CHEST, PNEUMONIA = "chestmnist", "pneumoniamnist"
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_COLUMNS = {CHEST: len(NIH_FINDINGS), PNEUMONIA: 1}
_MAX_LABEL_BYTES = 1 << 28


def recognise_chest(tree: Tree) -> str | None:
    """Name of ChestMNIST's file."""
    return _find(tree, CHEST)


def recognise_pneumonia(tree: Tree) -> str | None:
    """Name of PneumoniaMNIST's file."""
    return _find(tree, PNEUMONIA)


def read_chest(tree: Tree, _: Choices) -> Reading:
    """Every image, with NIH's fourteen labels; none of them is `No Finding`."""
    return _read(tree, CHEST, ("nih-chestxray14", "chestmnist"))


def read_pneumonia(tree: Tree, _: Choices) -> Reading:
    """Every image: pneumonia or normal. They are children's."""
    return _read(tree, PNEUMONIA, ())


def _find(tree: Tree, name: str) -> str | None:
    return next((one for one in tree.arrays if one.rpartition("/")[2].lower().startswith(name)), None)


def _read(tree: Tree, kind: str, terms: tuple[str, ...]) -> Reading:
    names = [name for name in tree.arrays if name.rpartition("/")[2].lower().startswith(kind)]
    if len(names) > 1:
        raise InputDataError(
            f"{tree.root} holds {kind} in {len(names)} sizes: {', '.join(names)}.",
            fix=f"Give the file itself, for example: xrarchive ingest {tree.root / names[-1]}",
            path=tree.root,
        )
    path = tree.arrays[names[0]]
    films = []
    for word, split in _SPLITS.items():
        labels = _load_labels(path, f"{word}_labels", _COLUMNS[kind])
        for index, cells in enumerate(labels.tolist()):
            member = f"{word}_images[{index}]"
            answers = _chest(tuple(cells)) if kind == CHEST else _pneumonia(cells[0])
            films.append(Film(member, Place(path, member), "", split, answers, source=kind))
    return Reading(tuple(films), {path.name: sha256_file(path)}, (), terms)


def _chest(cells: tuple[int, ...]) -> Answers:
    nothing = ABSENT if any(cells) else PRESENT
    return ((NO_FINDING, nothing), *zip(NIH_FINDINGS, cells, strict=True))


def _pneumonia(cell: int) -> Answers:
    return ((NO_FINDING, ABSENT if cell else PRESENT), ("Pneumonia", cell))


def _load_labels(path: Path, name: str, columns: int) -> npt.NDArray[np.int64]:
    """Labels [N, columns], each 0 or 1."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(f"{name}.npy").file_size > _MAX_LABEL_BYTES:
                raise ValueError(f"{name} is larger than {_MAX_LABEL_BYTES:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            labels = arrays[name]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as err:
        raise InputDataError(
            f"{path}: the array {name} cannot be read: {err}.", fix="Download the file again.", path=path
        ) from err
    if labels.ndim != 2 or labels.shape[1] != columns or not np.isin(labels, (0, 1)).all():
        raise InputDataError(
            f"{path}: {name} is {labels.dtype} {list(labels.shape)}, expected 0 and 1 in [N, {columns}].",
            fix="Give the file as MedMNIST published it.",
            path=path,
        )
    checked: npt.NDArray[np.int64] = labels.astype(np.int64)
    return checked
