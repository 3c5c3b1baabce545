"""Progress lines and figures."""

import io
import sys

import numpy as np
import pytest

from xrarchive.cli.output import cell, escape, plain, table
from xrarchive.cli.progress import LINE_INTERVAL_S, Lines, duration, progress
from xrarchive.records import Status


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream():
    return io.StringIO()


def feed(lines, clock, statuses, *, step_s):
    for status in statuses:
        lines.show(status)
        clock.now_s += step_s


def test_one_line_every_30_s_with_the_time_left(clock, stream):
    lines = Lines("build", stream, clock)
    feed(lines, clock, [Status(done, 1000, "images", "Effusion") for done in range(0, 100, 1)], step_s=1.0)
    printed = stream.getvalue().splitlines()
    assert len(printed) == int(99 // LINE_INTERVAL_S)
    assert printed[0] == "build: 30 of 1,000 images (3 %), 16 min 10 s left: Effusion"


def test_short_work_prints_nothing(clock, stream):
    feed(Lines("card", stream, clock), clock, [Status(1, 2, "images")] * 20, step_s=1.0)
    assert stream.getvalue() == ""


def test_a_resumed_run_counts_its_rate_from_where_it_went_on(clock, stream):
    lines = Lines("train", stream, clock)
    feed(lines, clock, [Status(900, 1000, "images"), Status(910, 1000, "images")], step_s=30.0)
    assert stream.getvalue() == "train: 910 of 1,000 images (91 %), 4 min 30 s left\n"


def test_another_unit_starts_a_new_phase(clock, stream):
    lines = Lines("publish", stream, clock)
    feed(lines, clock, [Status(5, 5, "images"), Status(0, 10_000_000, "bytes")], step_s=30.0)
    assert stream.getvalue() == "publish: 0.0 MB of 10.0 MB (0 %)\n"


def test_control_characters_stay_out_of_lines(clock, stream):
    feed(Lines("build", stream, clock), clock, [Status(0, 2, "x", "a\x1b\nb")] * 2, step_s=30.0)
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_a_bar(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("build") as on_status:
        for done in range(3):
            on_status(Status(done, 2, "images", "[red]Effusion\x1b[2J"))
        on_status(Status(0, 100, "bytes", ""))
    assert "[red]Effusion" in stream.getvalue()
    assert "Effusion\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (140, "2 min 20 s"), (11_100, "3 h 05 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (1234567, "1,234,567"), (0.123456, "0.1235"), (["a", 2], "a, 2"), ({"a": 1}, "a 1")],
)
def test_cells(value, text):
    assert cell(value) == text


def test_plain_values():
    value = {"n": np.int64(3), "x": np.float32("inf"), "a": np.zeros((1, 2)), "t": ("b", None), 5: True}
    assert plain(value) == {"n": 3, "x": None, "a": [[0.0, 0.0]], "t": ["b", None], "5": True}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Émphysème", "Émphysème"),
        ("a\tb", r"a\tb"),
        ("\x9b1m", r"\x9b1m"),
        ("\udcff", r"\udcff"),
        ("\u202e", r"\u202e"),
    ],
)
def test_escapes(text, escaped):
    assert escape(text) == escaped


def test_tables_on_a_terminal_and_elsewhere(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    table(["finding", "n"], [("[bold]A", 7), ("B", 1000)])
    table(["empty"], [])
    assert stream.getvalue() == "finding      n\n[bold]A      7\nB        1,000\nempty\n"
    stream.isatty = lambda: True
    table(["finding", "n"], [("[bold]A", 7)])
    assert "[bold]A" in stream.getvalue().splitlines()[-1]
