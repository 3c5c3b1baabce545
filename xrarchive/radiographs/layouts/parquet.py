"""Parquet files as a Hub keeps datasets, in a folder or fetched by `hub`: images inside, labels beside them.

The image is a column of bytes or of structs with a field `bytes`. Labels are names joined by '|', lists of names, or
numbers that the file's own description (`huggingface` in its metadata) names; or a column of 1, 0, -1 and null for each
finding. One name of a set of classes is present, and nothing is said of the others unless it is `No Finding`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_file
from xrarchive.radiographs.layouts.folders import SPLITS, class_answers, class_of
from xrarchive.radiographs.layouts.own import FACTS, LABELS
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, UNCERTAIN, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree
from xrarchive.radiographs.places import PARQUET, Place, container_kind, list_members

NAME = "parquet"
_BATCH = 1024
# Columns that only an archive of ours has.
_SYNTHETIC = {"synthetic", "pixels_sha256"}


def recognise(tree: Tree) -> str | None:
    """Parquet files."""
    found = _files(tree)
    return f"{len(found):,} Parquet files" if found else None


def read(tree: Tree, choices: Choices) -> Reading:
    """Every row of every file."""
    files = _files(tree)
    return read_files(files, choices, {name: sha256_file(path) for name, path in files.items()})


def _files(tree: Tree) -> dict[str, Path]:
    return {name: place.path for name, place in tree.files.items() if container_kind(place.path) == PARQUET}


def read_files(files: dict[str, Path], choices: Choices, tables: dict[str, str]) -> Reading:
    """Every row of `files` (name -> where it is), all of which have the same columns.

    Raises:
        InputDataError: If a file is damaged or is no table of real films, or a column cannot be found or understood.
    """
    films: list[Film] = []
    ignored: dict[str, None] = {}
    for name, path in files.items():
        try:
            with pq.ParquetFile(path) as file:
                films += _read_file(name, path, file, choices, ignored)
        except (pa.ArrowException, OSError) as err:
            raise InputDataError(f"{path} is damaged: {err}.", fix="Download the file again.", path=path) from err
    return Reading(tuple(films), tables, tuple(ignored))


def _read_file(
    name: str, path: Path, file: pq.ParquetFile, choices: Choices, ignored: dict[str, None]
) -> Iterator[Film]:
    schema = file.schema_arrow
    if set(schema.names) >= _SYNTHETIC:
        raise InputDataError(
            f"{path} belongs to an archive of synthetic images, which are no radiographs.",
            fix="Learn from real films only; to look into an archive, use `xrarchive show` or `validate`.",
            path=path,
        )
    vocabulary = tuple(choices.findings or ())
    image = _image_column(path, schema, choices.image_column)
    label = _label_column(path, schema, choices.label_column, vocabulary)
    findings = [] if label else [column for column in schema.names if column in vocabulary]
    facts = {role: column for role, names in FACTS.items() if (column := _first(names, schema.names))}
    wanted = list(dict.fromkeys([*([label] if label else findings), *facts.values()]))
    ignored |= dict.fromkeys(column for column in schema.names if column not in (image, *wanted))
    classes = _class_names(schema, label)
    row = 0
    for batch in file.iter_batches(_BATCH, columns=wanted):
        for cells in batch.to_pylist():
            said = {role: _text(cells[column]) for role, column in facts.items()}
            where = f"{path}: row {row}"
            answers, complete = (
                _labels(cells[label], classes, vocabulary, where)
                if label
                else (_columns(cells, findings, where), False)
            )
            yield Film(
                image=f"{name}/{row}",
                place=Place(path, f"{row}:{image}"),
                patient=said.get("patient_id", ""),
                split=SPLITS.get(said.get("split", "").lower(), "") or _split_of(name),
                answers=answers,
                complete=complete,
                study=said.get("study", ""),
                view=said.get("view", ""),
                age=said.get("age", ""),
                sex=said.get("sex", ""),
                source=said.get("source", ""),
            )
            row += 1


def _image_column(path: Path, schema: pa.Schema, chosen: str | None) -> str:
    held = list(dict.fromkeys(member.partition(":")[2] for member in list_members(path)))
    if chosen is None and len(held) == 1:
        return held[0]
    if chosen in held or (chosen is None and "image" in held):
        return chosen or "image"
    raise InputDataError(
        f"{path}: {chosen or 'the image'!r} is no column of images. Of images are: {', '.join(held) or 'none'}; "
        f"all columns: {', '.join(schema.names)}.",
        fix="Name one with --image-column.",
        path=path,
    )


def _label_column(path: Path, schema: pa.Schema, chosen: str | None, vocabulary: Sequence[str]) -> str | None:
    """The column of labels, None where findings have columns of their own or nothing is labelled."""
    if chosen and chosen not in schema.names:
        raise InputDataError(
            f"{path}: there is no column {chosen!r}. Found: {', '.join(schema.names)}.",
            fix="Name one of these with --label-column.",
            path=path,
        )
    if chosen or set(schema.names) & set(vocabulary[1:]):
        return chosen
    return _first(LABELS, schema.names)


def _class_names(schema: pa.Schema, column: str | None) -> list[str] | None:
    """Names of a column's numbers, from the description that `datasets` writes; None if there are none."""
    try:
        described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = described["info"]["features"][column]
        feature = feature[0] if isinstance(feature, list) else feature
        feature = feature.get("feature", feature)
        return [str(name) for name in feature["names"]]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _labels(
    value: Any, classes: list[str] | None, vocabulary: tuple[str, ...], where: str
) -> tuple[Answers | None, bool]:
    """Answers of a cell, and whether what it does not name is absent."""
    if value is None or value == "":
        return None, False
    several = isinstance(value, list) or (isinstance(value, str) and "|" in value)
    words = [_word(one, classes, where) for one in (value.split("|") if isinstance(value, str) else _listed(value))]
    names = [class_of(word.strip(), vocabulary) or word.strip() for word in words]
    if several:
        return tuple((name, PRESENT) for name in dict.fromkeys(names)), True
    return class_answers(names[0], vocabulary), False


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _word(value: Any, classes: list[str] | None, where: str) -> str:
    if isinstance(value, str):
        return value
    if classes is not None and isinstance(value, int) and 0 <= value < len(classes):
        return classes[value]
    raise InputDataError(
        f"{where}: the label is {value!r}, and nothing says what that means.",
        fix="Give a dataset whose labels are names, or whose features name its classes; or a column for each finding.",
    )


def _columns(cells: dict[str, Any], findings: Sequence[str], where: str) -> Answers | None:
    found = [(name, cells[name]) for name in findings if cells[name] is not None]
    for name, value in found:
        if value not in (PRESENT, ABSENT, UNCERTAIN):
            raise InputDataError(
                f"{where}: {name} is {value!r}, expected 1, 0, -1 or null.", fix="Correct the dataset's labels."
            )
    return tuple((name, int(value)) for name, value in found) or None


def _split_of(name: str) -> str:
    """The split in a file's name, as in data/train-00000-of-00001.parquet or train/0000.parquet."""
    path = PurePosixPath(name)
    words = (path.name.split("-")[0].split(".")[0], *reversed(path.parts[:-1]))
    return next((SPLITS[word.lower()] for word in words if word.lower() in SPLITS), "")


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _first(names: Sequence[str], columns: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)
