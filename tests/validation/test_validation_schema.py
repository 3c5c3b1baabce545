"""The published form of validation.json: what we make fits it, what is broken does not, what is new does."""

import copy
import json

import jsonschema
import pytest
from made_report import made_report, thinned
from test_validation_report import rater, report_of, world

from xrarchive.validation.schema import load_schema, validate_report

ROLES = ("judge", "referee")


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(load_schema())


@pytest.mark.parametrize("count", [1, 60])
def test_what_make_report_gives_fits(count):
    given = world(count=count)
    judge, referee = (rater(role, given["images"].judge, sha256=f"{at}" * 64) for at, role in enumerate(ROLES))
    report = report_of(given, judge=judge, referee=referee)
    assert validate_report(json.loads(json.dumps(report))) == []


def test_a_full_report_fits():
    assert validate_report(made_report()) == []


@pytest.mark.parametrize("part", ["integrity", "fidelity", "diversity", "labels", "utility", "privacy", "instruments"])
def test_parts_may_be_left_out(part):
    report = thinned(made_report())
    assert validate_report({key: value for key, value in report.items() if key != part}) == []
    assert validate_report(report | {part: {"reason": "Left out by --only."}}) == []
    if part != "instruments":
        assert validate_report(report | {part: {"reason": ""}}) == [
            f'{part}.reason: expected 1 or more in it, found ""'
        ]


def test_new_keys_may_come_and_their_measures_are_held_to_the_form():
    report = thinned(made_report())
    fresh = copy.deepcopy(report["privacy"]["authenticity"])
    report |= {"weather": "fine"}
    report["privacy"]["hearsay"] = {"imagenet": fresh}
    report["labels"]["findings"]["Edema"]["hue"] = "blue"
    assert validate_report(report) == []
    del fresh["note"]
    report["privacy"]["hearsay"] = {"imagenet": fresh}
    assert validate_report(report) == ["privacy.hearsay.imagenet: lacks note"]


def changed(path, value):
    report = thinned(made_report())
    *parents, last = path.split(".")
    inner = report
    for name in parents:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    inner[last] = value
    return report


BROKEN = [
    ("schema", "xrarchive.validation/9", "schema: expected one of xrarchive.validation/1, xrarchive.validation/2"),
    ("manifest_sha256", "abc", "manifest_sha256: expected text like ^[0-9a-f]{64}$"),
    ("labels.findings.Edema.low", "0.5", 'labels.findings.Edema.low: expected a number or null, found "0.5"'),
    ("labels.findings.Edema.n", -1, "labels.findings.Edema.n: expected 0 at least, found -1"),
    ("labels.findings.Edema.n", True, "labels.findings.Edema.n: expected a whole number, found true"),
    ("labels.findings.Edema.note", "", 'labels.findings.Edema.note: expected 1 or more in it, found ""'),
    (
        "labels.findings.Edema.ceiling",
        {"value": "?"},
        'labels.findings.Edema.ceiling.value: expected a number, found "',
    ),
    ("labels.findings.Edema", {"value": None}, "labels.findings.Edema: lacks reason"),
    ("labels.findings.Edema.purity.soft", {"value": 1}, "labels.findings.Edema.purity.soft: lacks low, high, n, floor"),
    ("fidelity.judge.kid.high", float("nan"), "fidelity.judge.kid.high: expected a finite number, found nan"),
    ("fidelity.judge.kid.floor", [1], "fidelity.judge.kid.floor: expected null, found [1]"),
    ("diversity.co_occurrence.real", [["a"]], "diversity.co_occurrence.real[0][0]: expected a number or null"),
    ("privacy.histograms.pixels.edges", [0], "privacy.histograms.pixels.edges: expected 2 or more in it, found [0]"),
    ("gates.list.0.status", "maybe", "gates.list[0].status: expected one of passed, failed, waived, not measured"),
    ("gates.list.0.status", "waived", "gates.list[0]: lacks reason"),
    ("gates.open", None, "gates.open: expected yes or no, found null"),
    ("measured", ["weather"], "measured[0]: expected one of integrity, fidelity"),
    ("problems", [{"id": "a", "severity": "bad", "message": "b"}], "problems[0].severity: expected one of error"),
]


@pytest.mark.parametrize(("path", "value", "line"), BROKEN, ids=[f"{path}-{value}" for path, value, _ in BROKEN])
def test_what_is_broken_is_named_in_one_line(path, value, line):
    found = validate_report(changed(path, value))
    assert len(found) == 1, found
    assert found[0].startswith(line)


@pytest.mark.parametrize("report", [None, [], "text", {}, {"schema": 2}])
def test_what_is_no_report_is_refused(report):
    assert validate_report(report)
