"""Blocks to one HTML file: frame, style and content security policy.

The page needs no network, no script and no font: its style is inside it, allowed by its hash, its pictures are data.
All text is escaped where it is set, so that no name or note can do anything but be read. Same page, same bytes.
"""

from __future__ import annotations

import base64
import itertools
import re
import struct
from functools import cache, partial
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from xrarchive.reporting.blocks import Page
from xrarchive.reporting.inline import page_policy
from xrarchive.reporting.numbers import without_controls

_TEMPLATES = Path(__file__).parent / "templates"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HASH = re.compile("[0-9a-f]{32,}")


def render_page(page: Page) -> str:
    """The page as HTML, to be written as UTF-8.

    Raises:
        ValueError: If a picture is no PNG.
    """
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("page.html")
        .render(page=page, style=Markup(style), policy=page_policy(style), next_id=partial(next, itertools.count(1)))
    )


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, in pixels.

    Raises:
        ValueError: If it is none.
    """
    if png[:8] != _PNG_SIGNATURE or png[12:16] != b"IHDR":
        raise ValueError("a picture must be a PNG file")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@cache
def _environment() -> jinja2.Environment:
    """The templates, compiled once: that takes longer than to fill them."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"prose": _prose, "value": _value, "data_uri": _data_uri, "png_size": png_size}
    return environment


def _clean(value: object) -> object:
    return without_controls(value) if type(value) is str else value


def _prose(text: str) -> Markup:
    """Text with what stands between backticks as code; an odd backtick stays one."""
    parts = without_controls(text).split("`")
    if len(parts) % 2 == 0:
        return escape("`".join(parts))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def _value(text: str) -> Markup:
    """A fact's value; a hash is set as code, which may break anywhere."""
    clean = without_controls(text)
    return Markup("<code>{}</code>").format(clean) if _HASH.fullmatch(clean) else escape(clean)


def _data_uri(png: bytes) -> str:
    png_size(png)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
