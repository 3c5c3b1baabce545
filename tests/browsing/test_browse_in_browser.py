"""The page as people meet it, in Chromium: narrow, wide, light, dark, by keyboard and mouse, with hostile text."""

import dataclasses
import json

import numpy as np
import pytest
from made_archive import FINDINGS, make_archive, make_image, make_plan

from xrarchive import pipeline
from xrarchive.archive.reader import read_pixels
from xrarchive.records import ImageRequest

pytestmark = pytest.mark.slow
LOOKS = [(320, "light"), (320, "dark"), (768, "light"), (1400, "light"), (1400, "dark")]
REQUESTS = (
    ImageRequest(("Mass",), 150),
    ImageRequest(("No Finding",), 150, absent=("Pleural_Thickening",)),
    ImageRequest(("Effusion", "Mass"), 120),
)


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    archive = make_archive(folder / "many", make_plan(requests=REQUESTS), rows_per_shard=200)
    return pipeline.browse(archive, folder / "page.html").out


def shown(found):
    return found.page.evaluate("() => document.querySelector('#count b').textContent")


def ids(found):
    return found.page.evaluate("() => [...document.querySelectorAll('.cell img')].map(one => one.alt)")


def press(found, *keys):
    for key in keys:
        found.page.keyboard.press(key)


def place(found):
    return found.page.evaluate("() => Number(document.activeElement.dataset.place)")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_page_looks_right_and_is_accessible(visit, screenshots, page_path, width, scheme):
    found = visit(page_path, width=width, scheme=scheme, offline=True)
    assert found.page.evaluate("() => [...document.querySelectorAll('.cell img')].every(one => one.decode)")
    assert found.sideways() == 0
    assert found.violations() == []
    found.page.screenshot(path=str(screenshots / f"browse-{width}-{scheme}.png"))
    found.page.locator("#filters").evaluate("one => { one.open = true }")
    assert found.sideways() == 0
    assert found.violations() == []
    found.page.locator(".cell").first.click()
    assert found.page.locator("#one").is_visible()
    assert found.violations() == []
    found.page.screenshot(path=str(screenshots / f"browse-{width}-{scheme}-one.png"))
    assert found.console == found.requests == []


def test_pictures_come_first(visit, page_path):
    for width, most in [(1400, 130), (768, 190), (320, 240)]:
        found = visit(page_path, width=width, height=700)
        box = found.page.locator(".cell img").first.bounding_box()
        assert box["y"] < most
        assert found.page.evaluate("() => document.querySelector('.cell img').naturalWidth") == 12


def test_only_the_rows_near_the_window_are_drawn_and_all_can_be_reached(visit, page_path):
    found = visit(page_path)
    assert shown(found) == "420"
    assert 0 < len(ids(found)) < 200
    found.page.locator(".cell").first.focus()
    press(found, "End")
    assert place(found) == 419
    last = found.page.evaluate("() => document.activeElement.getBoundingClientRect().bottom - window.innerHeight")
    assert last <= 0
    press(found, "Home")
    assert place(found) == 0
    assert len(ids(found)) < 200


def test_the_keyboard_alone(visit, page_path):
    found = visit(page_path)
    columns = int(found.page.get_attribute("#wall", "aria-colcount"))
    press(found, "ArrowRight")
    assert place(found) == 0
    press(found, "/")
    assert found.page.evaluate("() => document.activeElement.id") == "text"
    found.page.keyboard.type("Effusion+Mass-00000")
    assert shown(found) == "10"
    press(found, "Escape")
    assert place(found) == 0
    press(found, "ArrowRight", "ArrowRight", "Enter")
    assert found.page.locator("#one-id").inner_text().endswith("Effusion+Mass-000002")
    press(found, "ArrowRight")
    assert found.page.locator("#one-id").inner_text().endswith("Effusion+Mass-000003")
    press(found, "Escape")
    assert not found.page.locator("#one").is_visible()
    assert place(found) == 3
    found.page.click("#clear")
    assert shown(found) == "420"
    found.page.locator(".cell[data-place='0']").focus()
    press(found, "ArrowDown", "ArrowDown", "ArrowUp", "ArrowLeft")
    assert place(found) == columns - 1
    assert found.page.evaluate("() => document.querySelectorAll('.cell[tabindex=\"0\"]').length") == 1


def test_tab_goes_through_and_out(visit, page_path):
    found = visit(page_path)
    stops = found.tab_stops(on="nothing")
    assert stops[0]["text"] == "Skip to the images"
    assert all(stop["seen"] and stop["outline"] != "none" for stop in stops[1:])
    assert len(stops) < 30  # the wall is one stop


def test_findings_all_any_and_not(visit, page_path):
    found = visit(page_path)

    def finding(name):
        return found.page.locator("#findings button", has_text=name)

    finding("Mass").click()
    assert shown(found) == "270"
    finding("Effusion").click()
    assert shown(found) == "120"
    found.page.select_option("#mode", "any")
    assert shown(found) == "270"
    finding("Effusion").click()
    assert "not wanted" in finding("Effusion").inner_text()
    assert shown(found) == "150"
    assert all("-Mass-" in name for name in ids(found))
    finding("Effusion").click()
    assert shown(found) == "270"
    assert not found.page.locator("#findings button", has_text="Pleural_Thickening").is_visible()


def test_scores_filter_and_order(visit, page_path):
    found = visit(page_path)
    judged = json.loads(found.page.locator("#data").text_content())["images"]["judge"]
    k = FINDINGS.index("Mass")
    found.page.select_option("#score", f"judge:{k}")
    found.page.fill("#from", "0.5")
    assert shown(found) == str(sum(row[k] >= 500 for row in judged))
    found.page.select_option("#sort", "low")
    beneath = found.page.evaluate("() => [...document.querySelectorAll('.much')].map(one => Number(one.textContent))")
    assert beneath[0] >= 0.5
    assert beneath == sorted(beneath)
    found.page.fill("#to", "0.4")
    assert shown(found) == "0"
    assert found.page.locator("#none").is_visible()
    assert found.violations() == []
    found.page.click("#clear-too")
    assert shown(found) == "420"


def test_one_image_with_its_provenance(visit, page_path):
    found = visit(page_path)
    data = json.loads(found.page.locator("#data").text_content())
    found.page.locator(".cell").nth(2).click()
    rows = (
        "() => [...document.querySelectorAll('#facts div')].map(one => [...one.children].map(two => two.textContent))"
    )
    facts = dict(found.page.evaluate(rows))
    image = {name: values[2] for name, values in data["images"].items()}
    assert facts["Pixels"] == image["pixels"]
    assert facts["Latent"] == image["latent"]
    assert facts["Start"] == f"draw 1 of seed {image['seed']}"
    assert facts["Way"] == "7 steps, 12.5° from the draw"
    assert found.page.locator("#scores tr").count() == len(FINDINGS)
    assert f'["{image["id"]}"]' in found.page.locator("#command").inner_text()
    found.page.click("#sharp")
    assert (
        found.page.evaluate("() => getComputedStyle(document.getElementById('one-picture')).imageRendering")
        == "pixelated"
    )


def test_hostile_text_runs_nothing(visit, tmp_path, monkeypatch):
    evil = (
        '</script><img src="http://192.0.2.1/x.png" onerror="document.title=1"><script>document.title=2</script>\u202e'
    )

    def named(plan, planned):
        return dataclasses.replace(make_image(plan, planned), image_id=f"{evil}{planned.image_id}")

    monkeypatch.setattr("made_archive.make_image", named)
    archive = make_archive(tmp_path / "evil")
    found = visit(pipeline.browse(archive, tmp_path / "page.html", where=f"image_id != {evil!r}").out)
    found.page.locator(".cell").first.click()
    assert found.page.locator("#one-id").inner_text().startswith("</script><img")
    assert found.page.title() == "evil, version 1.0.0"
    assert found.console == found.requests == []


def test_without_script_the_page_says_so(visit, page_path):
    found = visit(page_path, java_script_enabled=False)
    assert "needs JavaScript" in found.page.locator("noscript").inner_text()


def test_a_picture_is_shown_as_it_is_stored(visit, page_path):
    found = visit(page_path)
    grey = found.page.evaluate(
        """() => { const one = document.querySelector('.cell img'), canvas = document.createElement('canvas');
        canvas.width = canvas.height = one.naturalWidth; const to = canvas.getContext('2d'); to.drawImage(one, 0, 0);
        return [...to.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, at) => at % 4 === 0); }"""
    )
    assert np.array_equal(np.reshape(grey, (12, 12)), read_pixels(page_path.parent / "many", [0])[0])
