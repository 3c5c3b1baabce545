"""Measures of a report as tables and as rows of a figure. What a measure is says `validation/measures.py`.

Nothing is taken for granted: keys may be missing, or new. A group of measures that nobody here knows is still a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from xrarchive.reporting.blocks import Cell, Table
from xrarchive.reporting.numbers import number, short, span
from xrarchive.reporting.plots import Dot, Row

Found = Mapping[str, Any]
Path = tuple[str, ...]

# What a measure may be held against, and how that is called beside the number.
BOUNDS = {
    "floor": "floor",
    "ceiling": "on real radiographs",
    "real": "on real radiographs",
    "control": "control",
}
# Keys of a measure that the table shows in a place of their own.
_KNOWN = {"value", "low", "high", "n", "note", "reason", "image_ids", "n_real", "n_patients", *BOUNDS}
# In the order in which tables show them, which the keys of a file cannot be trusted to have.
TITLES = {
    "auroc": "AUROC",
    "on_real": "AUROC on real radiographs",
    "asked_for": "images asked for",
    "transfer": "transfer",
    "dose": "dose",
    "exaggeration": "exaggeration",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "kid": "KID",
    "frechet": "Fréchet distance",
    "ratio": "over its floor",
    "vendi": "Vendi score",
    "co_occurrence": "distance of co-occurrence",
    "asked": "asked for",
    "real": "real films",
    "holdout": "held-out films",
    "synthetic": "synthetic images",
    "archive": "archive",
    "draws": "random draws",
    "nimg": "films shown",
    "shards": "damaged files",
    "decodable": "images that cannot be decoded",
    "labels": "unknown labels",
    "counts": "wrong counts",
    "intra_class": "likeness within a finding (MS-SSIM)",
    "rogan_gladen": "by calls",
    "score_mixture": "by scores",
    "with_10pct_label_noise": "by calls, 10 % of labels wrong",
    "soft": "by the soft label",
    "guide_gap": "guide – judge gap",
    "dcr": "distance to the closest film",
    "nndr": "nearest over second nearest",
    "share_nearer": "nearer to training films than to others",
    "copies": "copies of training films",
    "reidentification": "taken for a real patient",
    "power": "power to find a patient again",
    "trtr": "trained on real films",
    "tstr": "trained on the archive",
    "trts": "real films, tested on the archive",
    "real_synthetic": "trained on both",
    "guide": "the guide itself",
    "pseudo_real": "real films, labelled by the guide",
    "pseudo_draws": "random draws, labelled by the guide",
    "tstr_minus_pseudo_draws": "archive less labelled draws",
    "excess_retention": "excess retention",
}


def words(key: str) -> str:
    """A key as people say it."""
    return TITLES.get(key, key.replace("_", " "))


def in_order(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the keys of `TITLES` first, in their order; the others keep theirs."""
    known = [key for key in TITLES if key in tree]
    return {key: tree[key] for key in (*known, *(key for key in tree if key not in TITLES))}


def heading(*keys: str) -> str:
    """Keys from the general to the special, as the name of a row."""
    text = ", ".join(words(key) for key in keys)
    return text[:1].upper() + text[1:]


def is_measure(value: object) -> TypeGuard[Found]:
    """Whether something is a measure, taken or not."""
    return isinstance(value, Mapping) and "value" in value


def taken(value: object) -> TypeGuard[Found]:
    """Whether something is a measure that could be taken."""
    return is_measure(value) and isinstance(value["value"], int | float)


def leaves(tree: object, path: Path = ()) -> Iterator[tuple[Path, Found]]:
    """Every measure beneath, with its keys; those inside a measure come after it."""
    if not isinstance(tree, Mapping):
        return
    if is_measure(tree) and path:
        yield path, tree
    for key, inner in in_order(tree).items():
        if not (is_measure(tree) and key in BOUNDS):
            yield from leaves(inner, (*path, str(key)))


def group(tree: object, *keys: str) -> Mapping[str, Any]:
    """What stands beneath these keys; empty if nothing does."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}


def measure_table(caption: str, rows: Sequence[tuple[str, Found]]) -> Table:
    """A row for each measure: what it is and means, value, interval, N and what it is held against."""
    return Table(
        caption, ("measure", "value", "interval", "n", "held against"), tuple(_measure_row(*row) for row in rows)
    )


def matrix(caption: str, subject: str, cells: Mapping[str, Mapping[str, Found]]) -> Table:
    """Subjects down, measures across; beneath it what each column means, and why what is missing is missing.

    Args:
        caption: What the table holds.
        subject: Head of the first column.
        cells: By subject and key. Notes that differ only by the subject's name count as the same.
    """
    keys = list(dict.fromkeys(key for row in cells.values() for key in row))
    notes: dict[str, str] = {}
    for key in keys:
        found = [(name, row[key]) for name, row in cells.items() if key in row]
        texts = [_general(str(one["note"]), name) for name, one in found if one.get("note")]
        notes |= {heading(key): texts[0]} if texts else {}
    reasons: dict[str, list[str]] = {}
    for name, row in cells.items():
        for key, found_one in row.items():
            if not taken(found_one):
                reasons.setdefault(_general(str(found_one.get("reason", "")), name), []).append(
                    f"{name} ({words(key)})"
                )
    missing = [(f"Not measured: {_few(names)}", reason) for reason, names in reasons.items() if reason]
    rows = tuple((Cell(name), *(_short_cell(row.get(key)) for key in keys)) for name, row in cells.items())
    return Table(caption, (subject, *map(words, keys)), rows, (*notes.items(), *missing), wide=True)


def dot(found: object) -> Dot | None:
    """A measure as a dot with its whisker; None if it was not taken."""
    if not taken(found):
        return None
    return Dot(found["value"], found.get("low"), found.get("high"), found.get("n"))


def row(label: str, *founds: object, bound: str | None = None) -> Row:
    """Measures as one row of a figure, a series each; `bound` is the key of what the first is held against."""
    first = founds[0] if founds else None
    held = bound_of(first, bound) if bound else {}
    reasons = [str(found.get("reason", "")) for found in founds if is_measure(found)]
    return Row(
        label,
        tuple(map(dot, founds)),
        held.get("value"),
        held.get("low"),
        held.get("high"),
        next((reason for reason in reasons if reason), ""),
    )


def bound_of(found: object, name: str) -> Found:
    """What a measure is held against; `ceiling` has an older name. Empty if there is none."""
    names = ("ceiling", "real") if name == "ceiling" else (name,)
    return next((held for key in names if taken(held := group(found, key))), {})


def _measure_row(label: str, found: Found) -> tuple[Cell, ...]:
    if not taken(found):
        return Cell(label, str(found.get("reason", ""))), *(Cell("–", number=True),) * 3, Cell("–")
    ids = found.get("image_ids")
    extras = [f"{words(key)} {_plain(value)}" for key, value in found.items() if key not in _KNOWN and _shown(value)]
    more = " ".join([str(found.get("note", "")), *([f"({', '.join(extras)})"] if extras else [])])
    return (
        Cell(label, more, items=tuple(map(str, ids)) if isinstance(ids, list | tuple) else ()),
        Cell(number(found["value"]), number=True),
        Cell(span(found.get("low"), found.get("high")), number=True),
        Cell(number(found.get("n")), _sides(found), number=True),
        _bounds(found),
    )


def _bounds(found: Found) -> Cell:
    held = [(word, group(found, key)) for key, word in BOUNDS.items() if group(found, key)]
    texts = [f"{number(one['value'])} {word}" for word, one in held if taken(one)]
    notes = [str(one.get("note") or one.get("reason") or _of_floor(one)) for _, one in held]
    return Cell("; ".join(texts) or "–", " ".join(notes))


def _of_floor(floor: Found) -> str:
    """What a floor without a note says of itself."""
    if "synthetic" not in floor:
        return ""
    return f"Real against real at n = {floor.get('n')}, where the archive is at {number(floor['synthetic'])}."


def _sides(found: Found) -> str:
    if "n_real" not in found:
        return ""
    patients = found.get("n_patients")
    return f"{number(found['n_real'])} films" + (f", {number(patients)} patients" if patients is not None else "")


def _shown(value: object) -> bool:
    """Whether an extra of a measure is worth a reader's time: a plain value that is not nought."""
    return isinstance(value, str | int | float) and bool(value)


def _plain(value: object) -> str:
    return short(value) if isinstance(value, int | float) else str(value)


def _short_cell(found: Found | None) -> Cell:
    if not taken(found):
        return Cell("–", number=True)
    low, high = found.get("low"), found.get("high")
    return Cell(
        number(found["value"]), "" if low is None or high is None else f"{number(low)} – {number(high)}", number=True
    )


def _general(text: str, name: str) -> str:
    """A sentence about one subject as one about any."""
    return text.replace(name, "the finding") if name else text


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
