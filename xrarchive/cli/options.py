"""What several commands share: types of options, ``--json``, and the example at the end of every help text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from xrarchive.settings import VALIDATION_PARTS
from xrarchive.tables import parse_assignment

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

# Whether a path exists is for the library to say: it knows the exit code and what to do next.
FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path)


def names(text: str) -> tuple[str, ...]:
    """Option type: names separated by commas."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise click.BadParameter(f"{text!r} holds an empty name; expected names separated by commas.")
    return found


def validation_parts(text: str) -> tuple[str, ...]:
    """Option type: names of `VALIDATION_PARTS` separated by commas."""
    found = names(text)
    if strangers := [name for name in found if name not in VALIDATION_PARTS]:
        raise click.BadParameter(f"there is no part {strangers[0]!r}; use some of {', '.join(VALIDATION_PARTS)}.")
    return found


def ids(text: str) -> tuple[str, ...]:
    """Option type: ids separated by commas, or ``@FILE`` with one id a line, which may hold commas and blanks."""
    if not text.startswith("@"):
        return names(text)
    path = Path(text[1:])
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as err:
        raise click.BadParameter(f"{path} cannot be read as UTF-8 text: {err}.") from err
    found = tuple(line for line in (line.removesuffix("\r") for line in lines) if line)
    if not found:
        raise click.BadParameter(f"{path} names no image.")
    return found


def part(text: str) -> tuple[int, int]:
    """Option type: ``i/n``, the i-th of n parts."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise click.BadParameter(f"{text!r} is no part; expected i/n with 1 <= i <= n, such as 1/7.")
    return int(found[1]), int(found[2])


def assignment(text: str) -> tuple[str, object]:
    """Option type: ``key=value``, the value as TOML."""
    try:
        return parse_assignment(text)
    except ValueError as err:
        raise click.BadParameter(f"{err}.") from err


def json_option(shape: str) -> Callable[[AnyFunction], AnyFunction]:
    """``--json``, documenting the object it prints."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print the result as one JSON object: {shape}.")


def set_option(function: AnyFunction) -> AnyFunction:
    """``--set KEY=VALUE``, for every setting that has no option of its own."""
    text = "Any other setting, as in the project file. May be repeated."
    return click.option("--set", "assignments", metavar="KEY=VALUE", type=assignment, multiple=True, help=text)(
        function
    )


def weights_options(*roles: str) -> Callable[[AnyFunction], AnyFunction]:
    """``--generator``, ``--guide``, ``--judge``: weights instead of the bundled ones."""

    def add(function: AnyFunction) -> AnyFunction:
        for role in reversed(roles):
            text = "Weights or run folder.  [default: bundled]"
            function = click.option(f"--{role}", metavar="W", type=FILE, help=text)(function)
        return function

    return add


def units_option(function: AnyFunction) -> AnyFunction:
    """``--units I/N``, for job arrays."""
    text = "Make the I-th of N shares, then help; whoever ends last joins them."
    return click.option("--units", metavar="I/N", type=part, help=text)(function)


def require_one_process(units: tuple[int, int] | None, workers: int | None) -> None:
    """Refuse more workers for a share, which would be left idle.

    Raises:
        click.UsageError: If both are given.
    """
    if units and workers not in (None, 1):
        raise click.UsageError("--units is the share of one process: give more shares, not --workers.")


def example(*commands: str) -> str:
    """The end of a help text."""
    return "\n".join(["\b", "Example:" if len(commands) == 1 else "Examples:", *(f"  {line}" for line in commands)])
