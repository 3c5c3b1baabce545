"""Rows of two archives held against each other: all of them as one number each, in full only those that differ.

In: shards of one config of either archive. Out: the rows of each that the other does not have just so. Memory: 16 bytes
for each row, one row group, and what differs, whatever the length of the archives. That a change hides behind equal
numbers has a chance of at most 1.3e-9 between two archives of 150,000 rows that all differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xrarchive.archive.content import UNREADABLE, read_groups
from xrarchive.archive.manifest import split_of
from xrarchive.archive.readme import column_names
from xrarchive.archive.schema import DATA, GUIDE_PREFIX, JUDGE_PREFIX, PROVENANCE, hash_pixels
from xrarchive.archive.source import Source
from xrarchive.archive.values import as_named, as_numbers, hash_rows, hash_texts, hash_value
from xrarchive.errors import DamageError
from xrarchive.pixels import decode_png

_PIXELS, _SPLIT = "pixels_sha256", "split"
_FIX = "Find out more with `xrarchive check --read-data`."

Masks = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Shards:
    """Some shards of one config of an archive.

    Attributes:
        source: The archive.
        config: `data` or `provenance`.
        paths: Where each shard is, by its name.
        builds: What each number in the column `build` stands for.
    """

    source: Source
    config: str
    paths: Mapping[str, Path]
    builds: Sequence[int]


@dataclass(frozen=True)
class Rows:
    """Some rows: where each id is among them, and the values of each column as numbers, scores as they are too."""

    places: Mapping[str, int]
    columns: Mapping[str, NDArray[np.uint64]]
    scores: Mapping[str, NDArray[np.float32]]


def differing_rows(first: Shards, second: Shards, *, shared: bool = False) -> tuple[Rows, Rows]:
    """The rows of each side that the other has not, or with another value in a column that both have.

    Args:
        first: Of the one archive.
        second: Of the other.
        shared: Leave out rows whose id the other side has not.

    Raises:
        DamageError: If a shard cannot be read.
    """
    if not (first.paths and second.paths):  # nothing to hold them against
        return _read_rows(first, None), _read_rows(second, None)
    known = _columns(second)
    columns = [column for column in _columns(first) if column in known]
    one, other = (_number_rows(shards, columns) for shards in (first, second))
    return _read_rows(first, _unmatched(one, other, shared)), _read_rows(second, _unmatched(other, one, shared))


def _columns(shards: Shards) -> list[str]:
    """Columns as they are compared: hashes stand for images, and the split is one of `data`."""
    stored = column_names(shards.config, shards.source.manifest)
    own = [_PIXELS, _SPLIT] if shards.config == DATA else []
    return [*dict.fromkeys([*(name for name in stored if name not in {"image", "image_id"}), *own])]


@dataclass(frozen=True)
class _Numbered:
    """uint64 [N] for each shard: of the ids of its rows, and of the rows."""

    ids: Mapping[str, NDArray[np.uint64]]
    rows: Mapping[str, NDArray[np.uint64]]


def _number_rows(shards: Shards, columns: Sequence[str]) -> _Numbered:
    ids: dict[str, NDArray[np.uint64]] = {}
    rows: dict[str, NDArray[np.uint64]] = {}
    for name in shards.paths:
        own, whole = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        for table, values in _groups(shards, name, None):
            own.append(hash_texts(table["image_id"]))
            whole.append(hash_rows([own[-1], *(values[column] for column in columns)]))
        ids[name], rows[name] = np.concatenate(own), np.concatenate(whole)
    return _Numbered(ids, rows)


def _unmatched(own: _Numbered, other: _Numbered, shared: bool) -> Masks:
    masks = _among(own.rows, other.rows, invert=True)
    if not shared:
        return masks
    known = _among(own.ids, other.ids)
    return {name: mask & known[name] for name, mask in masks.items()}


def _among(
    own: Mapping[str, NDArray[np.uint64]], other: Mapping[str, NDArray[np.uint64]], *, invert: bool = False
) -> Masks:
    """Which of our numbers the other side has anywhere, or has not."""
    found = np.isin(np.concatenate(list(own.values())), np.concatenate(list(other.values())), invert=invert)
    ends = np.cumsum([len(numbers) for numbers in own.values()])
    return dict(zip(own, np.split(found, ends[:-1]), strict=True))


def _read_rows(shards: Shards, wanted: Masks | None) -> Rows:
    """Rows in full: those of the masks, or all; a shard without any is not opened."""
    places: dict[str, int] = {}
    columns: list[dict[str, NDArray[np.uint64]]] = []
    scores: list[dict[str, NDArray[np.float32]]] = []
    for name in shards.paths:
        mask = None if wanted is None else wanted[name]
        if mask is not None and not mask.any():
            continue
        for table, values in _groups(shards, name, mask):
            for image_id in table["image_id"].to_pylist():
                places[image_id] = len(places)
            columns.append(values)
            scores.append({column: _floats(table[column]) for column in table.column_names if _is_score(column)})
    return Rows(places, _joined(columns), _joined(scores))


def _groups(
    shards: Shards, name: str, mask: NDArray[np.bool_] | None
) -> Iterator[tuple[pa.Table, dict[str, NDArray[np.uint64]]]]:
    """The rows of each row group that the mask wants, as they stand and as numbers."""
    source, stored, start = shards.source, column_names(shards.config, shards.source.manifest), 0
    if shards.config == DATA and _PIXELS in stored:
        stored.remove("image")
    path = shards.paths[name]
    for group in read_groups(path, stored, fix=_FIX):
        stop = start + group.num_rows
        table = group if mask is None else group.filter(pa.array(mask[start:stop]))
        start = stop
        if not table.num_rows:
            continue
        if "image" in stored:  # format 1 keeps no hashes of its pixels
            hashes = list(_pixel_hashes(table["image"], source.manifest.mode, path))
            table = table.drop_columns(["image"]).append_column(_PIXELS, pa.array(hashes, pa.string()))
        try:
            yield table, _numbers(table, shards, name)
        except UNREADABLE as err:
            raise DamageError(f"{name} of {source.name} cannot be read: {err}.", fix=_FIX, path=name) from err


def _pixel_hashes(images: pa.ChunkedArray, mode: str, path: Path) -> Iterator[str]:
    for image in images:
        try:
            yield hash_pixels(decode_png(image["bytes"].as_py(), mode))
        except (OSError, ValueError, TypeError) as err:
            raise DamageError(f"{path} holds an image that cannot be decoded: {err}.", fix=_FIX, path=path) from err


def _numbers(table: pa.Table, shards: Shards, name: str) -> dict[str, NDArray[np.uint64]]:
    """Columns of a table as numbers; labels and builds by what they stand for."""
    columns = {column: as_numbers(table[column]) for column in table.column_names if column != "image_id"}
    if shards.config == PROVENANCE:
        if "build" in columns:
            columns["build"] = as_named(table["build"], shards.builds)
        return columns
    findings = shards.source.manifest.findings
    columns |= {column: as_named(table[column], findings) for column in ("label", "findings")}
    return {**columns, _SPLIT: np.full(table.num_rows, hash_value(split_of(name).encode()))}


def _is_score(column: str) -> bool:
    return column == "soft_label" or column.startswith((GUIDE_PREFIX, JUDGE_PREFIX))


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    values: NDArray[np.float32] = column.to_numpy().astype(np.float32)
    return values


def _joined(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}
