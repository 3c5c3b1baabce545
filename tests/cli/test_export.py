"""`xrarchive export`: what reaches the pipeline and what is printed."""

from pathlib import Path

import pytest

from xrarchive.errors import InputDataError

REPORT = {"out": "exported", "to": "folder", "manifest_sha256": "ab", "rows": 5, "files": 7, "bytes": 1234}


@pytest.fixture
def exported(pipeline, monkeypatch):
    pipeline.results["export_archive"] = REPORT
    monkeypatch.setattr(pipeline, "export_archive", pipeline._recorder("export_archive"), raising=False)
    return pipeline


@pytest.mark.parametrize("to", ["folder", "webdataset", "dicom", "csv"])
def test_arguments_arrive(run_json, exported, to):
    code, result = run_json(f"export made --to {to} --out exported")
    name, arguments, keywords = exported.calls[0]
    assert (code, name, arguments, keywords["to"]) == (0, "export_archive", (Path("made"), Path("exported")), to)
    assert result == REPORT | {"schema": "xrarchive.export/1"}


def test_the_archive_is_that_of_the_project_file(run, exported):
    assert "rows" in run("export --to csv --out exported").stdout
    assert exported.calls[0][1] == (Path("archive"), Path("exported"))


@pytest.mark.parametrize("line", ["export --out x", "export --to csv", "export --to zip --out x"])
def test_what_is_missing_or_unknown_is_a_usage_error(run, exported, line):
    assert run(line).exit_code == 2
    assert exported.calls == []


def test_a_refusal_says_what_to_do(run, exported):
    exported.results["export_archive"] = InputDataError("x is not empty.", fix="Give a new folder.")
    result = run("export --to csv --out x")
    assert result.exit_code == 3
    assert "Fix: Give a new folder." in result.stderr
