"""The frame of a page: what it may load, what its colours are, and that text stays text."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import xrarchive.reporting.page as page_module
from xrarchive.pixels import encode_png
from xrarchive.reporting.blocks import Cell, Facts, Fold, Page, Picture, Pictures, Points, Section, Table, Text, Verdict
from xrarchive.reporting.page import png_size, render_page

STYLE = (Path(page_module.__file__).parent / "templates/style.css").read_text()
PNG = encode_png(np.zeros((8, 12), np.uint8))


def page(text="words", png=PNG):
    blocks = (
        Text((text, "`code` and more")),
        Points((("failed", text), (None, text))),
        Facts(((text, text), ("hash", "a" * 64)), text),
        Table(text, ("", text), ((Cell(text, text, items=(text, text)), Cell(text, number=True)),), ((text, text),)),
        Fold(text, (Text((text,)),)),
        Pictures(text, (Picture(text, text, png),)),
    )
    section = Section("part", text, text, blocks, "passed")
    return Page(text, text, text, Verdict("open", text, blocks[:1]), (section,), (text,))


class Elements(HTMLParser):
    """Every tag with the names of its attributes, in order, and all text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data):
        self.texts.append(data)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></textarea><h1>x",
    "{{ 7 * 7 }}{% raw %}{# #}",
    "]]><!-- --><![CDATA[",
    "&lt;b&gt;&#60;i&#62;",
    "javascript:alert(1)",
    "\x00\x1b[31m\u202egnp.exe\ud800",
    "`<b>`<i>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_read(text):
    plain, hostile = (
        Elements(render_page(page("x `y` z" if text.startswith("`") else "x"))),
        Elements(render_page(page(text))),
    )
    assert hostile.tags == plain.tags
    assert not [tag for tag, _ in hostile.tags if tag == "script"]
    render_page(page(text)).encode()


def test_what_is_shown_is_what_was_given():
    assert "<b>&amp;\"'" in "".join(Elements(render_page(page("<b>&amp;\"'"))).texts)


def test_the_page_is_whole_in_itself():
    html = render_page(page())
    assert not re.search(r"https?:|//[a-z]", html)
    assert not re.search(r"<(script|iframe|object|embed|form|base|video|audio)\b", html)
    assert not re.search(r"\s(on\w+|style|srcset|ping|background)=", html)
    assert set(re.findall(r'(?:href|src)="([^"]{1,6})', html)) <= {"#verdi", "#part", "data:,", "data:i"}
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_the_policy_allows_its_style_and_data_pictures_alone():
    html = render_page(page())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html).group(1).replace("&#39;", "'")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_same_page_gives_the_same_bytes():
    assert render_page(page()) == render_page(page())


def test_every_reference_has_its_target_and_no_id_comes_twice():
    html = render_page(page())
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    named = [name for value in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', html) for name in value.split()]
    assert {*named, *re.findall(r'href="#([^"]+)"', html)} <= set(ids)


def test_a_picture_is_a_png_and_knows_its_size():
    assert png_size(PNG) == (12, 8)
    assert 'width="12" height="8"' in render_page(page())
    with pytest.raises(ValueError, match="must be a PNG"):
        render_page(page(png=b"GIF89a"))


def colours():
    """The custom properties of both schemes."""
    light, dark = STYLE.split("@media screen and (prefers-color-scheme: dark)")
    found = [
        dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{3,6})\b", part)) for part in (light, dark[: dark.index("\n}\n")])
    ]
    return {"light": found[0], "dark": {**found[0], **found[1]}}


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Contrast of two colours, 1 to 21 (WCAG 2.2)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(scheme):
    known = colours()[scheme]
    assert contrast(known["paper"], "#000" if scheme == "light" else "#fff") > 15
    for ground in ("paper", "ground", "goodpaper", "badpaper", "warnpaper"):
        for ink in ("ink", "muted", "accent", "good", "bad", "warn"):
            assert contrast(known[ink], known[ground]) >= 4.5, (ink, ground)
    for step in range(10):
        assert contrast(known[f"h{step}"], known[f"t{step}"]) >= 4.5, step


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_have_contrast_and_the_scale_is_even(scheme):
    known = colours()[scheme]
    for mark in ("s0", "s1", "s2", "bound", "line"):
        assert contrast(known[mark], known["paper"]) >= 3, mark
    steps = [luminance(known[f"h{step}"]) for step in range(10)]
    assert steps == sorted(steps, reverse=scheme == "light")


def test_every_colour_in_the_style_is_a_property():
    used = set(re.findall(r"var\(--([a-z0-9]+)\)", STYLE))
    assert used - {"serif", "sans", "mono"} <= set(colours()["light"])
