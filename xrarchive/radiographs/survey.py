"""What an ingest would take from a source, before anything is written: ``xrarchive ingest SRC --dry-run``.

In: a source and what may be chosen about it. Out: a `Survey` of counts. Reads tables, names of files and headers of
DICOM files; no pixel is decoded, so a damaged image is not found here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xrarchive.radiographs.layouts import Choices, Listing, read_listing
from xrarchive.radiographs.layouts.rows import ABSENT, PRESENT, UNCERTAIN, Label
from xrarchive.radiographs.split import SPLITS

_NAMED_MISSING = 10
_WORDS: dict[Label, str] = {PRESENT: "present", ABSENT: "absent", UNCERTAIN: "uncertain", None: "unknown"}


@dataclass(frozen=True)
class Survey:
    """What an ingest would take.

    Attributes:
        source: As it was given.
        layout: Which layout it has.
        why: What that was recognised by.
        listed: Radiographs of the source.
        images: Those that would be taken, missing ones among them.
        patients: Distinct patients of these.
        findings: For each finding how many are present, absent, uncertain, unknown.
        by_split: For each split that is used, how many radiographs show each finding.
        splits: Radiographs per split.
        views: Radiographs per view, "" for unknown.
        left_out: Radiographs that would not be taken, by reason code.
        missing: How many of `images` are not there.
        first_missing: The first few of them.
        unmapped: Labels that the vocabulary does not hold, and how many radiographs bear each.
        policies: What decides where the source leaves a choice.
        ignored_columns: Columns that are not read.
        terms: Terms that go with the layout.
        notes: What else should be known.
    """

    source: str
    layout: str
    why: str
    listed: int
    images: int
    patients: int
    findings: dict[str, dict[str, int]]
    by_split: dict[str, dict[str, int]]
    splits: dict[str, int]
    views: dict[str, int]
    left_out: dict[str, int]
    missing: int
    first_missing: list[str]
    unmapped: dict[str, int]
    policies: dict[str, str]
    ignored_columns: list[str]
    terms: list[str]
    notes: list[str]


def survey(source: Path, *, findings: Sequence[str] | None = None, choices: Choices | None = None) -> Survey:
    """Look at a source without writing anything; arguments and errors are those of `ingest`."""
    listing = read_listing(Path(source), findings, choices)
    splits = Counter(row.split for row in listing.rows)
    return Survey(
        source=str(source),
        layout=listing.layout,
        why=listing.why,
        listed=len(listing.rows) + len(listing.left_out),
        images=len(listing.rows),
        patients=len({row.patient for row in listing.rows}),
        findings=_count_labels(listing),
        by_split=_count_by_split(listing),
        splits={name: splits[name] for name in SPLITS if splits[name]},
        views=dict(Counter(row.view for row in listing.rows).most_common()),
        left_out=dict(Counter(one.code for one in listing.left_out).most_common()),
        missing=len(listing.missing),
        first_missing=list(listing.missing[:_NAMED_MISSING]),
        unmapped=listing.unmapped,
        policies=listing.policies,
        ignored_columns=list(listing.ignored_columns),
        terms=list(listing.terms),
        notes=list(listing.notes),
    )


def _count_labels(listing: Listing) -> dict[str, dict[str, int]]:
    found = {}
    for index, name in enumerate(listing.vocabulary):
        counts = Counter(row.labels[index] for row in listing.rows)
        found[name] = {word: counts[label] for label, word in _WORDS.items()}
    return found


def _count_by_split(listing: Listing) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for row in listing.rows:
        shown = (name for name, label in zip(listing.vocabulary, row.labels, strict=True) if label == PRESENT)
        counts.setdefault(row.split, Counter()).update(shown)
    return {split: {name: counts[split][name] for name in listing.vocabulary} for split in SPLITS if split in counts}
