"""`xrarchive browse`: what reaches the pipeline and what is printed."""

from pathlib import Path

import pytest

from xrarchive.errors import InputDataError

REPORT = {"out": "a.html", "rows": 9, "fitting": 5, "images": 4, "bytes": 1234, "manifest_sha256": "ab"}


@pytest.fixture
def browsed(pipeline, monkeypatch):
    pipeline.results["browse"] = REPORT
    monkeypatch.setattr(pipeline, "browse", pipeline._recorder("browse"), raising=False)
    return pipeline


def test_arguments_arrive(run_json, browsed):
    code, result = run_json("browse me/chests@v1.0.0 --out a.html --where steps>3 --images 4 --seed 2")
    _, arguments, keywords = browsed.calls[0]
    assert (code, arguments) == (0, ("me/chests@v1.0.0", Path("a.html")))
    assert (keywords["where"], keywords["images"], keywords["seed"]) == ("steps>3", 4, 2)
    assert result == REPORT | {"schema": "xrarchive.browse/1"}


def test_the_archive_is_that_of_the_project_file(run, browsed):
    assert "a.html" in run("browse").stdout
    assert browsed.calls[0][1] == (Path("archive"), None)


@pytest.mark.parametrize("line", ["browse --images 0", "browse --seed -1", "browse a b"])
def test_what_cannot_be_is_a_usage_error(run, browsed, line):
    assert run(line).exit_code == 2
    assert browsed.calls == []


def test_a_refusal_says_what_to_do(run, browsed):
    browsed.results["browse"] = InputDataError("No image fits.", fix="Look at `xrarchive show`.")
    result = run("browse --where x")
    assert result.exit_code == 3
    assert "Fix: Look at `xrarchive show`." in result.stderr
