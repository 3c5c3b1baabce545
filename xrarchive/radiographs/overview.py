"""What is in a radiograph set, and what to know before training on it.

In: an open set. Out: a mapping of plain values, as `xrarchive radiographs show --json` prints it, and a contact sheet.
"""

from __future__ import annotations

import csv
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import make_rng
from xrarchive.pixels import Pixels, area_average
from xrarchive.radiographs.likeness import Alike, find_alike
from xrarchive.radiographs.split import SPLITS
from xrarchive.radiographs.table import REJECTS_NAME, RadiographSet
from xrarchive.records import OnStatus, ignore_status

SHEET_COLUMNS = 8
_SHEET_PX = 128
_DECADE_YEARS = 10
_NAMED_PAIRS = 50


def describe_set(radiographs: RadiographSet, *, on_status: OnStatus = ignore_status) -> dict[str, Any]:
    """Counts, prevalence, co-occurrence, views, ages, sexes, rejects, lettering, and films that are there twice.

    Args:
        radiographs: The set.
        on_status: Told how many radiographs have been compared with all others.

    Returns:
        `findings`: for each, films `present`, `absent`, `uncertain` and `unknown`, `prevalence` (present of present and
        absent, None where nobody looked) and `by_split` (films present). `co_occurrence[i][j]`: of the films with
        finding i, the share with finding j; None where there is none. `duplicates`: see `_duplicates`.
        `patients_in_two_splits`: must be 0.
    """
    labels = radiographs.labels
    return {
        "set": str(radiographs.folder),
        "sha256": radiographs.sha256,
        "images": len(radiographs),
        "patients": len(np.unique(radiographs.patients)),
        "without_patient_id": int((radiographs.known_patients == "").sum()),
        "patients_in_two_splits": _torn(radiographs),
        "sizes_px": list(radiographs.sizes_px),
        "layout": radiographs.meta["layout"],
        "terms": list(radiographs.terms),
        "splits": {name: len(radiographs.rows(name)) for name in SPLITS if len(radiographs.rows(name))},
        "findings": _findings(radiographs, labels),
        "co_occurrence": _co_occurrence(labels == 1),
        "views": _counted(radiographs.views),
        "sexes": _counted(radiographs.sexes),
        "ages": _ages(radiographs.ages),
        "enlarged": radiographs.meta["enlarged"],
        "lettered": radiographs.meta.get("lettered", []),
        "rejects": _rejects(radiographs),
        "duplicates": _duplicates(radiographs, find_alike(radiographs, on_status=on_status)),
    }


def _torn(radiographs: RadiographSet) -> int:
    """Patients in more than one split."""
    pairs = set(zip(radiographs.patients.tolist(), radiographs.splits.tolist(), strict=True))
    return sum(count > 1 for count in Counter(patient for patient, _ in pairs).values())


def _findings(radiographs: RadiographSet, labels: npt.NDArray[np.float32]) -> dict[str, dict[str, Any]]:
    splits, uncertain = radiographs.splits, radiographs.uncertain
    found = {}
    for index, name in enumerate(radiographs.vocabulary):
        column = labels[:, index]
        present, absent = int((column == 1).sum()), int((column == 0).sum())
        unsure = int(uncertain[:, index].sum())
        found[name] = {
            "present": present,
            "absent": absent,
            "uncertain": unsure,
            "unknown": len(column) - present - absent - unsure,
            "prevalence": present / (present + absent) if present + absent else None,
            "by_split": {
                split: int((column[splits == split] == 1).sum()) for split in SPLITS if (splits == split).any()
            },
        }
    return found


def _co_occurrence(present: npt.NDArray[np.bool_]) -> list[list[float | None]]:
    both = present.astype(np.float64).T @ present
    alone = np.diag(both)
    return [
        [value / total if total else None for value in row] for row, total in zip(both.tolist(), alone, strict=True)
    ]


def _counted(words: npt.NDArray[np.str_]) -> dict[str, int]:
    return {word or "unknown": count for word, count in sorted(Counter(words.tolist()).items())}


def _ages(ages: npt.NDArray[np.float32]) -> dict[str, int]:
    """Films by decade, named by its first year."""
    known = ages[~np.isnan(ages)].astype(np.int64) // _DECADE_YEARS * _DECADE_YEARS
    unknown = {"unknown": int(np.isnan(ages).sum())} if np.isnan(ages).any() else {}
    return {str(decade): count for decade, count in sorted(Counter(known.tolist()).items())} | unknown


def _rejects(radiographs: RadiographSet) -> dict[str, int]:
    """Files that are not in the set, by code; sets of before the codes have words instead."""
    with (radiographs.folder / REJECTS_NAME).open(newline="", encoding="utf-8") as stream:
        counted = Counter(row.get("code") or row["reason"] for row in csv.DictReader(stream))
    return dict(counted.most_common())


def _duplicates(radiographs: RadiographSet, pairs: list[Alike]) -> dict[str, Any]:
    """How many pairs show one film, of these how many of two patients and in two splits, and the first of the worst."""
    patients, splits = radiographs.known_patients, radiographs.splits
    names = radiographs.table["image"]

    def told(pair: Alike) -> dict[str, Any]:
        one, other = pair.first, pair.second
        known = bool(patients[one] and patients[other])
        return {
            "images": [names[one].as_py(), names[other].as_py()],
            "equal": pair.equal,
            "bits": pair.bits,
            "same_patient": bool(patients[one] == patients[other]) if known else None,
            "splits": [str(splits[one]), str(splits[other])],
        }

    listed = sorted((told(pair) for pair in pairs), key=_harm)
    return {
        "equal": sum(one["equal"] for one in listed),
        "near": sum(not one["equal"] for one in listed),
        "of_two_patients": sum(one["same_patient"] is False for one in listed),
        "in_two_splits": sum(one["splits"][0] != one["splits"][1] for one in listed),
        "pairs": listed[:_NAMED_PAIRS],
    }


def _harm(pair: dict[str, Any]) -> tuple[bool, bool, int, list[str]]:
    return pair["splits"][0] == pair["splits"][1], pair["same_patient"] is not False, pair["bits"], pair["images"]


def contact_sheet(radiographs: RadiographSet, *, seed: int = 0) -> tuple[Pixels, list[str]]:
    """A row of films for each finding, drawn at random, and the findings from top to bottom.

    Args:
        radiographs: The set.
        seed: Another seed draws others.

    Returns:
        uint8 [N, px, px], `SHEET_COLUMNS` for each finding, black where there are fewer; and the findings.
    """
    sizes = [px for px in radiographs.sizes_px if px <= _SHEET_PX]
    rows_of = {
        name: np.flatnonzero(radiographs.labels[:, index] == 1) for index, name in enumerate(radiographs.vocabulary)
    }
    shown = {name: rows for name, rows in rows_of.items() if rows.size}
    px = sizes[0] if sizes else _SHEET_PX
    tiles = np.zeros((len(shown), SHEET_COLUMNS, px, px), np.uint8)
    for line, (name, rows) in enumerate(shown.items()):
        rng = make_rng(seed, "contact sheet", name)
        drawn = np.sort(rng.permutation(rows)[:SHEET_COLUMNS])
        films = radiographs.read(drawn, px if sizes else radiographs.size_px)
        tiles[line, : len(drawn)] = films if sizes else np.rint(area_average(films, px)).astype(np.uint8)
    return tiles.reshape(-1, px, px), list(shown)
