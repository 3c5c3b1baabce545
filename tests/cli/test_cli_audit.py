"""`xrarchive validate --images`: what reaches the pipeline and what is printed."""

from pathlib import Path

import pytest

SUBJECT = {"kind": "folder", "resized": "The images have 64 px and were measured as they are."}
REPORT = {"subject": SUBJECT, "gates": {"open": True, "weights_open": False, "list": []}}


@pytest.fixture
def audited(pipeline, monkeypatch):
    pipeline.results["audit"] = REPORT
    monkeypatch.setattr(pipeline, "audit", pipeline._recorder("audit"), raising=False)
    monkeypatch.setattr(pipeline, "report_path", lambda images: Path(f"{images}.json"), raising=False)
    return pipeline


def test_arguments_arrive(run_json, audited):
    line = "validate --images theirs --labels x.csv --findings Mass,Edema --out r.json --radiographs films --quick"
    code, result = run_json(f"{line} --only labels,utility --workers 2 --guide g --judge j --referee r")
    name, arguments, keywords = audited.calls[0]
    assert (code, name, arguments) == (0, "audit", (Path("theirs"), Path("x.csv")))
    for name in ("on_status", "cache", "gates"):
        del keywords[name]
    assert keywords == {
        "findings": ("Mass", "Edema"),
        "out": Path("r.json"),
        "radiographs": (Path("films"),),
        "guide": Path("g"),
        "judge": Path("j"),
        "referee": Path("r"),
        "only": ("labels", "utility"),
        "quick": True,
        "spaces": ("imagenet", "judge"),
        "waivers": {},
        "workers": 2,
    }
    assert result == REPORT | {"schema": "xrarchive.validate/1"}


@pytest.mark.usefixtures("audited")
def test_it_says_how_images_were_resized_and_where_the_report_is(run):
    stdout = run("validate --images theirs --labels x.csv").stdout
    assert "measured as they are" in stdout
    assert "Report: theirs.json" in stdout
    assert "xrarchive card" not in stdout
    assert "Report: r.json" in run("validate --images theirs --labels x.csv --out r.json").stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--images theirs", "--images DIR and --labels CSV go together"),
        ("--labels x.csv", "--images DIR and --labels CSV go together"),
        ("archive --images theirs --labels x.csv", "Name an archive or --images DIR, not both"),
        ("--images theirs --labels x.csv --generator g", "--generator goes with an archive"),
        ("archive --out r.json", "--out goes with --images DIR"),
        ("archive --as-measured", "--as-measured goes with --waive, of an archive"),
        ("--images theirs --labels x.csv --as-measured --waive a", "--as-measured goes with --waive, of an archive"),
        ("--findings Mass", "--findings goes with --images DIR"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(run, audited, line, message):
    result = run(f"validate {line}")
    assert result.exit_code == 2
    assert message in result.stderr
    assert audited.calls == []
