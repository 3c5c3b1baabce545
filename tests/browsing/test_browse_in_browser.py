"""The page as people meet it, in Chromium: narrow, wide, light, dark, by keyboard and mouse, with hostile text."""

import dataclasses
import json
import re

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


def shows(found, count):
    found.expect("#count b").to_have_text(str(count))


def stands_at(found, place):
    """The focus is on the cell of this place."""
    found.expect(f".cell[data-place='{place}']").to_be_focused()


def opened(found, name):
    """The image of this name is open."""
    found.expect("#one-id").to_have_text(re.compile(f"{re.escape(name)}$"))


def ids(found):
    return found.page.evaluate("() => [...document.querySelectorAll('.cell img')].map(one => one.alt)")


def press(found, *keys):
    for key in keys:
        found.page.keyboard.press(key)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_page_looks_right_and_is_accessible(visit, screenshots, page_path, width, scheme):
    found = visit(page_path, width=width, scheme=scheme, offline=True)
    found.page.evaluate("() => Promise.all([...document.querySelectorAll('.cell img')].map(one => one.decode()))")
    assert found.sideways() == 0
    assert found.violations() == []
    found.page.screenshot(path=str(screenshots / f"browse-{width}-{scheme}.png"))
    found.page.locator("#filters").evaluate("one => { one.open = true }")
    assert found.sideways() == 0
    assert found.violations() == []
    found.page.locator(".cell").first.click()
    found.expect("#one").to_be_visible()
    assert found.violations() == []
    found.page.screenshot(path=str(screenshots / f"browse-{width}-{scheme}-one.png"))
    assert found.console == found.requests == []


def test_pictures_come_first(visit, page_path):
    for width, most in [(1400, 130), (768, 190), (320, 240)]:
        found = visit(page_path, width=width, height=700)
        first = found.page.locator(".cell img").first
        first.evaluate("one => one.decode()")
        assert first.evaluate("one => one.naturalWidth") == 12
        assert first.bounding_box()["y"] < most


def test_only_the_rows_near_the_window_are_drawn_and_all_can_be_reached(visit, page_path):
    found = visit(page_path)
    shows(found, 420)
    assert 0 < len(ids(found)) < 200
    found.page.locator(".cell").first.focus()
    press(found, "End")
    stands_at(found, 419)
    last = found.page.evaluate("() => document.activeElement.getBoundingClientRect().bottom - window.innerHeight")
    assert last <= 0
    press(found, "Home")
    stands_at(found, 0)
    found.settle()
    assert len(ids(found)) < 200


def test_a_window_that_grows_taller_is_filled(visit, page_path):
    found = visit(page_path, height=300)
    found.page.set_viewport_size({"width": 1400, "height": 1600})
    lowest = "() => Math.max(...[...document.querySelectorAll('.cell')].map(one => one.getBoundingClientRect().bottom))"
    found.page.wait_for_function(f"() => ({lowest})() >= window.innerHeight")


def test_a_click_ends_on_the_cell_on_which_it_began(visit, page_path):
    """Drawn anew between press and release, the cell would be another and nothing would open."""
    found = visit(page_path)
    found.page.evaluate(
        """() => { const text = document.getElementById('text'); text.value = 'Effusion';
        text.dispatchEvent(new Event('input', { bubbles: true }));
        window.pressed = document.querySelector('.cell'); }"""
    )
    found.settle()
    shows(found, 120)
    assert found.page.evaluate("() => window.pressed.isConnected")


def test_the_keyboard_alone(visit, page_path):
    found = visit(page_path)
    columns = int(found.page.get_attribute("#wall", "aria-colcount"))
    press(found, "ArrowRight")
    stands_at(found, 0)
    press(found, "/")
    found.expect("#text").to_be_focused()
    found.page.keyboard.type("Effusion+Mass-00000")
    shows(found, 10)
    press(found, "Escape")
    stands_at(found, 0)
    press(found, "ArrowRight", "ArrowRight", "Enter")
    opened(found, "Effusion+Mass-000002")
    press(found, "ArrowRight")
    opened(found, "Effusion+Mass-000003")
    press(found, "Escape")
    found.expect("#one").to_be_hidden()
    stands_at(found, 3)
    found.page.click("#clear")
    shows(found, 420)
    found.page.locator(".cell[data-place='0']").focus()
    press(found, "ArrowDown", "ArrowDown", "ArrowUp", "ArrowLeft")
    stands_at(found, columns - 1)
    found.expect(".cell[tabindex='0']").to_have_count(1)


@pytest.mark.parametrize("way", ["byId('close').click()", "byId('one').dispatchEvent(new Event('cancel'))"])
def test_the_focus_is_on_the_image_that_was_open_as_soon_as_it_is_closed(visit, page_path, way):
    """The browser tells `close` later: keys typed in between would go to the image one came from."""
    found = visit(page_path)
    third = ids(found)[2]
    press(found, "ArrowRight", "Enter", "ArrowRight", "ArrowRight")
    opened(found, third)
    at_once = "return [byId('one').open, document.activeElement.dataset.place];"
    left = found.page.evaluate(f"() => {{ const byId = name => document.getElementById(name); {way}; {at_once} }}")
    assert left == [False, "2"]
    press(found, "Enter")
    found.expect("#one").to_be_visible()
    opened(found, third)


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
    shows(found, 270)
    finding("Effusion").click()
    shows(found, 120)
    found.page.select_option("#mode", "any")
    shows(found, 270)
    finding("Effusion").click()
    found.expect("#findings button:has-text('Effusion')").to_contain_text("not wanted")
    shows(found, 150)
    assert all("-Mass-" in name for name in ids(found))
    finding("Effusion").click()
    shows(found, 270)
    found.expect("#findings button:has-text('Pleural_Thickening')").to_be_hidden()


def test_scores_filter_and_order(visit, page_path):
    found = visit(page_path)
    judged = json.loads(found.page.locator("#data").text_content())["images"]["judge"]
    k = FINDINGS.index("Mass")
    found.page.select_option("#score", f"judge:{k}")
    found.page.fill("#from", "0.5")
    shows(found, sum(row[k] >= 500 for row in judged))
    found.page.select_option("#sort", "low")
    beneath = found.page.evaluate("() => [...document.querySelectorAll('.much')].map(one => Number(one.textContent))")
    assert beneath[0] >= 0.5
    assert beneath == sorted(beneath)
    found.page.fill("#to", "0.4")
    shows(found, 0)
    found.expect("#none").to_be_visible()
    assert found.violations() == []
    found.page.click("#clear-too")
    shows(found, 420)


def test_one_image_with_its_provenance(visit, page_path):
    found = visit(page_path)
    data = json.loads(found.page.locator("#data").text_content())
    found.page.locator(".cell").nth(2).click()
    found.expect("#one").to_be_visible()
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
    found.expect("#one-picture").to_have_css("image-rendering", "pixelated")


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
    found.expect("#one-id").to_contain_text("</script><img")
    assert found.page.title() == "evil, version 1.0.0"
    assert found.console == found.requests == []


def test_without_script_the_page_says_so(visit, page_path):
    found = visit(page_path, java_script_enabled=False)
    assert "needs JavaScript" in found.page.locator("noscript").inner_text()


def test_a_picture_is_shown_as_it_is_stored(visit, page_path):
    found = visit(page_path)
    grey = found.page.evaluate(
        """async () => { const one = document.querySelector('.cell img'), canvas = document.createElement('canvas');
        await one.decode(); canvas.width = canvas.height = one.naturalWidth;
        const to = canvas.getContext('2d'); to.drawImage(one, 0, 0);
        return [...to.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, at) => at % 4 === 0); }"""
    )
    assert np.array_equal(np.reshape(grey, (12, 12)), read_pixels(page_path.parent / "many", [0])[0])
