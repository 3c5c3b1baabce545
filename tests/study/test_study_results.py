"""Result files from outside: what is taken, what is refused, and that nothing in them does anything."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
import re

import pytest

from xrarchive.errors import DamageError, InputDataError, SettingsError, XrArchiveError
from xrarchive.study import pages
from xrarchive.study.folder import read_study
from xrarchive.study.report import render_score
from xrarchive.study.results import canonical, checksum, read_results
from xrarchive.study.scoring import make_score, score_study


@pytest.fixture
def folder(studies):
    return studies(task="both")


@pytest.fixture
def paths(folder, answered):
    return answered(folder)


@pytest.fixture
def read(folder):
    study, key = read_study(folder)
    return lambda paths, **more: read_results(paths, study, key, **more)


def test_results_come_back_in_the_order_of_the_readers(read, paths):
    results = read(paths[::-1])
    assert [result.reader for result in results] == ["reader-1", "reader-2", "reader-3"]
    assert all(len(result.answers) == 28 and result.problems == () for result in results)


def test_white_space_may_change_and_nothing_else(read, paths):
    value = json.loads(paths[0].read_bytes())
    paths[0].write_text(json.dumps(value, indent=7))
    assert read(paths)[0].problems == ()
    value["answers"][3]["rating"] = 7 - value["answers"][3]["rating"]
    paths[0].write_text(json.dumps(value))
    with pytest.raises(DamageError, match="not what the page saved"):
        read(paths)
    assert read(paths, accept=("tampered",))[0].problems == ("tampered",)


def test_partial_ones_are_refused_unless_told(read, paths, folder, edit):
    edit(paths[1], folder, lambda value: value.update(answers=value["answers"][:15]))
    with pytest.raises(InputDataError, match="stops after 15 of 28 cases"):
        read(paths)
    result = read(paths, accept=("partial",))[1]
    assert (len(result.answers), result.problems) == (15, ("partial",))


def test_of_two_by_one_reader_the_one_named_last_is_taken_if_told(read, paths, folder, answered):
    other = answered(folder, seed=1)[0]
    with pytest.raises(InputDataError, match="are both of reader-1"):
        read([*paths, other])
    assert read([*paths, other], accept=("doubled",))[0].path == other


def test_those_of_another_study_are_refused_whatever_is_accepted(read, studies, answered):
    foreign = answered(studies(layout="pairs", cases=20))
    with pytest.raises(InputDataError, match="belongs to another study"):
        read(foreign, accept=("partial", "tampered", "doubled"))


def test_a_missing_file_and_no_file_say_so(read, tmp_path):
    with pytest.raises(InputDataError, match="no such file"):
        read([tmp_path / "none.json"])
    with pytest.raises(InputDataError, match="no result file"):
        read([])
    with pytest.raises(ValueError, match="accept"):
        read([], accept=("everything",))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b'{"schema": "x"}', b"[" * 100_000])
def test_what_is_no_result_is_refused_in_words(read, tmp_path, data):
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(InputDataError, match="no result of a reader study"):
        read([tmp_path / "bad.json"])


BAD = [None, True, -1, 7, 1.5, 1e999, "3", [], {}, [[]], "x" * 5_000, 2**70, float("nan")]


@pytest.mark.parametrize("place", ["rating", "findings", "ms", "note", "trial"])
@pytest.mark.parametrize("value", BAD, ids=[repr(value)[:20] for value in BAD])
def test_every_field_of_an_answer_is_checked(read, paths, place, value):
    content = json.loads(paths[0].read_bytes())
    content["answers"][4][place] = value
    paths[0].write_text(json.dumps(content))
    if (place, value) in [("ms", 7), ("note", "3"), ("findings", [])]:
        assert len(read(paths, accept=("tampered",))) == 3
        return
    with pytest.raises(InputDataError, match="no result of a reader study"):
        read(paths, accept=("tampered", "partial"))


@pytest.mark.parametrize(("field", "values"), [
    ("reader", [None, 3, "reader-9", "__proto__", []]), ("role", [None, 3, "king", []]),
    ("years", ["3", -1, 200, 2.5, True]), ("comment", [None, 3, "x" * 5_000]),
    ("answers", [None, {}, "x", [None] * 28, [{}] * 500]),
])  # fmt: skip
def test_every_other_field_is_checked(read, paths, field, values):
    content = json.loads(paths[0].read_bytes())
    for value in values:
        paths[0].write_text(json.dumps({**content, field: value}))
        with pytest.raises(InputDataError):
            read(paths, accept=("tampered", "partial"))


def test_random_damage_never_ends_in_a_traceback(read, paths):
    data, rng = paths[0].read_bytes(), random.Random(0)
    for _ in range(300):
        at = rng.randrange(len(data))
        paths[0].write_bytes(data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :])
        try:
            read(paths)
        except XrArchiveError:
            continue
        assert json.loads(paths[0].read_bytes()) == json.loads(data)


def test_the_summed_bytes_are_those_a_browser_writes():
    value = {"b": 'ä\u2028<"\\\n\x01\x7f', "a": [1, None, True], "checksum": "x"}
    assert canonical(value).decode() == '{"b":"ä\u2028<\\"\\\\\\n\\u0001\x7f","a":[1,null,true]}'
    assert checksum(value, "token") != checksum(value, "other")


STARTS = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\0",
    "<",
    "'",
    '"',
    "`",
    "|",
    "{{",
    "${",
    "%",
    "\u202e",
    "&",
    ";",
    "\x1b[2J",
    "é",
)
BODIES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</textarea><svg onload=alert(1)>",
    "javascript:alert(1)",
    '=HYPERLINK("http://x","y")',
    "cmd|' /C calc'!A0",
    '"><b>',
    "'-alert(1)-'",
    "{{7*7}}",
    "${7*7}",
    "../../etc/passwd",
    "</script><script>alert(1)//",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "\\u003cb\\u003e",
    "a\nb",
    "NULL",
    "1;DROP TABLE x",
    "😀é中",
    "<iframe src=//x>",
    "<a href=javascript:alert(1)>x</a>",
    "<style>*{display:none}</style>",
    "%3Cscript%3E",
    "line\r\nline",
)
HOSTILE = [start + body for start in STARTS for body in BODIES]


def test_five_hundred_hostile_remarks_are_text_in_every_output(folder, paths, edit, tmp_path):
    assert len(set(HOSTILE)) == 500
    left = list(HOSTILE)
    while left:
        for path in paths:

            def fill(value):
                for answer in value["answers"]:
                    answer["note"] = left.pop() if left else ""
                value["comment"] = HOSTILE[len(left)]

            edit(path, folder, fill)
        report = score_study(folder, paths, out=tmp_path / "score")
        table = list(csv.reader(io.StringIO((tmp_path / "score" / "reads.csv").read_bytes().decode(), newline="")))
        assert {len(row) for row in table} == {len(table[0])}
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\0")) for row in table for cell in row)
        notes = {remark["text"] for remark in report.score["remarks"]}
        assert notes <= set(HOSTILE)
        assert {row[-1].removeprefix("'") for row in table[1:] if row[-1]} >= {note.removeprefix("'") for note in notes}


def test_five_hundred_hostile_titles_are_text_or_refused(folder, paths):
    study, key = read_study(folder)
    score = make_score(study, key, read_results(paths, study, key))
    kept = 0
    for title in HOSTILE:
        try:
            protocol = dataclasses.replace(study.protocol, title=title)
        except SettingsError:
            assert not title.isprintable()
            continue
        kept += 1
        named = dataclasses.replace(study, protocol=protocol)
        plan = pages._plan(named, "reader-1", "x")
        assert json.loads(plan)["title"] == title
        assert "<" not in plan
        shown = [pages._head(title)] + ([render_score({**score, "title": title})] if kept % 20 == 0 else [])
        for page in shown:
            assert not re.search(r"<(script>alert|img|svg onload|iframe|a href=javascript|b>|style>\*{display)", page)
    assert kept > 300


def test_partial_and_single_readers_are_scored(folder, paths, edit):
    study, key = read_study(folder)
    edit(paths[0], folder, lambda value: value.update(answers=value["answers"][:9]))
    results = read_results(paths[:1], study, key, accept=("partial",))
    score = make_score(study, key, results)
    assert score["realism"]["accuracy"]["n"] == 20
    assert json.dumps(score, allow_nan=False)
    edit(paths[0], folder, lambda value: value.update(answers=[]))
    score = make_score(study, key, read_results(paths[:1], study, key, accept=("partial",)))
    assert score["realism"]["accuracy"]["value"] is None
    assert json.dumps(score, allow_nan=False)
