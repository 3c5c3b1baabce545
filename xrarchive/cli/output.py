"""stdout: the result of a command, and nothing else.

In: a report of the library. Out: one JSON object under ``--json`` (key ``schema`` = ``xrarchive.<command>/1``, the
other keys as each command's ``--json`` help says), a table on a terminal, plain aligned text elsewhere. Text from
files reaches the terminal with control characters escaped.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def emit(command: str, report: object, render: Callable[[Result], None], *, as_json: bool, **more: object) -> None:
    """Print a report with `more` beside it: as JSON, or with `render`, which gets the same plain values."""
    result = {**plain(report), **plain(more)}
    if as_json:
        schema = {"schema": f"xrarchive.{command}/1"}  # first, and not that of a file the result was read from
        print(json.dumps(schema | result | schema, allow_nan=False), flush=True)  # noqa: T201
    else:
        render(result)


def plain(value: Any) -> Any:
    """Dataclasses, paths, numpy scalars and arrays as JSON types; NaN and infinity as None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "as_dict"):
        return plain(value.as_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Iterable) and not isinstance(value, Path):
        return [plain(item) for item in value]
    return str(value)


def escape(text: object, *, keep: str = "\n") -> str:
    """`text` with everything unprintable written as an escape: a file name can neither colour nor clear a terminal."""
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in str(text))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def say(*lines: str) -> None:
    """Print lines of text."""
    for line in lines:
        print(escape(line), flush=True)  # noqa: T201


def fields(values: Mapping[str, object]) -> None:
    """Print names and values, one a line, aligned."""
    width = max(map(len, values), default=0)
    say(*(f"{name:<{width}}  {cell(value)}".rstrip() for name, value in values.items()))


def cell(value: object) -> str:
    """A value as people read it: thousands separated, four significant digits, lists by commas, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value))
    return str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: drawn by rich on a terminal, aligned text elsewhere. Columns of numbers are flushed right."""
    values = [tuple(row) for row in rows]
    numeric = [
        any(value is not None for value in column) and all(isinstance(value, int | float | None) for value in column)
        for column in zip(*values, strict=True)
    ] or [False] * len(columns)
    cells = [[escape(cell(value), keep="") for value in row] for row in values]
    draw = _rich_table if sys.stdout.isatty() else _plain_table
    draw(columns, cells, numeric)


def _rich_table(columns: Sequence[str], cells: list[list[str]], numeric: list[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for name, right in zip(columns, numeric, strict=True):
        drawn.add_column(Text(name), justify="right" if right else "left")
    for row in cells:
        drawn.add_row(*map(Text, row))  # Text, since a plain string would be read as markup
    Console(file=sys.stdout).print(drawn)


def _plain_table(columns: Sequence[str], cells: list[list[str]], numeric: list[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        aligned = zip(row, widths, numeric, strict=True)
        say("  ".join(f"{text:>{width}}" if right else f"{text:<{width}}" for text, width, right in aligned).rstrip())
