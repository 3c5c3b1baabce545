"""`xrarchive diff`: what reaches the pipeline and what is printed."""

from pathlib import Path

import pytest

from xrarchive.errors import InputDataError

SIDES = {
    "a": {"name": "before", "version": "1.0.0", "manifest_sha256": "ab", "rows": 9},
    "b": {"name": "after", "version": "2.0.0", "manifest_sha256": "cd", "rows": 1008},
}
SAME = {
    **SIDES,
    **{key: [] for key in ("added", "removed", "only_a", "only_b", "settings", "labels", "scores", "withdrawn")},
    **{key: [] for key in ("builds_added", "builds_removed", "history")},
    "changed": {},
    "columns": {},
    "shards_shared": 4,
    "shards_read": 0,
    "bytes_read": 0,
}
DIFFERS = {
    **SAME,
    "added": [f"s1-Mass-{number:06d}" for number in range(1000)],
    "removed": ["s0-Mass-000000"],
    "changed": {"s0-Edema-000001": ["label", "split"]},
    "columns": {"label": 1, "split": 1},
    "only_b": ["data/pixels_sha256"],
    "settings": [
        {"where": "build 0", "name": "weights.generator", "old": "a" * 64, "new": "b" * 64},
        {"where": "build 0", "name": "seed", "old": None, "new": 20_000},
    ],
    "labels": [{"label": "Mass", "before": 3, "after": 1002}],
    "scores": [
        {"column": "judge_Mass", "before_rows": 2, "after_rows": 9, "before": 0.25, "after": 0.5, "ks": 0.75},
        {"column": "guide_Mass", "before_rows": 0, "after_rows": 9, "before": None, "after": 0.5, "ks": None},
    ],
    "withdrawn": [
        {"image_id": "s0-Mass-000000", "reason": "blurred\n\x1b[2J", "date": "2026-01-02", "version": "2.0.0"}
    ],
}


@pytest.fixture
def compared(pipeline, monkeypatch):
    pipeline.results["diff"] = DIFFERS
    monkeypatch.setattr(pipeline, "diff", pipeline._recorder("diff"), raising=False)
    return pipeline


def test_arguments_arrive(run_json, compared):
    code, result = run_json("diff me/chests@v1.0.0 after --changelog C.md")
    assert compared.calls == [("diff", ("me/chests@v1.0.0", "after"), {"changelog": Path("C.md")})]
    assert (code, result) == (0, DIFFERS | {"schema": "xrarchive.diff/1"})


def test_what_differs_is_said_in_short(run, compared):
    result = run("diff before after")
    assert result.exit_code == 0
    assert compared.calls[0][2] == {"changelog": None}
    lines = result.stdout.splitlines()
    assert lines[0] == "9 -> 1,008 rows, version 1.0.0 -> 2.0.0"
    assert lines[1].startswith("1,000 added: s1-Mass-000000, s1-Mass-000001")
    assert lines[1].endswith("s1-Mass-000004, …")
    assert lines[2:7] == [
        "1 removed: s0-Mass-000000",
        "1 changed: s0-Edema-000001",
        "  label differs in 1",
        "  split differs in 1",
        "Columns of after alone: data/pixels_sha256",
    ]
    assert "1 withdrawn: blurred \\x1b[2J" in lines
    words = [line.split() for line in lines]
    assert ["Mass", "3", "1,002"] in words
    assert ["judge_Mass", "0.25", "0.5", "0.75"] in words
    assert ["guide_Mass", "–", "0.5", "–"] in words
    assert ["build", "0", "weights.generator", "a" * 12, "b" * 12] in words
    assert ["build", "0", "seed", "–", "20000"] in words


def test_of_many_scores_the_farthest_are_shown(run, compared):
    scores = [{**DIFFERS["scores"][0], "column": f"judge_{number}", "ks": number / 20} for number in range(12)]
    compared.results["diff"] = {**DIFFERS, "scores": scores}
    lines = run("diff before after").stdout.splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("judge_")]
    assert shown == [f"judge_{number}" for number in range(11, 1, -1)]
    assert "… and 2 that moved no farther: see --json." in lines


def test_nothing_differs(run, compared):
    compared.results["diff"] = SAME
    result = run("diff before after")
    assert (result.exit_code, result.stdout.splitlines()[1:]) == (0, ["0 added", "0 removed", "0 changed"])


@pytest.mark.parametrize("line", ["diff", "diff one", "diff a b c"])
def test_two_archives_are_asked_for(run, compared, line):
    assert run(line).exit_code == 2
    assert compared.calls == []


def test_a_refusal_says_what_to_do(run, compared):
    compared.results["diff"] = InputDataError("'x' is neither.", fix="Give a folder.")
    result = run("diff x y")
    assert result.exit_code == 3
    assert "Fix: Give a folder." in result.stderr
