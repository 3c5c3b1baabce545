"""A folder of labelled images that some other tool made, brought to one size: for an audit, nothing is stored.

The table beside the images may be any of those in use; the first column of each kind that is there is taken:

    image    `image`, `file_name`, `filename`, `path` or `Image Index`: the file, inside the folder
    labels   `labels`, `findings` or `Finding Labels`: findings joined by '|'
             or else a column for each finding: 1 it was asked for, 0 or blank it was not

A set is refused rather than measured in part: every image of the table must be there, readable, and of one size.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_bytes
from xrarchive.findings import nearest
from xrarchive.pixels import Pixels
from xrarchive.radiographs.csv_table import (
    LabelTable,
    inside,
    parse_labels,
    read_table,
    reading,
    require_distinct,
)
from xrarchive.radiographs.decode import Decoded, Reject, decode, decoder_warnings
from xrarchive.records import OnStatus, Status, ignore_status

IMAGE_COLUMNS = ("image", "file_name", "filename", "path", "Image Index")
LABEL_COLUMNS = ("labels", "findings", "Finding Labels")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

_CELLS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}
_FINDINGS_FIX = "Correct the name, or declare the findings of this set with --findings A,B."
_NAMED_REASONS = 3
# Images in flight, as in ingest.
_BATCH = 128
_MAX_THREADS = 8


@dataclass(frozen=True)
class LabelledImages:
    """A folder of N images, read.

    Attributes:
        folder: Where they are.
        images: Their paths inside the folder, in the order of the table [N].
        pixels: uint8 [N, size, size], 0 = black.
        labels: What each was asked to show, in the order of the table's cell or columns [N].
        source_px: Width and height of the files, the same for all.
        sha256: Of the bytes and labels of all images, whatever the order of the table.
        ignored_columns: Columns of the table that were not read.
        unlisted: Image files in the folder that the table does not name.
    """

    folder: Path
    images: tuple[str, ...]
    pixels: Pixels
    labels: tuple[tuple[str, ...], ...]
    source_px: tuple[int, int]
    sha256: str
    ignored_columns: tuple[str, ...]
    unlisted: int

    def asked(self, findings: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Bool [N, K]: whether each image was asked to show each of `findings`."""
        return np.array([[name in labels for name in findings] for labels in self.labels], np.bool_)


def read_folder(
    folder: Path,
    table: Path,
    *,
    vocabulary: Sequence[str],
    declared: Sequence[str] = (),
    size_px: int,
    on_status: OnStatus = ignore_status,
) -> LabelledImages:
    """Read a folder of labelled images.

    Args:
        folder: Holds the images.
        table: CSV file, see above; it may lie anywhere.
        vocabulary: Findings that the table may name.
        declared: Of these, findings that must have a column, if each has one.
        size_px: Side to bring the images to: the centre square, area-averaged, or enlarged by bicubic interpolation.
        on_status: Told how many images are done.

    Raises:
        InputDataError: If there is no such folder or table, the table lacks a column, names an unknown finding, an
            image twice or one outside the folder, or holds a cell that is no label; if images are missing, unreadable
            or of different sizes, or none shows any finding.
    """
    with reading(folder):
        if not folder.is_dir():
            raise InputDataError(
                f"No folder of images at {folder}.", fix="Name the folder that holds the images.", path=folder
            )
    with reading(table):
        if not table.is_file():
            raise InputDataError(f"No table of labels at {table}.", fix="Name a CSV file with --labels.", path=table)
        listed, read_columns = _read_listed(table, vocabulary, declared)
    names = [image for image, _ in listed]
    decoded = _decode_all(folder, names, size_px, on_status)
    if not any(labels for _, labels in listed):
        raise InputDataError(
            f"{table} gives none of the {len(listed)} images a finding.",
            fix="A set without labels cannot be audited; write what each image was asked to show.",
            path=table,
        )
    return LabelledImages(
        folder=folder,
        images=tuple(names),
        pixels=np.stack([one.pixels for one in decoded]),
        labels=tuple(labels for _, labels in listed),
        source_px=_one_size(names, decoded),
        sha256=_hash(listed, decoded),
        ignored_columns=tuple(read_columns),
        unlisted=_count_unlisted(folder, names),
    )


def _read_listed(
    path: Path, vocabulary: Sequence[str], declared: Sequence[str]
) -> tuple[list[tuple[str, tuple[str, ...]]], list[str]]:
    """Image and labels of every record, and the columns that were not read."""
    table = read_table(path, (), exact=True)
    image = _first_of(IMAGE_COLUMNS, table)
    if image is None:
        raise _no_column(table, "image", IMAGE_COLUMNS)
    joined = _first_of(LABEL_COLUMNS, table)
    used = [joined] if joined else [name for name in vocabulary if name in table.columns]
    if not used:
        raise _no_column(table, "labels", (*LABEL_COLUMNS, "a column for each finding"))
    if missing := [name for name in declared if not joined and name not in used]:
        raise _no_column(table, missing[0], used)
    labels = _joined_labels(joined, vocabulary) if joined else _column_labels(used)
    listed = [
        (inside(cells[image], where=table.where(line)), labels(cells, table.where(line)))
        for line, cells in table.records
    ]
    require_distinct([name for name, _ in listed], table)
    return listed, [name for name in table.columns if name not in (image, *used)]


_Labels = Callable[[dict[str, str], str], tuple[str, ...]]


def _joined_labels(column: str, vocabulary: Sequence[str]) -> _Labels:
    def labels(cells: dict[str, str], where: str) -> tuple[str, ...]:
        return parse_labels(cells[column], vocabulary, where=where, fix=_FINDINGS_FIX) or ()

    return labels


def _column_labels(names: Sequence[str]) -> _Labels:
    def labels(cells: dict[str, str], where: str) -> tuple[str, ...]:
        for name in names:
            if cells[name].lower() not in _CELLS:
                raise InputDataError(
                    f"{where}: {name} is {cells[name]!r}, expected 1, 0 or blank.",
                    fix="Write 1 where the finding was asked for, and 0 or nothing where it was not.",
                )
        return tuple(name for name in names if _CELLS[cells[name].lower()])

    return labels


def _first_of(names: Sequence[str], table: LabelTable) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _no_column(table: LabelTable, name: str, known: Sequence[str]) -> InputDataError:
    near = nearest(name, [column for column in table.columns if column])
    hint = f" Is {near!r} meant?" if near else ""
    return InputDataError(
        f"{table.path}:1: there is no column for {name!r}.{hint} Found: {', '.join(table.columns)}.",
        fix=f"Expected {' or '.join(known)}.",
        path=table.path,
    )


def _decode_all(folder: Path, names: Sequence[str], size_px: int, on_status: OnStatus) -> list[Decoded]:
    """Every image, or an error that counts those that cannot be read."""
    found: list[Decoded | Reject] = []
    with decoder_warnings(), ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS)) as pool:
        for start in range(0, len(names), _BATCH):
            part = names[start : start + _BATCH]
            found += pool.map(lambda name: decode(folder / name, size_px, "crop"), part)
            on_status(Status(len(found), len(names), "images", "decoding"))
    rejects = [(name, one) for name, one in zip(names, found, strict=True) if isinstance(one, Reject)]
    if rejects:
        reasons = Counter(reject.reason for _, reject in rejects).most_common(_NAMED_REASONS)
        raise InputDataError(
            f"{len(rejects):,} of {len(names):,} images cannot be read: "
            f"{'; '.join(f'{count:,} x {reason}' for reason, count in reasons)}. The first is {rejects[0][0]!r}.",
            fix=f"Add or repair the files below {folder}, or remove their lines from the table.",
            path=folder,
        )
    return [one for one in found if isinstance(one, Decoded)]


def _one_size(names: Sequence[str], decoded: Sequence[Decoded]) -> tuple[int, int]:
    first = decoded[0].file
    for name, one in zip(names, decoded, strict=True):
        if (one.file.width, one.file.height) != (first.width, first.height):
            raise InputDataError(
                f"{name!r} has {one.file.width}x{one.file.height} px, {names[0]!r} has {first.width}x{first.height} "
                "px: figures over images of several sizes would measure the sizes.",
                fix="Bring the images to one size, or audit those of each size apart.",
            )
    return first.width, first.height


def _hash(listed: Sequence[tuple[str, tuple[str, ...]]], decoded: Sequence[Decoded]) -> str:
    lines = [
        f"{image}\t{one.file.sha256}\t{'|'.join(labels)}" for (image, labels), one in zip(listed, decoded, strict=True)
    ]
    return sha256_bytes("\n".join(["xrarchive.folder/1", *sorted(lines)]).encode())


def _count_unlisted(folder: Path, names: Sequence[str]) -> int:
    known = set(names)
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sum(path.relative_to(folder).as_posix() not in known for path in files)
