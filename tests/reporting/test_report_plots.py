"""Figures: where marks lie, what the tables beside them say, and that labels are never markup."""

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xrarchive.reporting.numbers import number, short, span, without_controls
from xrarchive.reporting.plots import Dot, Row, curve, dots, heat_map, histogram, make_axis

finite = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.123"),
        (0, "0"),
        (0.0, "0"),
        (1000, "1,000"),
        (-0.00129, "−0.00129"),
        (0.000012, "1.2e−05"),
        (123.4, "123"),
        (12345.6, "12,346"),
        (1e12, "1,000,000,000,000"),
        (2.0, "2.00"),
        (0.9996, "1.00"),
        (-99.96, "−100"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (True, "yes"),
    ],
)
def test_numbers_are_short_and_plain(value, text):
    assert number(value) == text


def test_ends_and_round_numbers():
    assert span(0.1, 0.25) == "0.100 to 0.250"
    assert span(None, 0.25) == "–"
    assert short(-2.50) == "−2.5"


def test_characters_that_are_none_are_marked():
    assert without_controls("a\x00b\u202ec\ud800d\tü\n") == "a\ufffdb\ufffdc\ufffdd\tü\n"


@example([5e-324], [])
@example([0.0], [5e-324])
@example([5e-324], [-1.0])
@given(st.lists(finite, max_size=5), st.lists(finite, max_size=5))
def test_an_axis_holds_every_value_and_round_ticks(values, spans):
    axis = make_axis(values, spans=spans)
    assert axis.low < axis.high
    assert all(axis.low <= value <= axis.high for value in values)
    assert len(axis.ticks) <= 12
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert all(0 < axis.place(value) < 100 for value in [*values, *spans, axis.low, axis.high])


def test_an_axis_is_not_stretched_by_a_wild_interval():
    axis = make_axis([0.5, 1.0], spans=[-50, 80])
    assert (axis.low, axis.high) == (-0.5, 2.0)
    assert make_axis([0.5, 1.0], spans=[0.3, 1.2]).high == 1.2


def test_dots_lie_where_their_values_are():
    rows = [
        Row("first", (Dot(0.5, 0.25, 0.75, 10),), bound=1.0),
        Row("second", (None,), reason="There is none."),
        Row("last", (Dot(0.0),)),
    ]
    figure = dots("Title", "How to read it.", rows, bound="best", line=(0.5, "half"))
    assert re.findall(r'<circle class="s0" cx="([\d.]+)%"', figure.drawing) == ["50.0", "3.0"]
    assert re.findall(r'class="l0" x1="([\d.]+)%" x2="([\d.]+)%"', figure.drawing)[0] == ("26.5", "73.5")
    assert 'class="bound" x1="97.0%"' in figure.drawing
    assert "not measured" in figure.drawing
    assert dict(figure.legend) == {"s0": "archive", "bound": "best", "line": "half (0.5)"}
    texts = [[cell.text for cell in cells] for cells in figure.table.rows]
    assert texts[0] == ["first", "0.500", "0.250 to 0.750", "1.00"]
    assert texts[1] == ["second", "–", "–", "–"]
    assert figure.table.rows[1][0].more == "There is none."
    assert all(len(cells) == len(figure.table.columns) for cells in figure.table.rows)


def test_an_interval_beyond_the_axis_has_no_cap_there():
    figure = dots("", "", [Row("a", (Dot(0.5, 0.4, 99),)), Row("b", (Dot(0.6),))])
    caps = [
        pair for pair in re.findall(r'class="l0" x1="([\d.]+)%" x2="([\d.]+)%"', figure.drawing) if len(set(pair)) == 1
    ]
    assert len(caps) == 1


def test_rows_need_a_dot_for_every_series():
    with pytest.raises(ValueError, match="needs 2 dots"):
        dots("", "", [Row("a", (Dot(1),))], series=("one", "two"))
    with pytest.raises(ValueError, match="3 at most"):
        dots("", "", [Row("a", (Dot(1),) * 4)], series=tuple("abcd"))


def test_no_rows_and_one_value_are_figures_too():
    assert dots("", "", []).table.rows == ()
    assert "circle" in dots("", "", [Row("a", (Dot(0.3),))]).drawing


def test_a_heat_map_shades_by_share():
    figure = heat_map("Title", "", ["a", "b"], [[1, 0.1], [None, 0.05]], top=0.1)
    assert re.findall(r'rect class="h(\d)"', figure.drawing) == ["9", "9", "5"]
    assert re.findall(r'text class="h\d"[^>]*>(\d+)<', figure.drawing) == ["100", "10", "5"]
    assert [[cell.text for cell in cells] for cells in figure.table.rows] == [["a", "1", "0.100"], ["b", "–", "0.0500"]]


def test_a_histogram_draws_shares_and_tells_counts():
    figure = histogram("Title", "", [0, 1, 2], {"ours": [1, 3], "theirs": [10, 10], "none": [0, 0]})
    first = re.search(r'polygon class="area" points="([^"]+)"', figure.drawing).group(1).split()
    assert first == ["0,100", "0,68", "50,68", "50,4", "100,4", "100,100"]
    assert figure.legend == (("area", "ours, n = 4"), ("l1", "theirs, n = 20"), ("l2", "none, n = 0"))
    assert [cell.more for cell in figure.table.rows[1]] == ["", "75.0 %", "50.0 %", "0.0 %"]
    with pytest.raises(ValueError, match="expected 2 counts"):
        histogram("", "", [0, 1, 2], {"ours": [1]})


def test_a_curve_goes_from_left_to_right():
    figure = curve("Title", "", [1.0, 3.0, 2.0], ["a", "b", "c"])
    assert re.findall(r'circle class="s0" cx="([\d.]+)%" cy="([\d.]+)%"', figure.drawing)[1] == ("50", "4")
    assert [cells[0].text for cells in figure.table.rows] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="two or more"):
        curve("", "", [1.0], ["a"])


HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


@pytest.mark.parametrize(
    "figure",
    [
        dots("", "", [Row(HOSTILE, (Dot(1.0),))], series=(HOSTILE,), bound=HOSTILE, line=(0.0, HOSTILE)),
        heat_map("", "", [HOSTILE], [[0.5]], top=1),
        histogram("", "", [0, 1], {HOSTILE: [1]}),
        curve("", "", [0.0, 1.0], [HOSTILE, HOSTILE]),
    ],
)
def test_labels_are_text(figure):
    assert "<script" not in figure.drawing
    assert "style=" not in figure.drawing
