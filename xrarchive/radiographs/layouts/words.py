"""Words of tables and DICOM headers in our spelling: ages, sexes, views. By whole words, never by parts of them."""

from __future__ import annotations

import re

# The first edition of NIH ChestX-ray14 has ages up to 414, RSNA's headers 155; nobody photographed there was older.
_MAX_AGE_YEARS = 110
_AGE = re.compile(r"(\d{1,3})(?:\.0)?\s*([YMWDymwd]?)")

FRONTAL_VIEWS = ("PA", "AP")
# Reason codes of films that are not upright frontal ones.
LATERAL, ROTATED, OTHER, UNKNOWN = "view-lateral", "view-rotated", "view-other", "view-unknown"

_PA = ("PA", "POSTEROANTERIOR", "POSTERO-ANTERIOR", "FRONTAL PA")
# Lying or sitting up, the rays come from the front: what is called AP throughout the field.
_AP = ("AP", "ANTEROPOSTERIOR", "ANTERO-POSTERIOR", "AP_HORIZONTAL", "AP SUPINE", "AP ERECT", "FRONTAL AP")
_LATERAL = ("L", "LL", "RL", "LAT", "LATERAL", "LEFT LATERAL", "RIGHT LATERAL", "LARGE LATERAL", "XTABLE LATERAL")
# Decubitus, oblique and lordotic projections of CheXpert, MIMIC-CXR, PadChest and of DICOM PS3.3 C.8.11.7.1.1.
_ROTATED: tuple[str, ...] = (
    "LLD",
    "RLD",
    "LLO",
    "RLO",
    "LPO",
    "RPO",
    "LAO",
    "RAO",
    "AP LLD",
    "AP RLD",
    "PA LLD",
    "PA RLD",
    "OBLICUA",
)
_ROTATED += ("OBLIQUE", "LORDOTIC", "AP LORDOTIC", "AP AXIAL", "PA AXIAL", "AXIAL", "DECUBITUS")
_OTHER = ("COSTAL", "EXCLUDE", "SWIMMERS")
_UNKNOWN = ("", "UNK", "UNKNOWN", "GENERICA", "NAN", "NONE", "ANTERO")

_VIEWS = {
    **dict.fromkeys(_PA, ("PA", "")),
    **dict.fromkeys(_AP, ("AP", "")),
    **dict.fromkeys(_LATERAL, ("LATERAL", LATERAL)),
    **{word: (word, ROTATED) for word in _ROTATED},
    **{word: (word, OTHER) for word in _OTHER},
    **dict.fromkeys(_UNKNOWN, ("", UNKNOWN)),
}


def parse_view(word: str) -> tuple[str, str]:
    """Our word for a view and why it is no upright frontal one ("" if it is).

    A word that no table holds stays as it is, in upper case, and counts as unknown.
    """
    upper = " ".join(word.upper().split())
    return _VIEWS.get(upper, (upper, UNKNOWN))


def parse_age(text: str) -> int | None:
    """Years from "57", "57.0", "058Y" or DICOM's months, weeks and days; None for anything else or above 110."""
    match = _AGE.fullmatch(text)
    if not match:
        return None
    years = int(match[1]) // {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}[match[2].upper()]
    return years if years <= _MAX_AGE_YEARS else None


def parse_sex(text: str) -> str:
    """Give "M", "F" or "" for anything else."""
    word = text.upper()
    return word[0] if word in {"M", "F", "MALE", "FEMALE"} else ""
