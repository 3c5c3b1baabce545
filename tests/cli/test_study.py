"""`xrarchive study`: what reaches the pipeline, what is asked first and what is printed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from xrarchive.cli import study as command
from xrarchive.errors import GateError
from xrarchive.study.leaks import Leak
from xrarchive.study.making import StudyPlan, StudyReport
from xrarchive.study.models import ReaderModel
from xrarchive.study.power import plan_power
from xrarchive.study.protocol import Protocol

POWER = plan_power(60, 3, margin=0.1)
PLAN = StudyPlan(33, 33, 33, 3, ("Some terms.",), POWER)
REPORT = StudyReport(
    Path("study"), "ab" * 32, (Path("study/readers/reader-1.html"),), Path("study/key.json"), 1_000_000, (64,),
    {"Effusion": 3}, True, POWER, (Leak("id, first half", 0.51, 0.53),), (Leak("all together", 0.7, 0.8),), PLAN,
)  # fmt: skip
MEASURE = {"value": 0.36, "low": 0.26, "high": 0.46, "n": 30}
SCORE = {
    "technical": True,
    "realism": {
        "accuracy": MEASURE,
        "synthetic_called_real": MEASURE,
        "agreement": {"fleiss_kappa": {"value": None, "reason": "One reader."}},
        "equivalence": {"p": 0.8, "shown": False, "margin": 0.1},
    },
    "findings": {"confirmed": {"synthetic": MEASURE, "real": MEASURE}},
}


@dataclasses.dataclass
class Scored:
    out: Path = Path("study/score")
    files: tuple[Path, ...] = (Path("study/score/score.json"),)
    score: dict[str, object] = dataclasses.field(default_factory=lambda: SCORE)


@dataclasses.dataclass
class Simulated:
    out: Path = Path("sim")
    files: tuple[Path, ...] = (Path("sim/result-1.json"),)
    coverage: tuple[object, ...] = ()


@pytest.fixture
def called(pipeline, monkeypatch):
    def make_study(*args, **kwargs):
        pipeline.calls.append(("make_study", args, kwargs))
        return REPORT if kwargs["confirm"](PLAN) else None

    pipeline.results |= {"score_study": Scored(), "simulate_study": Simulated()}
    for name in ("score_study", "simulate_study"):
        monkeypatch.setattr(pipeline, name, pipeline._recorder(name), raising=False)
    monkeypatch.setattr(pipeline, "make_study", make_study, raising=False)
    return pipeline.calls


MAKE = "study make archive --radiographs set --out study"


def test_settings_arrive_as_a_protocol(run_json, called):
    code, result = run_json(
        f"{MAKE} --cases 60 --readers 2 --task both --repeats .2 --practice 8 --block 20 --margin .05 --seed 3 "
        "--technical --sizes 64,32 --title Films --yes"
    )
    _, args, kwargs = called[0]
    assert code == 0
    assert args[:3] == (Path("archive"), Path("set"), Path("study"))
    assert args[3] == Protocol(
        task="both", cases=60, readers=2, repeats=0.2, practice=8, block=20, margin=0.05, technical=True,
        title="Films", seed=3,
    )  # fmt: skip
    assert kwargs["sizes_px"] == (64, 32)
    assert result["schema"] == "xrarchive.study-make/1"
    assert result["plan"]["real"] == 33


def test_without_a_terminal_or_with_json_somebody_must_have_said_yes(run, called):
    for line in (MAKE, f"{MAKE} --json"):
        result = run(line)
        assert result.exit_code == 2
        assert "before real films leave this machine" in result.stdout + result.stderr
    assert called == []


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130)])
def test_on_a_terminal_it_says_what_leaves_and_asks(run, called, monkeypatch, answer, code):
    monkeypatch.setattr(command, "stdin_is_terminal", lambda: True)
    result = run(MAKE, input=f"{answer}\n")
    assert result.exit_code == code
    assert "33 real films of as many patients" in result.stderr
    assert "Some terms." in result.stderr
    assert ("Nothing was made." in result.stderr) == (answer == "n")
    assert len(called) == 1


def test_a_dry_run_asks_nothing_and_says_what_it_could_show(run, called):
    result = run(f"{MAKE} --cases 60 --dry-run")
    assert result.exit_code == 0
    assert "194 independent readings" in result.stdout
    assert "215 independent readings" in result.stdout
    assert "Nothing was written." in result.stdout
    assert len(called) == 1


def test_what_was_made_names_pages_key_and_leaks(run, called):
    text = run(f"{MAKE} --yes").stdout
    for word in ("AUC up to 0.53 (id, first half)", "AUC 0.70", "1.0 MB", "study/key.json", "technical study"):
        assert word in text
    assert called


@pytest.mark.parametrize("line", ["--task look", "--design triples", "--sizes a,b", "--cases x", "--seed -1"])
def test_unknown_settings_are_usage_errors(run, called, line):
    assert run(f"{MAKE} {line}").exit_code == 2
    assert called == []


def test_a_refusal_keeps_its_code(run, called, pipeline, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise GateError("No.", fix="Else.")

    monkeypatch.setattr(pipeline, "make_study", refuse)
    assert run(f"{MAKE} --yes").exit_code == 11
    assert called == []


def test_results_arrive_in_order_and_the_score_is_the_json(run_json, called):
    code, result = run_json("study score study b.json a.json --accept partial,doubled --seed 4 --out there")
    name, args, kwargs = called[0]
    assert (code, name, args) == (0, "score_study", (Path("study"), (Path("b.json"), Path("a.json"))))
    assert kwargs == {"out": Path("there"), "accept": ("partial", "doubled"), "seed": 4}
    assert result["realism"]["accuracy"] == MEASURE
    assert result["files"] == ["study/score/score.json"]


def test_a_score_reads_well(run, called):
    text = run("study score study a.json").stdout
    for word in (
        "synthetic called real",
        "0.26 to 0.46",
        "not shown (p = 0.8)",
        "One reader.",
        "nothing about realism",
    ):
        assert word in text
    assert called


@pytest.mark.parametrize("line", ["study score study", "study score study a.json --accept foreign", "study"])
def test_what_is_missing_or_unknown_is_a_usage_error(run, called, line):
    assert run(line).exit_code == 2
    assert called == []


def test_the_model_of_the_readers_arrives(run, called):
    result = run("study simulate study --out sim --sensitivity .5 --bias .1 --reader-sd 0 --studies 10 --seed 2")
    _, args, kwargs = called[0]
    assert args == (Path("study"), Path("sim"), ReaderModel(0.5, 0.1, 0.0, 0.2, 0.5))
    assert (kwargs["studies"], kwargs["seed"]) == (10, 2)
    assert "xrarchive study score STUDY sim/*.json" in result.stdout
