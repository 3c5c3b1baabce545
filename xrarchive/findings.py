"""Radiological findings: their names, their order and how a name is checked.

A *vocabulary* is a tuple of finding names whose order is frozen: position = class index in every file we write.
It belongs to the radiograph set and travels with classifiers and archives. `No Finding` is always part of it, at
index 0. Labels are 1 (present), 0 (absent) or unknown, as in torchxrayvision; unknown is never read as absent.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from xrarchive.errors import InputDataError

NO_FINDING = "No Finding"

# The 14 labels of NIH ChestX-ray14 in the order of Wang et al., CVPR 2017, extended in 2017.
NIH_FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NIH_VOCABULARY = (NO_FINDING, *NIH_FINDINGS)

DECLARE_FIX = "Correct the name, or declare it with --findings when the radiographs are ingested."

# Each finding is a column of the archive beside these.
_COLUMNS = ("image", "image_id", "label", "findings", "soft_label", "synthetic", "pixels_sha256")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,62}")


def make_vocabulary(names: Iterable[str]) -> tuple[str, ...]:
    """Order declared finding names into a vocabulary, `No Finding` first.

    Raises:
        InputDataError: If a name cannot serve as a column name, or is declared twice (up to '_' for a space).
    """
    declared = [name.strip() for name in names]
    for name in declared:
        if not _NAME.fullmatch(name) or name in _COLUMNS or name.startswith(("guide_", "judge_")):
            raise InputDataError(
                f"The finding name {name!r} cannot be used: letters, digits, spaces, '_' and '-' are allowed, "
                f"a letter first, 63 characters at most, and no name of an archive's other columns "
                f"({', '.join(_COLUMNS)}, guide_…, judge_…).",
                fix="Rename the finding in labels.csv and in --findings.",
            )
    rest = [name for name in declared if name != NO_FINDING]
    keys = [name.replace(" ", "_") for name in (NO_FINDING, *rest)]  # as in image ids
    doubled = sorted(name for name in set(rest) if keys.count(name.replace(" ", "_")) > 1)
    if doubled:
        raise InputDataError(f"Declared twice: {', '.join(doubled)}.", fix="Name each finding once in --findings.")
    return (NO_FINDING, *rest)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None if none is close (difflib ratio below 0.6, case ignored)."""
    by_lower = {item.lower(): item for item in known}
    hits = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[hits[0]] if hits else None


def require_known(names: Iterable[str], vocabulary: Sequence[str], *, where: str, fix: str = DECLARE_FIX) -> None:
    """Refuse names outside `vocabulary`.

    Raises:
        InputDataError: Naming the first unknown finding, where it stood and the nearest declared one; `fix` says what
            to do.
    """
    for name in names:
        if name not in vocabulary:
            near = nearest(name, vocabulary)
            hint = f" The nearest declared one is {near!r}." if near else ""
            raise InputDataError(
                f"{where}: the finding {name!r} was not declared.{hint} Declared: {', '.join(vocabulary)}.",
                fix=fix,
            )
