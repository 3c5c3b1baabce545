"""A user's own table beside a user's own images.

labels.csv: columns `image` (path inside the folder) and `labels` (findings joined by '|', blank = not labelled), and if
there `patient_id`, `split`, `view`, `age`, `sex`, `source`. Read strictly: what it names must be declared.

Any other CSV or JSON Lines file (metadata.csv, metadata.jsonl) with a column of images and either a column of labels or
a column for each finding, where 1 is present, 0 absent, -1 uncertain and blank unknown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_bytes
from xrarchive.findings import NO_FINDING, nearest
from xrarchive.radiographs.csv_table import (
    LabelTable,
    decode_text,
    inside,
    parse_labels,
    parse_table,
    require_distinct,
    require_unmangled,
)
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, UNCERTAIN, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree
from xrarchive.radiographs.places import Place
from xrarchive.radiographs.split import parse_split

LABELS_NAME, NAME = "labels.csv", "table"
_REQUIRED = ("image", "labels")
_OPTIONAL = ("patient_id", "split", "view", "age", "sex", "source")

# Names in use for each column, the first that is there is taken.
_IMAGE = ("image", "file_name", "filename", "path", "image_path", "filepath", "file", "Image Index", "Path")
LABELS = ("labels", "findings", "label", "Finding Labels")
FACTS = {
    "patient_id": ("patient_id", "patient", "PatientID", "Patient ID", "subject_id"),
    "study": ("study_id", "study", "StudyID"),
    "split": ("split",),
    "view": ("view", "ViewPosition", "View Position", "view_position"),
    "age": ("age", "Age", "Patient Age"),
    "sex": ("sex", "Sex", "gender", "Patient Gender", "Patient Sex"),
    "source": ("source",),
}
_CELLS = {"1": PRESENT, "1.0": PRESENT, "true": PRESENT, "0": ABSENT, "0.0": ABSENT, "false": ABSENT}
_CELLS |= {"-1": UNCERTAIN, "-1.0": UNCERTAIN}
_BLANK = ("", "nan", "null", "none")
_NAMED = 5


def recognise_labels(tree: Tree) -> str | None:
    """labels.csv at the top."""
    return LABELS_NAME if LABELS_NAME in tree.files else None


def read_labels(tree: Tree, choices: Choices) -> Reading:
    """Every line of labels.csv."""
    path = tree.root / LABELS_NAME
    table = parse_table(path, tree.read(LABELS_NAME), _REQUIRED, exact=True)
    roles = {"image": "image", "labels": "labels", **{name: name for name in _OPTIONAL}}
    return _read(tree, table, roles, LABELS_NAME, tuple(choices.findings or ()))


def recognise_table(tree: Tree) -> str | None:
    """A table at the top with a column of images: one that is called metadata, or the only one."""
    named = [name for name, columns in tree.tables.items() if set(_IMAGE) & set(columns)]
    named += [name for name in tree.files if name.lower().endswith(".jsonl") and "/" not in name]
    usual = [name for name in named if PurePosixPath(name).name.lower().startswith("metadata.")]
    return usual[0] if usual else named[0] if len(named) == 1 else None


def read_own_table(tree: Tree, choices: Choices) -> Reading:
    """Every line of a table of any names of columns."""
    name = recognise_table(tree)
    if name is None:
        raise InputDataError(
            f"{tree.root} holds no table with a column of images, or several.",
            fix=f"Keep one CSV with one of the columns {', '.join(_IMAGE)} there.",
            path=tree.root,
        )
    path = tree.root / name
    data = tree.read(name)
    table = _parse_jsonl(path, data) if name.lower().endswith(".jsonl") else parse_table(path, data, (), exact=True)
    return _read(tree, table, _roles(table, choices), name, tuple(choices.findings or ()))


def _roles(table: LabelTable, choices: Choices) -> dict[str, str]:
    """Which column plays which part; without a column of labels the findings have columns of their own."""
    roles = {role: column for role, names in FACTS.items() if (column := _first(names, table))}
    image = choices.image_column or _first(_IMAGE, table)
    labels = choices.label_column or _first(LABELS, table)
    for column in (image, labels):
        if column and column not in table.columns:
            raise InputDataError(
                f"{table.path}:1: there is no column {column!r}. Found: {', '.join(table.columns)}.",
                fix="Name one of these with --image-column or --label-column.",
                path=table.path,
            )
    return {**roles, "image": image or _IMAGE[0], **({"labels": labels} if labels else {})}


def _read(tree: Tree, table: LabelTable, roles: dict[str, str], name: str, vocabulary: tuple[str, ...]) -> Reading:
    columns = () if "labels" in roles else tuple(column for column in table.columns if column in vocabulary)
    if "labels" in roles:
        _require_declared(table, roles["labels"], vocabulary)
    split_known = roles.get("split") in table.columns
    films = []
    for line, cells in table.records:
        where = table.where(line)
        image = require_unmangled(inside(cells.get(roles["image"], ""), where=where, root=tree.root), where=where)
        place, found = _place(tree, image, PurePosixPath(name).parent)
        said = {role: cells.get(column, "") for role, column in roles.items()}
        films.append(
            Film(
                image=image,
                place=place,
                patient=require_unmangled(said.get("patient_id", ""), where=where),
                split=parse_split(said["split"], where=where) if split_known else "",
                answers=_columns(cells, columns, where)
                if columns
                else _joined(said.get("labels", ""), vocabulary, where),
                complete="labels" in roles,
                study=said.get("study", ""),
                view=said.get("view", ""),
                age=said.get("age", ""),
                sex=said.get("sex", ""),
                source=said.get("source", ""),
                found=found,
            )
        )
    require_distinct([film.image for film in films], table)
    used = {*roles.values(), *columns}
    ignored = tuple(column for column in table.columns if column not in used)
    return Reading(tuple(films), {name: table.sha256}, ignored)


def _joined(text: str, vocabulary: Sequence[str], where: str) -> Answers | None:
    names = parse_labels(text, vocabulary, where=where)
    return None if names is None else tuple((name, PRESENT) for name in dict.fromkeys(names))


def _columns(cells: dict[str, str], columns: Sequence[str], where: str) -> Answers | None:
    found = []
    for name in columns:
        cell = cells.get(name, "").lower()
        if cell not in _CELLS and cell not in _BLANK:
            raise InputDataError(
                f"{where}: {name} is {cells[name]!r}, expected 1, 0, -1 or blank.",
                fix="Write 1 for present, 0 for absent, -1 for uncertain, nothing for unknown.",
            )
        if cell in _CELLS:
            found.append((name, _CELLS[cell]))
    answers = dict(found)
    if any(value == PRESENT for name, value in found if name != NO_FINDING):
        answers.setdefault(NO_FINDING, ABSENT)
    return tuple(answers.items()) or None


def _require_declared(table: LabelTable, column: str, vocabulary: Sequence[str]) -> None:
    """Refuse labels that nobody declared, all of them at once, with how many lines bear each."""
    strangers: Counter[str] = Counter()
    first: dict[str, int] = {}
    used: set[str] = set()
    for line, cells in table.records:
        for word in filter(None, dict.fromkeys(word.strip() for word in cells.get(column, "").split("|"))):
            used.add(word)
            if word not in vocabulary:
                strangers[word] += 1
                first.setdefault(word, line)
    if len(strangers) > 1:
        told = ", ".join(f"{word!r} ({count:,} lines)" for word, count in strangers.most_common(_NAMED))
        more = f" and {len(strangers) - _NAMED} more" if len(strangers) > _NAMED else ""
        near = [(word, nearest(word, vocabulary)) for word in list(strangers)[:_NAMED]]
        hint = "; ".join(f"{word} is perhaps {known}" for word, known in near if known)
        raise InputDataError(
            f"{table.where(min(first.values()))}: {len(strangers)} findings were not declared: {told}{more}."
            f"{f' {hint}.' if hint else ''} Declared: {', '.join(vocabulary)}.",
            fix=f"Correct the names, or declare them all: --findings {','.join(sorted(used - {NO_FINDING}))}",
            path=table.path,
        )


def _place(tree: Tree, image: str, folder: PurePosixPath) -> tuple[Place, bool]:
    """Where an image of a table is: beside it, or in an archive beside it that is named as its folder or holds it."""
    for name in dict.fromkeys((image, (folder / image).as_posix())):
        if name in tree.files:
            return tree.files[name], True
        if not tree.packed and (tree.root / name).exists():
            return Place(tree.root / name), True
    place = tree.members.get(image) or tree.members.get(image.partition("/")[2])
    return (place, True) if place else (Place(tree.root / image), False)


def _first(names: Sequence[str], table: LabelTable) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _parse_jsonl(path: Path, data: bytes) -> LabelTable:
    """JSON Lines as a table of text: lists are joined by '|', null is blank."""
    records = []
    columns: dict[str, None] = {}
    for line, text in enumerate(decode_text(path, data).splitlines(), 1):
        if not text.strip():
            continue
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError) as err:
            raise InputDataError(f"{path}:{line}: no JSON: {err}.", fix="Correct the line.", path=path) from err
        if not isinstance(entry, dict):
            raise InputDataError(
                f"{path}:{line}: expected an object, found {type(entry).__name__}.",
                fix='Write lines such as {"file_name": "a.png", "labels": ["Effusion"]}.',
                path=path,
            )
        records.append((line, {name: _text(value) for name, value in entry.items()}))
        columns |= dict.fromkeys(entry)
    if not records:
        raise InputDataError(f"{path} lists no radiograph.", fix="Write one line for each image.", path=path)
    return LabelTable(path, sha256_bytes(data), tuple(columns), tuple(records))


def _text(value: object) -> str:
    if isinstance(value, list):
        return "|".join(_text(item) for item in value)
    return "" if value is None else str(value).strip()
