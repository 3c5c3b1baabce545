"""A report of version 1 in the form of version 2: same numbers, no invented verdict."""

import json

import pytest
from made_report import made_report
from test_validation_report import rater, report_of, world

from xrarchive.reporting.measures import leaves, taken
from xrarchive.reporting.numbers import number
from xrarchive.reporting.validation import render_validation
from xrarchive.validation.older import as_newest
from xrarchive.validation.schema import validate_report


@pytest.fixture(scope="module")
def old():
    given = world()
    judge, referee = (rater(role, given["images"].judge, sha256="e" * 64) for role in ("judge", "referee"))
    report = report_of(given, judge=judge, referee=referee)
    if report["schema"] != "xrarchive.validation/1":
        pytest.skip("nothing writes version 1 any more")
    return json.loads(json.dumps(report, sort_keys=True))


def test_an_old_report_fits_the_newest_form_but_for_its_gates(old):
    newest = as_newest(old)
    assert newest["schema"] == "xrarchive.validation/2"
    assert as_newest(newest) is newest
    assert validate_report(newest) == ["the report: lacks gates"]
    assert validate_report(newest | {"gates": made_report()["gates"]}) == []


def test_every_number_of_an_old_report_is_on_its_page(old):
    html = render_validation(old, title="Old")
    assert "No verdict" in html
    assert html.count("Measures by the") == 2
    found = [one for part in ("fidelity", "labels", "labels_referee", "duplicates") for _, one in leaves(old[part])]
    assert len([one for one in found if taken(one)]) > 20
    assert all(number(one["value"]) in html for one in found if taken(one))
