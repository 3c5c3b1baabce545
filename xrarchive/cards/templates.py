"""Templates: where they are, and how a slot becomes text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from xrarchive.errors import InputDataError

_PACKAGE = Path(__file__).parent.parent
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "|<>`*_[]"})


def templates_folder() -> Path:
    """Where the templates are: inside an installed wheel, or at the top of a checkout."""
    inside = _PACKAGE / "cards_templates"
    return inside if inside.is_dir() else _PACKAGE.parent / "cards"


def render(name: str, slots: Mapping[str, Any], *, templates: Path | None = None) -> str:
    """The text of a template.

    Args:
        name: Of the template.
        slots: What it may use.
        templates: Folder of a publisher's own templates; one that is not there is ours.

    Raises:
        InputDataError: If the publisher's templates use what is not there, or are none.
        jinja2.TemplateError: If ours do.
    """
    folders = [folder for folder in (templates, templates_folder()) if folder is not None]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "interval": interval, "views": _views, "share": _share, "cell": cell}
    try:
        return environment.get_template(name).render(slots)
    except jinja2.TemplateError as err:
        if templates is None:
            raise
        raise InputDataError(
            f"A template in {templates} cannot be filled for {name}: {err}.",
            fix=f"Compare it with {templates_folder()}; `xrarchive card --facts FILE` writes what there is to say.",
            path=templates,
        ) from err


def number(value: float | int | None) -> str:
    """Three digits; "–" for what was not measured."""
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def interval(found: Mapping[str, float] | None) -> str:
    """A value with its interval in brackets."""
    return "–" if found is None else f"{found['value']:.2f} ({found['low']:.2f}–{found['high']:.2f})"


def cell(text: object) -> str:
    """Words of somebody else on one line, with nothing in them that Markdown takes for its own."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f]+", " ", str(text)).replace("\\", "\\\\").translate(_MARKDOWN).split())


def _views(within: Mapping[str, Mapping[str, float] | None]) -> str:
    return ", ".join("–" if found is None else f"{found['value']:.2f}" for found in within.values()) or "–"


def _share(found: Mapping[str, Any]) -> str:
    """A measured share with its interval; "–" where it was not measured."""
    if found["value"] is None:
        return "–"
    return f"{found['value']:.2f}" + ("" if found["low"] is None else f" ({found['low']:.2f}–{found['high']:.2f})")
