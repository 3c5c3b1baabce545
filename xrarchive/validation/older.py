"""Reports of older versions in the form of the newest: readers then know one form only.

What an older report does not say stays unsaid: no gate is made up, and parts it lacks are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FIRST, _SECOND = "xrarchive.validation/1", "xrarchive.validation/2"
_DUPLICATES = {"exact": "exact_duplicates", "near": "near_duplicates"}


def as_newest(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """`report` as version 2 would say it; one of version 2 or of no known version as it is."""
    if report.get("schema") != _FIRST:
        return report
    duplicates = report["duplicates"]
    by = report["labels_by"]
    labels = {
        "by": by,
        "raters": report["raters"],
        "findings": report["labels"],
        **({"referee": report["labels_referee"]} if by != "referee" and "labels_referee" in report else {}),
        "nuisances": report["nuisances"],
    }
    return {
        "schema": _SECOND,
        "manifest_sha256": report["manifest_sha256"],
        "subject": {"kind": "archive", "name": "", "version": None, "images": report["images"]},
        "measured": ["integrity", "fidelity", "labels", "privacy"],
        "settings": report["settings"],
        "reference": report["reference"],
        "integrity": {new: duplicates[old] for old, new in _DUPLICATES.items()},
        "fidelity": report["fidelity"],
        "labels": labels,
        "privacy": {"copies": duplicates["copies"]},
        "problems": report["problems"],
    }
