"""What a page is made of. Plain records: who makes a page builds them, `page.py` turns them into HTML.

Text is text: it is escaped when it is rendered, whatever it holds. Only `Figure.drawing` is markup, made by `plots.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from markupsafe import Markup

# Shown as a mark, a colour and the word itself, so that none is needed alone.
State = Literal["passed", "failed", "waived", "not measured", "left out", "open", "closed", "note", "warning", "error"]


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What it says.
        more: A second, smaller line.
        number: Whether it is set right-aligned, in figures of equal width.
        state: Makes the cell a mark with the word.
        items: A list to unfold beneath, say the names of images.
    """

    text: str
    more: str = ""
    number: bool = False
    state: State | None = None
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        caption: What the table holds.
        columns: Heads, one a column.
        rows: Cells, as many in each row as there are columns.
        notes: Terms and what they mean, set beneath the table.
        wide: Scrolls sideways where the page is narrow; else its rows become blocks there.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()
    wide: bool = False


@dataclass(frozen=True)
class Figure:
    """A drawing, how to read it, and its numbers as a table to unfold.

    Attributes:
        title: What it shows.
        reading: How to read it, a sentence or two; also what a screen reader says in place of the drawing.
        drawing: Markup made by `plots.py`.
        legend: Marks used (see `plots.MARKS`) and what they stand for.
        table: The same numbers; None if `reading` says them all.
    """

    kind: ClassVar[str] = "figure"
    title: str
    reading: str
    drawing: Markup
    legend: tuple[tuple[str, str], ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Figures:
    """Small figures side by side, read in the same way.

    Attributes:
        title: What they show together.
        reading: How to read them all; empty where each says it.
        figures: From left to right and top to bottom; each says only what sets it apart.
    """

    kind: ClassVar[str] = "figures"
    title: str
    reading: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Picture:
    """A raster image.

    Attributes:
        title: What it shows.
        text: The text alternative.
        png: The file.
    """

    kind: ClassVar[str] = "picture"
    title: str
    text: str
    png: bytes


@dataclass(frozen=True)
class Pictures:
    """Raster images side by side."""

    kind: ClassVar[str] = "pictures"
    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Text:
    """Paragraphs; a part between backticks is set as code."""

    kind: ClassVar[str] = "text"
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Points:
    """A list of sentences, each with a state or none."""

    kind: ClassVar[str] = "points"
    points: tuple[tuple[State | None, str], ...]
    title: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values, in two columns.

    Attributes:
        facts: Name and value; a hash (hexadecimal, 32 digits or more) is set as code.
        title: Head, if there is one.
    """

    kind: ClassVar[str] = "facts"
    facts: tuple[tuple[str, str], ...]
    title: str = ""


@dataclass(frozen=True)
class Fold:
    """Blocks that are folded away until asked for."""

    kind: ClassVar[str] = "fold"
    title: str
    blocks: tuple[Block, ...]


Block = Table | Figure | Figures | Picture | Pictures | Text | Points | Facts | Fold


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        slug: Its place in the page's address: lower-case letters and hyphens.
        title: Head.
        purpose: One sentence: the question it answers.
        blocks: What it holds.
        state: Shown beside the head and in the table of contents.
    """

    slug: str
    title: str
    purpose: str
    blocks: tuple[Block, ...]
    state: State | None = None


@dataclass(frozen=True)
class Verdict:
    """What a reader must know first.

    Attributes:
        state: `open` or `closed`; None where nothing was decided.
        title: The verdict, a sentence.
        blocks: What it rests on, and what would help.
    """

    state: State | None
    title: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: Of the document.
        kicker: What kind of document it is, a few words above the title.
        abstract: What this is about, a sentence or two beneath the title.
        verdict: Comes first.
        sections: In reading order.
        colophon: Last lines: what made it, from what.
    """

    title: str
    kicker: str
    abstract: str
    verdict: Verdict
    sections: tuple[Section, ...] = field(default=())
    colophon: tuple[str, ...] = ()
