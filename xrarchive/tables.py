"""TOML tables -> frozen dataclasses, checked by the types of their fields.

What comes in: a dataclass, and a table as tomllib gives it. What goes out: an instance, or a `SettingsError` that says
where, what was expected and what was found; an unknown key is refused with the nearest known one.

Why by hand: these lines check all types our settings use; a validation library would be our largest import, and
`--help` has 200 ms.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from xrarchive.errors import SettingsError
from xrarchive.findings import nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
Table = Mapping[str, object]


def from_table(cls: type[Settings], table: Table, where: str) -> Settings:
    """Build a frozen dataclass from a TOML table.

    Field types may be bool, int, float, str, Path, Literal, tuple, Mapping, another dataclass, and ``| None``.

    Args:
        cls: The dataclass.
        table: Keys and values as tomllib gives them.
        where: The table's place, for messages: ``xrarchive.toml [build]``.

    Raises:
        SettingsError: For an unknown key, a value of another type, or one the dataclass itself refuses.
    """
    try:
        return cls(**check_table(cls, table, where))
    except ValueError as err:
        raise SettingsError(f"{where}: {err}.", fix="Correct the value.") from err


def parse_assignment(text: str) -> tuple[str, object]:
    """``key=value`` as typed after ``--set``, the value read as TOML; words need no quotes.

    Raises:
        ValueError: If `text` is not an assignment.
    """
    key, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z_]\w*", key.strip()):
        raise ValueError(f"expected key=value, got {text!r}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def check_table(cls: type[DataclassInstance], table: Table, where: str) -> dict[str, object]:
    """The table's values as the types of the dataclass's fields.

    Raises:
        SettingsError: For an unknown key or a value of another type.
    """
    hints = typing.get_type_hints(cls)
    known = [item.name for item in dataclasses.fields(cls)]
    for key in table:
        if key not in known:
            raise _unknown_key(key, known, where)
    return {key: _convert(value, hints[key], _place(where, key, hints[key])) for key, value in table.items()}


def _place(where: str, key: str, hint: object) -> str:
    is_table = dataclasses.is_dataclass(hint) or typing.get_origin(hint) is Mapping
    return f"{where} [{key}]" if is_table else f"{where}: {key}"


def _unknown_key(key: str, known: Iterable[str], where: str) -> SettingsError:
    near = nearest(key, known)
    hint = f" Did you mean {near!r}?" if near else ""
    return SettingsError(
        f"{where}: unknown key {key!r}.{hint}",
        fix=f"Use {near!r}, or remove the key." if near else f"Remove the key. Known ones: {', '.join(known)}.",
    )


def _convert(value: object, hint: Any, where: str) -> object:
    """`value` as the type `hint` says, or `SettingsError` naming both."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # only `X | None` occurs; TOML knows no null
        return _convert(value, next(item for item in arguments if item is not types.NoneType), where)
    if origin is Literal:
        return _choice(value, arguments, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return from_table(hint, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return _convert_items(value, arguments, where)
    if hint in (Path, float, int, str, bool):
        return _scalar(value, hint, where)
    if origin is Mapping and isinstance(value, dict):
        return value
    raise _mistyped(value, hint, where)


def _convert_items(values: list[object] | tuple[object, ...], arguments: tuple[Any, ...], where: str) -> object:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(values)
    if len(arguments) != len(values):
        raise SettingsError(
            f"{where}: expected {len(arguments)} values, found {len(values)}.", fix="Correct the value."
        )
    return tuple(_convert(value, hint, where) for value, hint in zip(values, arguments, strict=True))


def _scalar(value: object, hint: type, where: str) -> object:
    if hint is float and type(value) in (int, float) and math.isfinite(typing.cast("float", value)):
        return float(typing.cast("float", value))
    if hint is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    if type(value) is hint and hint is not float:  # `type`, since True is an int to isinstance
        return value
    raise _mistyped(value, hint, where)


def _choice(value: object, choices: tuple[object, ...], where: str) -> object:
    if any(value == choice and type(value) is type(choice) for choice in choices):
        return value
    near = nearest(str(value), [str(choice) for choice in choices])
    hint = f" Did you mean {near!r}?" if near else ""
    raise SettingsError(
        f"{where}: {value!r} is not one of {', '.join(map(repr, choices))}.{hint}", fix="Use one of them."
    )


_TYPE_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a string",
    Path: "a path (a string)",
}


def _mistyped(value: object, hint: Any, where: str) -> SettingsError:
    expected = _TYPE_WORDS.get(hint) or ("a list" if typing.get_origin(hint) is tuple else "a table")
    return SettingsError(f"{where}: expected {expected}, found {value!r}.", fix="Correct the value.")
