"""VinDr-CXR, of which every film was read by three radiologists of seventeen.

From PhysioNet: annotations/image_labels_train.csv (a line a film and reader, a column of 0 and 1 a finding) and
image_labels_test.csv (a line a film: five readers agreed). From Kaggle: train.csv, a line for each box, with image_id,
class_name, rad_id; the readers looked for its fourteen findings, and what has no box is absent.

How many readers must name a finding is a choice: any, majority (more than half) or all. `No Finding` is present where
the majority says so, or, under the other two, where all do: so it never stands beside a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from xrarchive.errors import InputDataError, SettingsError
from xrarchive.radiographs.csv_table import LabelTable, require_unmangled
from xrarchive.radiographs.layouts.names import VINDR_KAGGLE
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, READER_POLICIES, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree
from xrarchive.radiographs.split import OWN_PATIENT, carve_validation

NAME, KAGGLE_NAME = "vindr-cxr", "vindr-cxr-kaggle"
_TERMS = "physionet-credentialed"
_NOTHING = "No finding"
_PHYSIONET, _KAGGLE = {"image_id", _NOTHING}, {"image_id", "class_name", "rad_id"}
_CELLS = {"1": True, "1.0": True, "0": False, "0.0": False, "": False}
# Words of each reader of a film.
_Readers = dict[str, set[str]]


def recognise(tree: Tree) -> str | None:
    """The names of PhysioNet's tables of labels, with ", " between."""
    return ", ".join(name for name, columns in tree.tables.items() if set(columns) >= _PHYSIONET) or None


def recognise_kaggle(tree: Tree) -> str | None:
    """The name of Kaggle's table of boxes."""
    return next((name for name, columns in tree.tables.items() if set(columns) >= _KAGGLE), None)


def read(tree: Tree, choices: Choices) -> Reading:
    """Every film of PhysioNet's tables once, with what enough readers named."""
    names = str(recognise(tree)).split(", ")
    tested = any(_is_test(name) for name in names)
    films, tables = [], {}
    for name in names:
        table = _physionet_table(tree, name)
        findings = tuple(column for column in table.columns if column not in ("image_id", "rad_id", ""))
        split = "test" if _is_test(name) else "train" if tested else ""
        films += _films(tree, _readers_by_column(table, findings), findings, split, choices)
        tables[name] = table.sha256
    return _reading(films, tables, choices)


def read_kaggle(tree: Tree, choices: Choices) -> Reading:
    """Every film of Kaggle's table once, with what enough readers named."""
    name = str(recognise_kaggle(tree))
    table = tree.table(name, ("image_id", "class_name", "rad_id"))
    readers: dict[str, _Readers] = {}
    for line, cells in table.records:
        image_id = require_unmangled(cells["image_id"], where=table.where(line))
        readers.setdefault(image_id, {}).setdefault(cells["rad_id"], set()).add(cells["class_name"])
    films = _films(tree, readers, tuple(VINDR_KAGGLE.table), "", choices)
    return _reading(films, {name: table.sha256}, choices)


def _reading(films: list[Film], tables: dict[str, str], choices: Choices) -> Reading:
    note = f"Of several readers {choices.readers} decides (--readers); patients are unknown, each film is its own."
    return Reading(tuple(films), tables, (), (_TERMS,), (note,), {"readers": choices.readers})


def _films(
    tree: Tree, films: dict[str, _Readers], findings: tuple[str, ...], split: str, choices: Choices
) -> list[Film]:
    """Films in order, `split` "train" being cut into train and validation."""
    if choices.readers not in READER_POLICIES:
        raise SettingsError(
            f"Unknown policy {choices.readers!r} for several readers: expected {', '.join(READER_POLICIES)}.",
            fix="The usual choice is --readers majority.",
        )
    find = tree.find_images()
    done = []
    for image_id, said in films.items():
        image, place, found = find(f"{split or 'train'}/{image_id}.dicom")
        carved = carve_validation(f"{OWN_PATIENT}{image}") if split == "train" else split
        done.append(
            Film(image, place, "", carved, vote(said.values(), findings, choices.readers), source=NAME, found=found)
        )
    return done


def vote(readers: Iterable[set[str]], findings: Iterable[str], policy: str) -> Answers:
    """Of each finding whether it is present by `policy`, and of each other word that was named.

    Args:
        readers: Words of each reader.
        findings: What they looked for.
        policy: "any", "majority" or "all".
    """
    said = list(readers)
    votes = Counter(word for words in said for word in words)
    needed = {"any": 1, "majority": len(said) // 2 + 1, "all": len(said)}[policy]
    least = {_NOTHING: len(said)} if policy == "any" else {}
    words = dict.fromkeys((*findings, *sorted(votes)))
    return tuple((word, PRESENT if votes[word] >= least.get(word, needed) else ABSENT) for word in words)


def _is_test(name: str) -> bool:
    return name.rpartition("/")[2].startswith(("image_labels_test", "test"))


def _physionet_table(tree: Tree, name: str) -> LabelTable:
    columns = tree.tables[name]
    return tree.table(name, ("image_id", _NOTHING), columns)


def _readers_by_column(table: LabelTable, findings: tuple[str, ...]) -> dict[str, _Readers]:
    """The words of each reader by film."""
    films: dict[str, _Readers] = {}
    for line, cells in table.records:
        where = table.where(line)
        readers = films.setdefault(require_unmangled(cells["image_id"], where=where), {})
        if (reader := cells.get("rad_id", "")) in readers:
            raise InputDataError(
                f"{where}: this reader's line for {cells['image_id']!r} stands there twice.",
                fix="Take the table as PhysioNet published it.",
            )
        readers[reader] = set(_named(cells, findings, where))
    return films


def _named(cells: dict[str, str], columns: tuple[str, ...], where: str) -> list[str]:
    for name in columns:
        if cells.get(name, "") not in _CELLS:
            raise InputDataError(
                f"{where}: {name} is {cells[name]!r}, expected 0 or 1.", fix="Take the table as PhysioNet published it."
            )
    return [name for name in columns if _CELLS[cells.get(name, "")]]
