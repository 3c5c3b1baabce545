"""What a layout says of its radiographs, before anything is decoded, and what whoever ingests may choose.

`Film` is one line of a source in the source's own words; `Row` is the same in ours, as `assembling` makes it.

A label is 1 present, 0 absent, -1 uncertain (somebody looked and would not say), or None: nobody told. Only 1 and 0 are
ever learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xrarchive.radiographs.places import Place

PRESENT, ABSENT, UNCERTAIN = 1, 0, -1
Label = int | None
# The source's word for a finding, and what it says of it.
Answers = tuple[tuple[str, int], ...]

# What becomes of an uncertain label (Irvin et al., CheXpert, AAAI 2019: U-Ignore, U-Ones, U-Zeros).
UNCERTAIN_POLICIES = ("ignore", "ones", "zeros")
# When a finding that some of several readers saw is present.
READER_POLICIES = ("any", "majority", "all")
FRONTAL, ALL_VIEWS = "frontal", "all"


@dataclass(frozen=True)
class Choices:
    """What may be chosen about the reading of a source; nothing of it needs to be.

    Attributes:
        findings: Names that labels may hold; None = those usual for the layout.
        layout: Name of the layout; None = recognise it.
        uncertain: "ignore", "ones" or "zeros" for all findings, "Edema=ones" for one; the later word wins.
        readers: "any", "majority" or "all": how many of several readers must name a finding.
        views: "frontal" (PA, AP, and films whose view nobody knows), "all", or views by name, such as "PA".
        image_column: Column of a Hub dataset or table that holds the image; None = recognise it.
        label_column: Column that holds the labels; None = recognise it.
    """

    findings: tuple[str, ...] | None = None
    layout: str | None = None
    uncertain: tuple[str, ...] = ()
    readers: str = "majority"
    views: tuple[str, ...] = (FRONTAL,)
    image_column: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True)
class Film:
    """One radiograph of a source, in the source's words.

    Attributes:
        image: Its name in the set: the path inside the source folder, with '/'.
        place: Where to read it. It need not exist.
        patient: The source's id, or "".
        split: One of `SPLITS`, or "" where the source has none.
        answers: What the source says of each finding it names; None = nobody looked.
        complete: Whether a finding that is not named is absent.
        study: The source's id, or "".
        view: In the source's words.
        age: In the source's words.
        sex: In the source's words.
        source: Where it comes from, or "".
        found: Whether something is there.
        refused: Reason code and detail why it is not taken, or None.
    """

    image: str
    place: Place
    patient: str = ""
    split: str = ""
    answers: Answers | None = None
    complete: bool = False
    study: str = ""
    view: str = ""
    age: str = ""
    sex: str = ""
    source: str = ""
    found: bool = True
    refused: tuple[str, str] | None = None


@dataclass(frozen=True)
class Reading:
    """All films of a source, in the source's words, and what goes with them.

    Attributes:
        films: In the order of the source.
        tables: sha256 of every table read, by file name.
        ignored_columns: Columns that were not read.
        terms: Names of the terms that go with the layout.
        notes: What whoever ingests should know, as sentences.
        policies: Choices that had a say here, beyond those about uncertain labels.
    """

    films: tuple[Film, ...]
    tables: dict[str, str]
    ignored_columns: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    policies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """What a source says of one radiograph.

    Attributes:
        image: Its name in the set: the path inside the source folder, with '/'.
        place: Where to read it. It need not exist.
        patient: Never blank: a radiograph without patient id is a patient of its own, "image:<name>".
        split: One of `SPLITS`.
        labels: 1, 0, -1 or None for each finding of the listing's vocabulary.
        view: "PA", "AP", another upper-case word of the source, or "" for unknown.
        age: In years, None if unknown or impossible.
        sex: "M", "F" or "" for unknown.
        source: Where it comes from, in the source's words, or "".
        study: The source's id of the examination, or "".
    """

    image: str
    place: Place
    patient: str
    split: str
    labels: tuple[Label, ...]
    view: str
    age: int | None
    sex: str
    source: str
    study: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A radiograph of the source that is not taken, by a rule and not for damage.

    Attributes:
        image: Its name in the source.
        code: "view-lateral", "view-rotated", "view-other", "view-unknown", "excluded-by-source", "other-modality" or
            "other-body-part".
        detail: The source's own word.
    """

    image: str
    code: str
    detail: str


@dataclass(frozen=True)
class Listing:
    """All radiographs of a source.

    Attributes:
        layout: Name of the layout, one of `layouts.LAYOUTS`.
        rows: One per radiograph that is taken, in the source's order.
        ignored_columns: Columns of the tables that were not read.
        tables: sha256 of every table read, by file name.
        terms: Terms that go with the layout.
        vocabulary: Findings of the labels, `No Finding` first.
        why: What the layout was recognised by.
        left_out: Radiographs that are not taken.
        missing: Names of `rows` where nothing was found.
        unmapped: Labels of the source that the vocabulary does not hold, and how many films bear them.
        policies: What was decided where the source leaves a choice, for set.json; empty where it leaves none.
        notes: What whoever ingests should know, as sentences.
        private: Whether ids and ages may be those of a hospital's own files.
    """

    layout: str
    rows: tuple[Row, ...]
    ignored_columns: tuple[str, ...]
    tables: dict[str, str]
    terms: tuple[str, ...]
    vocabulary: tuple[str, ...]
    why: str = ""
    left_out: tuple[LeftOut, ...] = ()
    missing: tuple[str, ...] = ()
    unmapped: dict[str, int] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    private: bool = False
