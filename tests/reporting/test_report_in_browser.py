"""The report as readers meet it, in Chromium: narrow, wide, light, dark, by keyboard, without script or network."""

import json

import numpy as np
import pytest
from made_report import FINDINGS, made_report

from xrarchive import pipeline
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.files import dump_json
from xrarchive.pixels import encode_png
from xrarchive.reporting.sheets import contact_sheets
from xrarchive.reporting.validation import render_validation
from xrarchive.validation.schema import validate_report

pytestmark = pytest.mark.slow
LOOKS = [(320, "light"), (320, "dark"), (768, "light"), (1400, "light"), (1400, "dark"), (3840, "light")]


@pytest.fixture(scope="module")
def report_html():
    rng = np.random.default_rng(1)
    sheets = {name: encode_png(rng.integers(0, 256, (128, 384)).astype(np.uint8)) for name in FINDINGS}
    return render_validation(made_report(), sheets=sheets, title="chest-1000, version 1.0.0")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_report_looks_right_and_is_accessible(visit, screenshots, report_html, width, scheme):
    found = visit(report_html, width=width, scheme=scheme, offline=True)
    assert found.sideways() == 0
    kept = found.keep(screenshots, f"report-{width}-{scheme}")
    assert all(path.stat().st_size > 2000 for path in kept)
    found.page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert found.sideways() == 0
    if width <= 1400:
        assert found.violations() == []
    assert found.console == []
    assert found.requests == []


def test_the_report_without_script(visit, report_html):
    plain = visit(report_html, java_script_enabled=False)
    assert plain.page.get_by_role("heading", level=1).inner_text() == "chest-1000, version 1.0.0"
    plain.expect("details >> nth=0 >> text=Edema-000017").to_be_hidden()
    plain.page.locator("summary").first.click()
    plain.expect("details >> nth=0 >> text=Edema-000017").to_be_visible()
    assert plain.console == []


def test_the_keyboard_reaches_and_opens_every_details(visit, report_html):
    found = visit(report_html)
    stops = found.tab_stops(press="Enter")
    count, opened = found.page.evaluate(
        "() => [document.querySelectorAll('summary').length, document.querySelectorAll('details[open]').length]"
    )
    assert count > 30
    assert len([stop for stop in stops if stop["tag"] == "summary"]) == opened == count
    assert stops[0]["text"] == "Skip to the verdict"
    assert all(stop["seen"] and stop["outline"] != "none" for stop in stops)


def test_a_screen_reader_finds_landmarks_tables_and_figures(visit, report_html):
    page = visit(report_html).page
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("navigation", name="Contents").count() == 1
    assert page.get_by_role("region", name="Closed: 1 of 7 gates holds it back").count() == 1
    assert page.get_by_role("table", name="Every gate with its bar").get_by_role("rowheader").count() == 7
    drawings = page.get_by_role("img", name="Does the judge see what was asked for?")
    assert drawings.count() == 1
    named = page.evaluate(
        "() => [...document.querySelectorAll('figure')].every(one => one.querySelector('figcaption'))"
    )
    assert named


def test_hostile_names_run_nothing_in_a_browser(visit):
    evil = '"><img src=x onerror="document.title=1"><script>document.title=2</script>\u202e'
    report = json.loads(json.dumps(made_report()).replace("Edema", json.dumps(evil)[1:-1]))
    found = visit(render_validation(report, title=evil))
    assert found.console == []
    assert found.requests == []
    assert "<script>" in found.page.title()
    assert found.page.locator("script").count() == 0


def test_the_report_prints(visit, report_html, screenshots):
    found = visit(report_html)
    found.page.emulate_media(media="print", color_scheme="dark")
    ink, paper = found.page.evaluate(
        "() => ['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
    )
    assert (ink, paper) == ("rgb(27, 33, 38)", "rgb(255, 255, 255)")
    pdf = found.page.pdf(path=str(screenshots / "report.pdf"), format="A4", print_background=True)
    assert pdf.startswith(b"%PDF")


@pytest.fixture(scope="module")
def real_report(tmp_path_factory):
    """Of an archive of 40 images, made with the bundled weights: report, images, class labels and vocabulary."""
    folder = tmp_path_factory.mktemp("real") / "archive"
    pipeline.build(folder, per_class=4, workers=1)
    report = pipeline.validate(folder)
    manifest = read_manifest(folder)
    return report, read_pixels(folder), read_table(folder, ["label"])["label"].to_numpy(), manifest.findings


def test_a_real_report(visit, screenshots, real_report):
    report, pixels, labels, findings = real_report
    assert validate_report(json.loads(dump_json(report))) == []
    sheets = contact_sheets(pixels, labels, findings)
    assert len(sheets) == len(set(labels.tolist())) >= 5
    found = visit(render_validation(report, sheets=sheets, title="Four of each"), offline=True)
    assert found.violations() == []
    assert found.page.locator(".picture img").count() == len(sheets)
    found.page.evaluate("() => Promise.all([...document.images].map(one => one.decode()))")
    assert found.page.evaluate("() => [...document.images].every(one => one.naturalWidth > 100)")
    found.keep(screenshots, "report-real")
    assert found.console == found.requests == []


def test_the_browser_would_notice(visit):
    page = "<!doctype html><title>x</title><p style='color:#ccc'>pale<img src='http://192.0.2.1/a.png'><script>oops()</script>"
    found = visit(page, width=320)
    assert any(line.startswith("color-contrast") for line in found.violations())
    assert any(line.startswith("image-alt") for line in found.violations())
    assert found.requests == ["http://192.0.2.1/a.png"]
    assert any("oops" in line for line in found.console)
    wide = visit("<!doctype html><title>x</title><div style='width:2000px'>x</div>", width=320)
    assert wide.sideways() == 1688
