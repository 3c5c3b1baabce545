"""What each command passes on and prints."""

import inspect
import json
from pathlib import Path

import pytest

from xrarchive.classifier.settings import ClassifierSettings
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.plan import SearchSettings
from xrarchive.radiographs.layouts import Choices
from xrarchive.records import Tally

# One line per command: what is typed, the pipeline function, and some of what must arrive there.
ARRIVES = [
    (
        "ingest src --out set --size 32 --findings A,B --terms mednist",
        "ingest",
        {"size_px": 32, "findings": ("A", "B")},
    ),
    (
        "ingest src --out set --layout chexpert --uncertain zeros --uncertain Edema=ones --views PA,AP --readers any",
        "ingest",
        {"choices": Choices(layout="chexpert", uncertain=("zeros", "Edema=ones"), views=("PA", "AP"), readers="any")},
    ),
    ("ingest src --dry-run", "survey", {"findings": None, "choices": Choices()}),
    ("train generator set --out run", "train_generator", {"settings": GeneratorSettings()}),
    (
        "train generator set --nimg 64 --set start_px=16",
        "train_generator",
        {"settings": GeneratorSettings(nimg=64, start_px=16)},
    ),
    ("train classifier set --role judge", "train_classifier", {"role": "judge", "settings": ClassifierSettings()}),
    ("train classifier set --role referee", "train_classifier", {"role": "referee", "guide": None}),
    ("train classifier set --role judge --guide runs/g", "train_classifier", {"guide": Path("runs/g")}),
    (
        "train classifier set --role guide --set shift=0",
        "train_classifier",
        {"settings": ClassifierSettings(shift=0.0)},
    ),
    ("build", "build", {"per_class": 20, "findings": None, "requests": None, "generator": None, "seed": 0}),
    ("build --per-class 3 --findings A,B --seed 7", "build", {"per_class": 3, "findings": ("A", "B"), "seed": 7}),
    ("build --requests r.csv", "build", {"per_class": None, "findings": None}),
    (
        "build --like-real 500 --boost 0.5 --exclusive",
        "build",
        {"per_class": None, "like_real": 500, "boost": 0.5, "exclusive": True, "search": SearchSettings(natural=True)},
    ),
    ("build --like-real 500 --strictness 0.1", "build", {"search": SearchSettings(strictness=0.1)}),
    (
        "build --strictness 0.01 --match view,sex --judge-filter --set steps=3",
        "build",
        {"search": SearchSettings(strictness=0.01, match=("view", "sex"), judge_filter=True, steps=3)},
    ),
    ("validate", "validate", {"radiographs": (), "only": (), "quick": False}),
    ("validate --judge w --radiographs films", "validate", {"judge": Path("w"), "radiographs": (Path("films"),)}),
    ("validate", "validate", {"spaces": ("imagenet", "judge"), "cache": Path("cache")}),
    (
        "validate --space inception=w.pth --space judge --no-cache",
        "validate",
        {"spaces": ("inception=w.pth", "judge"), "cache": None},
    ),
    ("validate a --as-measured --waive fidelity.kid --reason JPEG", "waive", {}),
    ("card", "write_card", {}),
    (
        "publish archive me/x --version 1.0.0 --yes",
        "publish",
        {"version": "1.0.0", "model_repo": None, "dry_run": False},
    ),
    ("show --contact-sheet s.png", "show", {}),
    ("check", "check", {"read_data": False, "decode": False, "regenerate": 0}),
    ("check --read-data --decode", "check", {"read_data": True, "part": (1, 1), "decode": True}),
    ("check --read-data-subset 3/7", "check", {"read_data": True, "part": (3, 7)}),
    ("check --regenerate 5 --generator w", "check", {"read_data": False, "regenerate": 5, "generator": Path("w")}),
    ("check --signers k.pub", "check", {"signers": Path("k.pub")}),
    ("publish a me/x --sign key --dry-run", "publish", {"sign": Path("key"), "dry_run": True}),
    ("status run", "status", {"plot": None}),
    ("status run --plot curves.png", "status", {"plot": Path("curves.png")}),
]


@pytest.mark.parametrize(("line", "function", "expected"), ARRIVES)
def test_arguments_arrive(run, pipeline, line, function, expected):
    result = run(line)
    assert result.exit_code == 0, result.stderr
    name, _, keywords = pipeline.calls[0]
    assert name == function
    assert {key: keywords[key] for key in expected} == expected


@pytest.mark.parametrize(("line", "function", "_expected"), ARRIVES)
def test_the_real_pipeline_takes_what_commands_pass(run, pipeline, monkeypatch, line, function, _expected):
    run(line)
    _, args, keywords = pipeline.calls[0]
    monkeypatch.undo()
    real = pytest.importorskip("xrarchive.pipeline")
    inspect.signature(getattr(real, function)).bind(*args, **keywords)


@pytest.mark.parametrize("line", [line for line, _, _ in ARRIVES])
def test_json_is_one_object_on_stdout_with_a_schema(run, line):
    result = run(f"{line} --json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout)["schema"].startswith("xrarchive.")


def test_the_project_file_supplies_what_is_left_out(run, pipeline, folder):
    (folder / "xrarchive.toml").write_text(
        '[ingest]\nout = "films"\n[train]\nguide_out = "w/guide"\n[generator]\nnimg = 6400\n[build]\nper_class = 5\n'
        'out = "chests"\nexclusive = true\n[search]\nmatch = ["view"]\nslots = 3\n'
        '[validate]\nradiographs = ["films"]\n[publish]\nrepo = "me/chests"\nversion = "2.0.0"\n'
    )
    lines = ("build", "validate", "publish --yes", "train generator --batch 16", "train classifier --role guide")
    for line in (*lines, "build --per-class 9"):
        assert run(line).exit_code == 0, line
    calls = [(*(str(arg) for arg in args), keywords) for _, args, keywords in pipeline.calls]
    assert calls[0][0] == "chests"
    assert calls[0][1]["per_class"] == 5
    assert calls[0][1]["exclusive"] is True
    assert calls[0][1]["search"] == SearchSettings(match=("view",), slots=3)
    assert (calls[1][0], calls[1][1]["radiographs"]) == ("chests", (Path("films"),))
    assert calls[2][:2] == ("chests", "me/chests")
    assert calls[2][2]["version"] == "2.0.0"
    assert calls[3][:2] == ("films", "runs/generator")
    assert calls[3][2]["settings"] == GeneratorSettings(nimg=6400, batch=16)
    assert calls[4][:2] == ("films", "w/guide")
    assert calls[5][1]["per_class"] == 9


def test_the_weights_of_a_build_are_those_of_its_validation_and_publication(run, pipeline, folder):
    (folder / "xrarchive.toml").write_text('[build]\ngenerator = "g"\nguide = "w"\njudge = "j"\n')
    assert run("validate").exit_code == 0
    assert run("publish archive me/x --version 1.0.0 --model-repo me/y --guide other --yes").exit_code == 0
    (_, _, validated), (_, _, published) = pipeline.calls
    assert validated["judge"] == Path("j")
    assert [published[role] for role in ("generator", "guide", "judge")] == [Path("g"), Path("other"), Path("j")]


def test_one_positional_of_publish_is_the_archive(run, pipeline, folder):
    (folder / "xrarchive.toml").write_text('[publish]\nrepo = "me/chests"\n')
    assert run("publish other --version 1.0.0 --yes").exit_code == 0
    assert [str(arg) for arg in pipeline.calls[0][1]] == ["other", "me/chests"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ingest", "SRC is missing"),
        ("ingest src", "--out is missing"),
        ("train generator", "SET is missing"),
        ("publish archive --version 1.0.0 --yes", "REPO is missing"),
        ("train classifier set", "--role"),
        ("train classifier set --role guide --guide runs/g", "--guide is for judge and referee"),
        ("train classifier set --role judge --set architecture=round", "architecture must be one of residual"),
        ("build --requests r.csv --per-class 3", "leave out"),
        ("build --like-real 9 --findings A", "leave out"),
        ("build --boost 0.5", "boost goes with like_real"),
        ("build --like-real 9 --boost 2", "boost must lie between 0 and 1"),
        ("build --strictness 0", "strictness must lie between 0 and 1"),
        ("build --set learning_rate=0.1", "unknown key 'learning_rate'"),
        ("build --set steps=0", "steps must be at least 1"),
        ("train generator set --set nimgs=3", "Did you mean 'nimg'?"),
        ("train generator set --set batch=3", "multiple of group"),
        ("train generator set --set batch=many", "whole number"),
        ("train generator set --set batch", "key=value"),
        ("bild", "Did you mean 'build'?"),
        ("build --per-clas 3", "--per-class"),
        ("build --findings A,,B", "empty name"),
    ],
)
def test_refused_with_words_and_a_next_step(run, pipeline, line, words):
    result = run(line)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "\nFix: " in result.stderr
    assert result.stdout == ""
    assert pipeline.calls == []


def test_a_shortfall_is_a_result_with_exit_code_10(run_json, pipeline):
    pipeline.results["build"] = type(pipeline.results["build"])(
        shortfall=True, tallies=(Tally(("Hernia",), ("Mass",), 5, 1, 40, 1, 0.25, 3.0, 20.5),)
    )
    code, result = run_json("build")
    assert code == 10
    assert result["shortfall"] is True
    assert result["tallies"] == [
        {
            "findings": ["Hernia"],
            "absent": ["Mass"],
            "asked": 5,
            "accepted": 1,
            "starts": 40,
            "filtered": 1,
            "missed_by": 0.25,
            "median_steps": 3.0,
            "median_travel_deg": 20.5,
        }
    ]


def test_damage_found_is_exit_code_6(run, run_json, pipeline):
    problem = {"id": "bytes", "path": "data/train-00000.parquet", "message": "one byte differs"}
    pipeline.results["check"] = type(pipeline.results["check"])(problems=(problem,))
    code, result = run_json("check")
    assert (code, result["ok"]) == (6, False)
    stdout = run("check").stdout
    assert "data/train-00000.parquet: one byte differs" in stdout
    assert "1 problem found." in stdout


def test_human_output_escapes_what_a_file_name_may_hold(run):
    stdout = run("ingest src --out set").stdout
    assert "\x1b" not in stdout
    assert r"a\x1b[2J.png: truncated" in stdout
    assert "Effusion" in stdout


def test_a_dry_run_says_what_would_be_taken_and_writes_nothing(run, run_json):
    stdout = run("ingest src --dry-run").stdout
    for words in ("chexpert", "train.csv", "view-lateral", "uncertain", "word 0 12", "2 more: --json", "A note."):
        assert words in stdout
    assert r"missing   a\x1b[2J.png" in stdout
    assert stdout.endswith("Nothing was written.\n")
    code, result = run_json("ingest src --dry-run")
    assert (code, result["schema"], result["missing"]) == (0, "xrarchive.ingest-dry-run/1", 1)


def test_numbers_that_are_none_become_null(run_json):
    _, result = run_json("train generator set")
    assert result["images_per_s"] is None
    assert result["out"] == "run"


def test_publish_never_asks_where_nobody_can_answer(run, run_json, pipeline):
    line = "publish archive me/x --version 1.0.0"
    result = run(line)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    code, error = run_json(line)
    assert (code, error["kind"]) == (2, "settings")
    assert "--yes" in error["fix"]
    assert pipeline.calls == []
    assert run(f"{line} --dry-run").exit_code == 0


@pytest.mark.parametrize(("answer", "code", "words"), [("y\n", 0, "is published"), ("n\n", 130, "")])
def test_publish_shows_its_plan_and_asks(run, monkeypatch, answer, code, words):
    monkeypatch.setattr("xrarchive.cli.publish.stdin_is_terminal", lambda: True)
    result = run("publish archive me/x --version 1.0.0", input=answer)
    assert result.exit_code == code
    assert "dataset me/chests: 1 files, 2.0 MB, tag v1.0.0" in result.stderr
    assert words in result.stdout
    assert "Publish?" not in result.stdout


def test_init_writes_a_file_once(run, folder):
    assert run("init").exit_code == 0
    assert run("build").exit_code == 0
    before = (folder / "xrarchive.toml").read_bytes()
    result = run("init")
    assert result.exit_code == 2
    assert (folder / "xrarchive.toml").read_bytes() == before


def test_validate_prints_every_measure(run, pipeline):
    found = {"value": 0.91, "low": 0.85, "high": 0.95, "n": 20, "ceiling": {"value": 0.8}}
    found["transfer"] = {"value": None, "reason": "No generator."}
    found["purity"] = {"soft": {"value": 0.31, "low": 0.25, "high": 0.4, "n": 20}}
    reached = {"value": 0.97, "low": None, "high": None, "n": 20}
    pipeline.results["validate"] |= {"labels": {"by": "judge", "findings": {"Effusion": found}, "reached": reached}}
    pipeline.results["validate"]["problems"] = [{"id": "x", "severity": "warning", "message": "Few images."}]
    stdout = run("validate").stdout
    assert "images that reach their bar" in stdout
    line = next(line for line in stdout.splitlines() if line.startswith("Effusion"))
    words = ("Effusion", "judge", "20", "0.91 (0.85 to 0.95)", "0.8", "–", "0.31 (0.25 to 0.4)", "No generator.")
    assert [word.strip() for word in line.split("  ") if word.strip()] == list(words)
    assert "warning: Few images." in stdout


def test_validate_ends_with_11_and_says_what_would_open_a_closed_gate(run, pipeline):
    closed = {"name": "privacy.copies", "status": "failed", "weights": False, "message": "Copies 1, must be at most 0."}
    gate = closed | {"reason": "", "help": "Look at the pairs."}
    pipeline.results["validate"] = {"gates": {"open": False, "weights_open": False, "list": [gate]}}
    result = run("validate --waive fidelity.kid --reason JPEG")
    assert result.exit_code == 11
    assert "Copies 1, must be at most 0." in result.stdout
    assert "To open privacy.copies: Look at the pairs." in result.stdout
    assert "Next:" not in result.stdout
    assert pipeline.calls[-1][2]["waivers"] == {"fidelity.kid": "JPEG"}
    assert json.loads(run("validate --json").stdout)["gates"]["open"] is False


def test_status_prints_what_matters(run):
    lines = run("status run").stdout.splitlines()
    assert lines == [
        "run         run",
        "state       running",
        "images      100 of 200 (50.0 %)",
        "stage       16 px, alpha 0.5",
        "speed       10 images/s, 2 min 20 s left",
        "losses      discriminator 1.25, generator 0.75",
        "best KID    0.31 at 80 images",
        "critic      AUROC 0.55 of films it was trained on against others",
        "checkpoint  nimg-000000080",
        "warning: collapse: the images are alike.",
    ]


def test_status_before_the_first_tick(run, pipeline):
    unknown = dict.fromkeys(("px", "alpha", "images_per_s", "left_s", "best", "critic", "checkpoint"))
    pipeline.results["status"] |= unknown | {"state": "running", "nimg": 0, "last": {}, "warnings": []}
    lines = run("status run").stdout.splitlines()
    assert lines[2:] == ["images      0 of 200 (0.0 %)", "stage       –", "speed       – images/s"] + [
        f"{name:<10}  –" for name in ("losses", "best KID", "critic", "checkpoint")
    ]
