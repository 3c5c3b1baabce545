"""Integrity of what is validated: the files as the manifest has them, and no image twice."""

from __future__ import annotations

from xrarchive.archive.manifest import REPORT_NAME, VALIDATION_NAME
from xrarchive.archive.reader import CheckReport
from xrarchive.validation.duplicates import measure_repeats
from xrarchive.validation.measures import Measure, measure, not_measured
from xrarchive.validation.subject import Subject

# Named in the report; `xrarchive check` names all.
LISTED_PROBLEMS = 20

# What an earlier validation left, and this one writes anew.
_REPLACED = (VALIDATION_NAME, REPORT_NAME)
_NO_ARCHIVE = "Only an archive has a manifest to hold its files against."


def measure_integrity(subject: Subject, checked: CheckReport | None) -> dict[str, Measure]:
    """`files` (what `check` found wrong), `exact_duplicates` and `near_duplicates`.

    Args:
        subject: What is validated.
        checked: The outcome of `check --read-data --decode`; None for a folder without a manifest.
    """
    repeats = measure_repeats(subject.images.image_ids, subject.images.pixels)
    return {"files": _files(checked), "exact_duplicates": repeats["exact"], "near_duplicates": repeats["near"]}


def _files(checked: CheckReport | None) -> Measure:
    if checked is None:
        return not_measured(_NO_ARCHIVE)
    problems = [one for one in checked.problems if one.path not in _REPLACED]
    return measure(
        len(problems),
        n=checked.files,
        note="What is wrong with the files: hashes, schemas, rows, ids, label names, pixels of every image, checksums.",
        extra={"problems": [f"{one.path}: {one.message}" for one in problems[:LISTED_PROBLEMS]]},
    )
