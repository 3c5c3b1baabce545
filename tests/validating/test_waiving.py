"""Waiving afterwards: the figures stay, the gate is accepted for all to read, and card and publishing see it."""

import json
import shutil

import pytest

from xrarchive import pipeline
from xrarchive.errors import GateError, InputDataError, SettingsError

GATE, REASON = "privacy.membership.critic", "The films are public."


@pytest.fixture
def archive(tiny_carded, tmp_path):
    return shutil.copytree(tiny_carded, tmp_path / "chests")


def report_of(archive):
    return json.loads((archive / "validation.json").read_bytes())


def test_a_gate_is_waived_and_every_figure_stays(archive):
    before = report_of(archive)
    pipeline.waive(archive, {GATE: REASON})
    after = report_of(archive)
    assert {key: value for key, value in after.items() if key != "gates"} == {
        key: value for key, value in before.items() if key != "gates"
    }
    changed = [new for old, new in zip(before["gates"]["list"], after["gates"]["list"], strict=True) if old != new]
    assert [(gate["name"], gate["status"], gate["reason"]) for gate in changed] == [(GATE, "waived", REASON)]
    assert REASON in (archive / "report.html").read_text()
    pipeline.write_card(archive)
    assert pipeline.check(archive, read_data=True).sound
    assert REASON in "".join((archive / name).read_text() for name in ("README.md", "SCORECARD.md"))


def test_it_is_what_waiving_while_measuring_gives(tiny_built, tiny_judge, tmp_path):
    closed, reason = "integrity.near_duplicates", "Images of 16 px are alike."
    one, other = (shutil.copytree(tiny_built, tmp_path / name / "chests") for name in ("one", "other"))
    pipeline.validate(one, judge=tiny_judge, only=("integrity",), waivers={closed: reason})
    pipeline.validate(other, judge=tiny_judge, only=("integrity",))
    pipeline.waive(other, {closed: reason})
    for name in ("validation.json", "report.html"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize(
    ("waivers", "message"),
    [
        ({"integrity.files": REASON}, "not closed"),
        ({"integrity.filse": REASON}, "no such gate"),
        ({GATE: " "}, "needs a reason"),
    ],
)
def test_what_cannot_be_waived_is_refused_and_changes_nothing(archive, waivers, message):
    before = (archive / "validation.json").read_bytes()
    with pytest.raises(SettingsError, match=message):
        pipeline.waive(archive, waivers)
    assert (archive / "validation.json").read_bytes() == before


def test_a_validation_of_other_content_is_refused(archive):
    report = report_of(archive) | {"manifest_sha256": "0" * 64}
    (archive / "validation.json").write_text(json.dumps(report))
    with pytest.raises(GateError, match="not of this archive as it is"):
        pipeline.waive(archive, {GATE: REASON})


def test_an_archive_without_validation_is_refused(tiny_built, tmp_path):
    with pytest.raises(InputDataError, match="No validation"):
        pipeline.waive(shutil.copytree(tiny_built, tmp_path / "chests"), {GATE: REASON})
