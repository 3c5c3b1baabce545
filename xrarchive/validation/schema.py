"""The form of validation.json: a report comes in, what is wrong with it goes out, a line each.

The form itself is `validation.schema.json` beside this module, a JSON Schema (draft 2020-12) that others can use
without us. It is strict about measures, wherever they are, and open to keys it does not know: a report may say more
than readers understand, never a number without its company.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA_PATH = Path(__file__).with_name("validation.schema.json")

# Names of JSON types as people say them.
_TYPES = {"null": "null", "integer": "a whole number", "array": "a list", "object": "an object", "boolean": "yes or no"}
_SHOWN = 60


def load_schema() -> dict[str, Any]:
    """The JSON Schema of validation.json, of every version that readers of this version know."""
    schema: dict[str, Any] = json.loads(SCHEMA_PATH.read_bytes())
    return schema


def validate_report(report: object) -> list[str]:
    """What is wrong with the form of a report: ``where: expected this, found that``, by place; empty if nothing is.

    NaN and infinity are refused too, which Python reads and writes but JSON does not know.

    Args:
        report: The content of validation.json, as `json.loads` gives it.
    """
    checker = jsonschema.Draft202012Validator(load_schema())
    errors = sorted(checker.iter_errors(report), key=lambda error: error.json_path)
    found = [f"{_place(error.json_path)}: {_expected(error)}" for error in errors]
    return list(dict.fromkeys([*found, *_not_finite(report, "$")]))


def _place(path: str) -> str:
    return path.removeprefix("$.") if path != "$" else "the report"


def _expected(error: Any) -> str:
    wanted, found = error.validator_value, _shown(error.instance)
    match error.validator:
        case "required":
            missing = [name for name in wanted if name not in error.instance]
            return f"lacks {', '.join(missing)}"
        case "type":
            names = [wanted] if isinstance(wanted, str) else wanted
            return f"expected {' or '.join(_TYPES.get(name, f'a {name}') for name in names)}, found {found}"
        case "enum":
            return f"expected one of {', '.join(map(str, wanted))}, found {found}"
        case "minimum":
            return f"expected {wanted} at least, found {found}"
        case "minLength" | "minItems":
            return f"expected {wanted} or more in it, found {found}"
        case "pattern":
            return f"expected text like {wanted}, found {found}"
    return str(error.message)[: 4 * _SHOWN]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _not_finite(value: object, path: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{_place(path)}: expected a finite number, found {value}"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _not_finite(inner, f"{path}[{index}]")
