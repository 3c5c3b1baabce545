"""Numbers in, figures out: inline SVG that needs no script, no font and no file.

Every drawing is as wide as the page leaves it: places along the axis are percentages, heights and marks are pixels, so
that letters keep their size on a phone. Colours are classes of the page's style, for light and dark. Each figure brings
its numbers as a table.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from xrarchive.reporting.blocks import Cell, Figure, Table
from xrarchive.reporting.numbers import number, short, span, without_controls

# Classes of the style sheet, and the marks a legend can show: series of dots and of histograms in order, what dots are
# held against, a line through all.
MARKS = ("s0", "s1", "s2", "area", "l1", "l2", "bound", "line")
SERIES = 3

_ROW_PX, _MORE_PX = 26, 14
_AXIS_PX = 22
# Of the axis, left free at both ends so that marks and their letters are whole.
_INSET = 3.0
# Intervals may reach beyond the values by this share of their range; longer ones end in an arrow.
_REACH = 2.0
# An axis that begins nearer to 0 than this share of its length begins at 0.
_NEAR_NOUGHT = 0.25
_STEPS = 10
_CELL_PX, _LETTER_PX = 30, 6.8
_HISTOGRAM_PX, _CURVE_PX = 170, 90


@dataclass(frozen=True)
class Dot:
    """A value with its interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of `dots`.

    Attributes:
        label: What was measured.
        dots: One for each series, None where there is none.
        bound: What they are held against, drawn as a bar across.
        low: Lower end of the bound's interval, if it has one.
        high: Upper end.
        reason: Why there is no dot.
    """

    label: str
    dots: tuple[Dot | None, ...]
    bound: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Axis:
    """Where numbers lie on the page: from `low` to `high`, with `ticks` among them."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Percent from the left, clipped to the axis."""
        share = (value - self.low) / (self.high - self.low)
        return round(_INSET + (100 - 2 * _INSET) * min(1.0, max(0.0, share)), 2)


def make_axis(values: Iterable[float], *, spans: Iterable[float] = (), count: int = 5) -> Axis:
    """An axis over all `values`, and over `spans` as far as they do not go far beyond, with about `count` round ticks.

    Args:
        values: To be seen whole.
        spans: Ends of intervals.
        count: Ticks wanted.
    """
    inside = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(inside), max(inside)
    reach = _REACH * (high - low or abs(high) or 1.0)
    wide = [value for value in spans if math.isfinite(value)]
    low, high = (max(low - reach, min([low, *wide])), min(high + reach, max([high, *wide])))
    if low == high:
        low, high = low - reach / 2, high + reach / 2
    if 0 < low < _NEAR_NOUGHT * (high - low):
        low = 0.0
    return Axis(low, high, _ticks_between(low, high, count))


def dots(
    title: str,
    reading: str,
    rows: Sequence[Row],
    *,
    series: Sequence[str] = ("archive",),
    bound: str = "",
    line: tuple[float, str] | None = None,
) -> Figure:
    """Rows of dots with whiskers, a mark for what each is held against, and a line through all.

    Args:
        title: What it shows.
        reading: How to read it.
        rows: At most `SERIES` dots each.
        series: Names of the dots, in their order.
        bound: Name of the mark; empty if no row has one.
        line: A value that means something for all rows, and what it means.

    Raises:
        ValueError: If a row has another number of dots than there are series, or there are too many.
    """
    if len(series) > SERIES or any(len(row.dots) != len(series) for row in rows):
        raise ValueError(f"each row needs {len(series)} dots, {SERIES} at most")
    axis = _axis_of(rows, line)
    height = _ROW_PX + _MORE_PX * (len(series) - 1)
    drawn = Markup("").join(
        Markup(
            '<div class="row"><span class="name">{}</span><svg height="{}" aria-hidden="true">{}</svg></div>'
        ).format(without_controls(row.label), height, _row_marks(row, axis, height, line))
        for row in rows
    )
    foot = Markup('<div class="row foot"><span class="name"></span>{}</div>').format(_ticks(axis))
    legend = [(f"s{index}", name) for index, name in enumerate(series) if len(series) > 1 or bound or line]
    legend += [("bound", bound)] if bound else []
    legend += [("line", f"{line[1]} ({short(line[0])})")] if line else []
    drawing = Markup('<div class="dots">{}{}</div>').format(drawn, foot)
    return Figure(title, reading, drawing, tuple(legend), _dots_table(title, rows, series, bound))


def heat_map(
    title: str, reading: str, names: Sequence[str], shares: Sequence[Sequence[float | None]], *, top: float
) -> Figure:
    """A square of cells, darker (on dark pages lighter) for more; `top` is where the scale ends.

    Args:
        title: What it shows.
        reading: How to read it.
        names: Of rows and columns [K].
        shares: [K][K], 0 or more; None where nothing is known.
        top: Cells at or above have the last colour; above 0.
    """
    left = 8 + _LETTER_PX * max((len(name) for name in names), default=0)
    size = _CELL_PX * len(names)
    percent = top <= 1
    parts = []
    for i, (name, cells) in enumerate(zip(names, shares, strict=True)):
        middle = left + _CELL_PX * (i + 0.5)
        top_label = '<text class="head" transform="translate({} {}) rotate(-60)">{}</text>'
        parts.append(Markup(top_label).format(_px(middle + 4), _px(left - 6), without_controls(name)))
        side = '<text class="side" x="{}" y="{}">{}</text>'
        parts.append(Markup(side).format(_px(left - 8), _px(middle + 4), without_controls(name)))
        parts += [
            _heat_cell(share, left + _CELL_PX * j, left + _CELL_PX * i, top, percent) for j, share in enumerate(cells)
        ]
    # Slanted heads reach beyond the last column by half their length.
    width, height = left + size + left / 2, left + size + 4
    drawing = Markup(
        '<div class="heat"><svg width="{0}" height="{1}" viewBox="0 0 {0} {1}" aria-hidden="true">{2}</svg></div>'
    )
    table = Table(
        title,
        ("", *names),
        tuple(
            (Cell(name), *(_share_cell(share) for share in cells)) for name, cells in zip(names, shares, strict=True)
        ),
        wide=True,
    )
    return Figure(title, reading, drawing.format(_px(width), _px(height), Markup("").join(parts)), table=table)


def histogram(title: str, reading: str, edges: Sequence[float], counts: Mapping[str, Sequence[float]]) -> Figure:
    """Shares of one or more series between shared edges: the first filled, the others as lines over it.

    Args:
        title: What it shows.
        reading: How to read it.
        edges: [B + 1], ascending.
        counts: By name [B]; at most `SERIES`. Each is drawn as shares of its own sum.

    Raises:
        ValueError: If counts and edges do not belong together.
    """
    bins = len(edges) - 1
    if len(counts) > SERIES or any(len(values) != bins for values in counts.values()):
        raise ValueError(f"expected {bins} counts in each of at most {SERIES} series")
    shares = {name: _shares(values) for name, values in counts.items()}
    peak = max((max(values, default=0.0) for values in shares.values()), default=0.0) or 1.0
    low, width = edges[0], edges[-1] - edges[0]
    places = [100 * (edge - low) / width for edge in edges]
    shapes = [
        _steps(index, places, [100 - 96 * share / peak for share in values])
        for index, values in enumerate(shares.values())
    ]
    drawing = Markup('<div class="plot">{}{}</div>').format(
        _stretched(_HISTOGRAM_PX, Markup("").join(shapes)),
        _ticks(Axis(edges[0], edges[-1], _ticks_between(edges[0], edges[-1])), inset=False),
    )
    rows = tuple(
        (
            Cell(f"{short(a)} to {short(b)}"),
            *(
                Cell(f"{number(values[at])}", f"{100 * shares[name][at]:.1f} %", number=True)
                for name, values in counts.items()
            ),
        )
        for at, (a, b) in enumerate(itertools.pairwise(edges))
    )
    legend = tuple(
        (("area", "l1", "l2")[index], f"{name}, n = {short(sum(values))}")
        for index, (name, values) in enumerate(counts.items())
    )
    return Figure(title, reading, drawing, legend, Table(title, ("between", *counts), rows, wide=True))


def curve(title: str, reading: str, values: Sequence[float], labels: Sequence[str]) -> Figure:
    """A line through values at even steps, from 0 or below up; `labels` name the steps in the table.

    Raises:
        ValueError: If there is not one label for each of two values or more.
    """
    if len(values) < 2 or len(labels) != len(values):
        raise ValueError(f"expected a label for each of two or more values, got {len(values)} and {len(labels)}")
    low, high = min(0.0, *values), max(values)
    height = high - low or 1.0
    points = [(100 * at / (len(values) - 1), 96 - 92 * (value - low) / height) for at, value in enumerate(values)]
    path = " ".join(f"{_px(x)},{_px(y)}" for x, y in points)
    line = Markup('<polyline class="l0" points="{}"/>').format(path)
    marks = Markup("").join(
        Markup('<circle class="s0" cx="{}%" cy="{}%" r="3.5"/>').format(_px(x), _px(y)) for x, y in points
    )
    drawing = Markup('<div class="plot curve">{}</div>').format(_stretched(_CURVE_PX, line, over=marks))
    rows = tuple((Cell(label), Cell(number(value), number=True)) for label, value in zip(labels, values, strict=True))
    return Figure(title, reading, drawing, (), Table(title, ("step", "value"), rows, wide=True))


def _axis_of(rows: Sequence[Row], line: tuple[float, str] | None) -> Axis:
    marks = [dot for row in rows for dot in row.dots if dot is not None]
    values = [dot.value for dot in marks] + [row.bound for row in rows if row.bound is not None]
    spans = [end for dot in marks for end in (dot.low, dot.high) if end is not None]
    spans += [end for row in rows for end in (row.low, row.high) if end is not None and row.bound is not None]
    return make_axis([*values, *([line[0]] if line else [])], spans=spans)


def _row_marks(row: Row, axis: Axis, height: int, line: tuple[float, str] | None) -> Markup:
    parts = [_vertical("grid", axis.place(tick), 0, height) for tick in axis.ticks]
    if line:
        parts.append(_vertical("line", axis.place(line[0]), 0, height))
    if row.bound is not None:
        if row.low is not None and row.high is not None:
            left, right = axis.place(row.low), axis.place(row.high)
            band = '<rect class="band" x="{}%" y="4" width="{}%" height="{}"/>'
            parts.append(Markup(band).format(left, round(right - left, 2), height - 8))
        parts.append(_vertical("bound", axis.place(row.bound), 4, height - 4))
    for index, dot in enumerate(row.dots):
        if dot is not None:
            parts.append(_whisker(dot, axis, _ROW_PX // 2 + _MORE_PX * index, f"s{index}", f"l{index}"))
    if row.reason and not any(row.dots):
        parts.append(Markup('<text class="none" x="{}%" y="{}">not measured</text>').format(_INSET, height // 2 + 4))
    return Markup("").join(parts)


def _whisker(dot: Dot, axis: Axis, y: int, mark: str, stroke: str) -> Markup:
    parts = []
    if dot.low is not None and dot.high is not None:
        left, right = axis.place(dot.low), axis.place(dot.high)
        parts.append(Markup('<line class="{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(stroke, left, right, y, y))
        parts += [
            _end(stroke, place, y, out) for place, out in ((left, dot.low < axis.low), (right, dot.high > axis.high))
        ]
    place = axis.place(dot.value)
    if mark == "s2":  # a circle cannot be told from another by shape
        turned = '<svg x="{}%" y="{}" overflow="visible"><path class="s2" d="M0-6 6 0 0 6-6 0Z"/></svg>'
        return Markup("").join([*parts, Markup(turned).format(place, y)])
    return Markup("").join([*parts, Markup('<circle class="{}" cx="{}%" cy="{}" r="5"/>').format(mark, place, y)])


def _end(stroke: str, place: float, y: int, out: bool) -> Markup:
    """A cap, or nothing where the interval goes on beyond the axis: the dash then runs to the edge."""
    return (
        Markup("")
        if out
        else Markup('<line class="{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(stroke, place, place, y - 4, y + 4)
    )


def _vertical(name: str, place: float, top: int, bottom: int) -> Markup:
    return Markup('<line class="{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(name, place, place, top, bottom)


def _ticks(axis: Axis, *, inset: bool = True) -> Markup:
    texts = []
    for tick in axis.ticks:
        place = axis.place(tick) if inset else round(100 * (tick - axis.low) / (axis.high - axis.low), 2)
        anchor = "start" if place < 2 else "end" if place > 98 else "middle"
        texts.append(Markup('<text x="{}%" y="15" text-anchor="{}">{}</text>').format(place, anchor, short(tick)))
    return Markup('<svg class="axis" height="{}" aria-hidden="true">{}</svg>').format(_AXIS_PX, Markup("").join(texts))


def _ticks_between(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """About `count` round numbers from `low` to `high`."""
    step = _round_step(max((high - low) / count, sys.float_info.min))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(float(f"{index * step:.10g}") for index in range(first, last + 1))


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 and 10 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))


def _stretched(height: int, shapes: Markup, *, over: Markup | str = "") -> Markup:
    """Shapes on a square of 100, stretched to the width; `over` keeps its form."""
    inner = '<svg height="{}" aria-hidden="true"><svg viewBox="0 0 100 100" preserveAspectRatio="none">{}</svg>{}</svg>'
    return Markup(inner).format(height, shapes, over)


def _steps(index: int, places: Sequence[float], tops: Sequence[float]) -> Markup:
    corners = [(place, top) for pair, top in zip(itertools.pairwise(places), tops, strict=True) for place in pair]
    points = [(places[0], 100.0), *corners, (places[-1], 100.0)]
    text = " ".join(f"{_px(x)},{_px(y)}" for x, y in points)
    shape = '<polygon class="area" points="{}"/>' if index == 0 else '<polyline class="l{}" points="{}"/>'
    return Markup(shape).format(*([text] if index == 0 else [index, text]))


def _heat_cell(share: float | None, x: float, y: float, top: float, percent: bool) -> Markup:
    if share is None:
        return Markup("")
    step = min(_STEPS - 1, max(0, int(_STEPS * share / top)))
    text = f"{100 * share:.0f}" if percent else short(share)
    cell = '<rect class="h{0}" x="{1}" y="{2}" width="{3}" height="{3}"/><text class="h{0}" x="{4}" y="{5}">{6}</text>'
    return Markup(cell).format(
        step, _px(x), _px(y), _CELL_PX - 1, _px(x + _CELL_PX / 2), _px(y + _CELL_PX / 2 + 4), text
    )


def _share_cell(share: float | None) -> Cell:
    return Cell("–" if share is None else number(share), number=True)


def _shares(values: Sequence[float]) -> list[float]:
    total = sum(values)
    return [value / total if total else 0.0 for value in values]


def _dots_table(title: str, rows: Sequence[Row], series: Sequence[str], bound: str) -> Table:
    columns = ("", *(head for name in series for head in (name, "interval")), *([bound] if bound else []))
    return Table(title, columns, tuple(_dots_cells(row, bool(bound)) for row in rows), wide=True)


def _dots_cells(row: Row, bounded: bool) -> tuple[Cell, ...]:
    cells = [Cell(row.label, row.reason if not any(row.dots) else "")]
    for dot in row.dots:
        cells.append(Cell("–" if dot is None else number(dot.value), number=True))
        cells.append(Cell("–" if dot is None else span(dot.low, dot.high), number=True))
    if bounded:
        cells.append(Cell("–" if row.bound is None else number(row.bound), number=True))
    return tuple(cells)


def _px(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
