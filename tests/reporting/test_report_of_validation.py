"""validation.json as a page: nothing measured is missing, nothing that is missing breaks it."""

import copy
import json
import re

import numpy as np
import pytest
from made_report import FINDINGS, PARTS, made_report, thinned
from test_report_page import Elements

from xrarchive.pixels import encode_png
from xrarchive.reporting.measures import leaves, taken
from xrarchive.reporting.numbers import number
from xrarchive.reporting.validation import PURPOSES, render_validation
from xrarchive.validation.measures import measure

PNG = encode_png(np.zeros((8, 12), np.uint8))


def render(report, **more):
    return render_validation(report, title="An archive", **more)


def text_of(report, **more):
    return " ".join(" ".join(Elements(render(report, **more)).texts).split())


def as_read(report):
    """As it comes from the file: keys in the order of the alphabet."""
    return json.loads(json.dumps(report, sort_keys=True))


def test_every_number_of_the_report_is_on_the_page():
    report = made_report()
    text = text_of(report)
    shown = set(text.split())
    found = [(path, one) for part in PARTS for path, one in leaves(report[part])]
    assert len(found) > 400
    missing = [path for path, one in found if taken(one) and number(one["value"]) not in shown]
    assert not missing
    reasons = [
        reason
        for path, one in found
        if not taken(one)
        for reason in [
            one["reason"],
            *(one["reason"].replace(name, "the finding") for name in path if name in FINDINGS),
        ][-1:]
    ]
    assert len(reasons) > 10
    assert all(reason in text for reason in reasons)


def test_parts_come_in_order_and_the_verdict_first():
    for report in (made_report(), as_read(made_report())):
        heads = re.findall(r'<h2 id="([\w-]+)-title"', render(report))
        assert heads == ["verdict", "gates", *PURPOSES, "appendix"]


def test_a_closed_gate_says_what_failed_and_what_would_help():
    text = text_of(made_report())
    verdict = text[text.index("Closed: 1 of 7 gates holds it back") : text.index("What must hold")]
    assert "privacy.reidentification 3 images are taken for a real patient's. Withdraw the images" in verdict
    assert "waived fidelity.kid" in verdict
    assert "Waived: A first version, to be replaced." in verdict
    assert "Closed: 2 of 7 gates hold it back" in text_of(made_report(failed=("privacy.copies", "labels.transfer")))


def test_open_gates_say_so():
    report = thinned(made_report(failed=()))
    assert "Open: 6 of 7 gates passed, 1 was waived" in text_of(report)
    assert "The weights may be published too." in text_of(report)
    for gate in report["gates"]["list"]:
        gate["status"] = "passed"
    assert "Open: all 7 gates passed" in text_of(report)


def test_a_gate_of_the_weights_does_not_close_the_images():
    report = thinned(made_report(failed=("weights.membership",)))
    report["gates"]["open"] = True
    text = text_of(report)
    assert "Open for the images: 1 of 7 gates holds back the weights" in text
    assert "The weights may not be published; the images can be, without them." in text
    assert "may be published too" not in text


def test_a_section_bears_the_worst_state_of_its_gates():
    html = render(thinned(made_report()))
    states = dict(re.findall(r'<h2 id="([\w-]+)-title">[^<]*<span class="state [\w-]+">([^<]+)<', html))
    assert states == {
        "integrity": "passed",
        "fidelity": "waived",
        "labels": "passed",
        "utility": "passed",
        "privacy": "failed",
    }


@pytest.mark.parametrize("part", [*PARTS, "gates", "instruments", "reference", "settings", "subject", "problems"])
def test_any_part_may_be_missing(part):
    report = thinned(made_report())
    without = {key: value for key, value in report.items() if key != part}
    assert "An archive" in text_of(without)
    if part in PARTS:
        assert "This part is not in the report." in text_of(without)
        assert "Left out by --only." in text_of(report | {part: {"reason": "Left out by --only."}})


@pytest.mark.parametrize("depth", [2, pytest.param(9, marks=pytest.mark.slow)])
def test_any_group_and_any_measure_may_be_missing(depth):
    report = thinned(made_report())
    places = [path for part in PARTS for path in groups(report[part], (part,))]
    assert len(places) > 60
    for path in (path for path in places if len(path) <= depth):
        cut = copy.deepcopy(report)
        *parents, last = path
        inner = cut
        for key in parents:
            inner = inner[key]
        del inner[last]
        render(cut)


def groups(tree, path):
    """Places of whatever holds more, one finding standing for all."""
    for key, inner in tree.items():
        if isinstance(inner, dict) and (key not in FINDINGS or key == "Edema"):
            yield (*path, key)
            yield from groups(inner, (*path, key))


def test_an_empty_report_is_a_page():
    assert "No verdict" in text_of({})


def test_nothing_measured_gives_reasons():
    report = thinned(made_report())
    for part in PARTS:
        for path, _ in list(leaves(report[part])):
            inner = report[part]
            for key in path[:-1]:
                inner = inner.get(key, {})
            inner[path[-1]] = {"value": None, "reason": f"No {path[0]} was at hand."}
    text = text_of(report)
    assert "No dcr was at hand." in text
    assert "No findings was at hand." in text


@pytest.mark.parametrize("part", PARTS)
def test_a_new_measure_gets_its_row(part):
    report = thinned(made_report())
    report[part]["hearsay"] = {"imagenet": measure(0.98765, n=10, note="What people say of it.")}
    text = text_of(report)
    assert "0.988" in text
    assert "What people say of it." in text


def test_hostile_names_do_nothing():
    evil = '<img src=x onerror=alert(1)>"{{7*7}}</script>'
    report = json.loads(json.dumps(thinned(made_report())).replace("Edema", json.dumps(evil)[1:-1]))
    plain, hostile = render(thinned(made_report()), sheets={"Edema": PNG}), render(report, sheets={evil: PNG})
    assert Elements(hostile).tags == Elements(plain).tags
    assert evil in "".join(Elements(hostile).texts)


def test_sheets_are_shown_with_their_alternative():
    html = render(thinned(made_report()), sheets={"Edema": PNG, "Mass": PNG})
    assert html.count('src="data:image/png;base64,') == 2
    assert 'alt="Contact sheet of synthetic chest radiographs asked to show Edema."' in html
    with pytest.raises(ValueError, match="must be a PNG"):
        render(thinned(made_report()), sheets={"Edema": b"no"})


def test_the_same_report_gives_the_same_page():
    assert render(thinned(made_report())) == render(thinned(made_report()))
