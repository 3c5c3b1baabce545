from __future__ import annotations

from pathlib import Path

import pytest

from xrarchive.errors import EXIT_INTERRUPTED


def test_who_gets_in_and_where_it_goes_are_handed_on(run, pipeline, folder):
    (folder / "films").mkdir()
    (folder / "xrarchive.toml").write_text(
        '[validate]\nradiographs = ["films", "gone"]\n[publish]\nrepo = "me/chests"\ngated = "manual"\n'
    )
    assert run("publish --i-have-permission Board --no-weights --yes").exit_code == 0
    assert run("publish archive you/chests --gated auto --to share --yes").exit_code == 0
    assert run("publish archive --private --yes").exit_code == 0
    first, second, third = (call[2] for call in pipeline.calls)
    assert (first["gated"], first["permission"], first["no_weights"], first["private"]) == (
        "manual",
        "Board",
        True,
        False,
    )
    assert first["radiographs"] == (Path("films"),), "a set that is not at hand is not searched for"
    assert (second["gated"], second["to"], second["permission"]) == ("auto", Path("share"), "")
    assert third["private"] is True


def test_what_to_know_is_shown_before_the_question(run, monkeypatch):
    monkeypatch.setattr("xrarchive.cli.publish.stdin_is_terminal", lambda: True)
    result = run("publish archive me/x", input="n\n")
    assert "provided by the NIH Clinical Center" in result.stderr
    assert "provided by the NIH Clinical Center" in run("publish archive me/x --dry-run").stdout


def test_retract_names_what_stays(run, run_json, pipeline):
    line = "publish me/chests --retract v1.0.0 --reason Swapped"
    result = run(f"{line} --yes")
    assert result.exit_code == 0
    assert "is retracted: Swapped labels." in result.stdout
    assert "The version itself stays." in result.stdout
    (_, arguments, given) = pipeline.calls[-1]
    assert arguments == ("me/chests", "v1.0.0")
    assert (given["reason"], given["to"]) == ("Swapped", None)
    assert len(given["date"]) == len("2026-11-23")
    code, told = run_json(f"{line} --to share --yes")
    assert (code, told["tag"]) == (0, "v1.0.0")
    assert pipeline.calls[-1][2]["to"] == Path("share")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("publish me/chests --retract v1.0.0 --yes", 2),
        ("publish me/chests --reason x --yes", 2),
        ("publish me/chests --retract v1.0.0 --reason x --dry-run", 2),
        ("publish --retract v1.0.0 --reason x --yes", 2),
        ("publish me/chests --retract v1.0.0 --reason x", 2),
        ("publish archive me/chests --gated maybe --yes", 2),
    ],
)
def test_half_a_retraction_is_refused(run, pipeline, line, code):
    assert run(line).exit_code == code
    assert pipeline.calls == []


def test_nothing_is_retracted_without_a_yes(run, pipeline, monkeypatch):
    monkeypatch.setattr("xrarchive.cli.publish.stdin_is_terminal", lambda: True)
    assert run("publish me/chests --retract v1.0.0 --reason x", input="n\n").exit_code == EXIT_INTERRUPTED
    assert pipeline.calls == []
