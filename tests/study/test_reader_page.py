"""The reader's page in a browser: whole studies read by keyboard, mouse and touch, interrupted, and without storage."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from xrarchive.study import pages
from xrarchive.study.folder import read_study
from xrarchive.study.results import read_results

PAGE_FOLDER = Path(pages.__file__).parent / "page"
HOSTILE = [
    "<script>window.bad=1</script>", '"><img src=x onerror="window.bad=1">', "</textarea><svg onload=window.bad=1>",
    "javascript:window.bad=1", '=HYPERLINK("http://x")', "{{7*7}}", "\u2028\u2029\x01\x7f", "lone \ud800 half \udc00",
    "😀 é 中 \u202e", "</script><script>window.bad=1//", "a\nb\r\nc\td", "\\\\'\"`", "<!--", "x" * 1000,
]  # fmt: skip


class Reader:
    """Somebody in front of a page."""

    def __init__(self, seen, folder, tmp_path):
        self.seen, self.page, self.folder, self.tmp_path = seen, seen.page, folder, tmp_path
        self.study, self.key = read_study(folder)
        self.trials = self.study.trials["reader-1"]

    def at(self, number):
        self.page.wait_for_selector(f"#films[data-number='{number}']")

    def begin(self):
        self.page.click("#begin")

    def paused(self):
        self.seen.expect("#rest-title").to_have_text("Paused")
        self.seen.expect("#go").to_be_focused()

    def shows(self, selector, words):
        self.seen.expect(selector).to_contain_text(words)

    def answer(self, number, *, finish=True):
        """Answer a case by keys: ratings go round, findings too, a rest is passed over."""
        self.at(number)
        protocol = self.study.protocol
        if protocol.asks_realism:
            self.page.keyboard.press(str(1 + number % (2 if protocol.layout == "pairs" else 6)))
        if protocol.task == "review":
            for key in "qwert":
                for _ in range(1 + number % 3):
                    self.page.keyboard.press(key)
            self.page.keyboard.press("y")
        elif protocol.asks_findings:
            self.page.keyboard.press("qwe"[number % 3])
        if finish:
            self.page.keyboard.press("Enter")
            self.rest(number)

    def rests(self, number):
        """Whether a rest follows this case, once anything follows it."""
        self.page.wait_for_selector(f"#films[data-number='{number + 1}'], #rest:not([hidden]), #end:not([hidden])")
        return self.page.is_visible("#rest")

    def rest(self, number):
        if self.rests(number):
            self.seen.expect("#go").to_be_focused()
            self.page.keyboard.press("Enter")

    def read(self, first=0, last=None):
        for number in range(first, len(self.trials) if last is None else last):
            self.answer(number)

    def save(self, button="#save"):
        with self.page.expect_download() as download:
            self.page.click(button)
        path = self.tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def result(self, path, accept=()):
        (result,) = read_results([path], self.study, self.key, accept=accept)
        return result

    def quiet(self):
        assert self.seen.console == []
        assert self.seen.requests == []
        assert self.page.evaluate("window.bad") is None


@pytest.fixture
def sit_down(studies, visit, tmp_path):
    def call(width=1400, height=900, number=1, **settings):
        more = {name: settings.pop(name) for name in ("offline", "has_touch") if name in settings}
        folder = studies(**settings)
        seen = visit(folder / "readers" / f"reader-{number}.html", width=width, height=height, **more)
        return Reader(seen, folder, tmp_path)

    return call


# ---- without a browser ----


def test_the_program_is_plain_enough_for_an_old_browser_and_reaches_nothing():
    text = (PAGE_FOLDER / "reader.js").read_text()
    code = re.sub(r"/\*.*?\*/|'(?:\\.|[^'\\])*'", "''", text, flags=re.S)
    for word in (r"=>", r"\blet\b", r"\bconst\b", r"`", r"\bclass\b", r"\basync\b", r"\.\.\.", r"\?\.", r"\?\?"):
        assert not re.search(word, code), word
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "fetch(", "XMLHttp", "Beacon"):
        assert word not in text
    assert "http:" not in text + (PAGE_FOLDER / "reader.css").read_text() + (PAGE_FOLDER / "reader.html").read_text()


def test_the_policy_lets_in_one_program_and_one_style(studies):
    text = (studies(task="both") / "readers" / "reader-1.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "*" not in policy


def test_a_hostile_title_stands_in_the_page_as_text(make, tmp_path):
    title = "</title></script><script>alert(1)</script>"
    make(tmp_path / "study", title=title)
    text = (tmp_path / "study" / "readers" / "reader-1.html").read_text()
    assert "<script>alert" not in text
    assert text.count("</title>") == 1


# ---- in a browser ----

browser = pytest.mark.slow


@browser
def test_a_whole_study_by_keyboard_alone(sit_down, screenshots):
    reader = sit_down(task="both", offline=True)
    page = reader.page
    page.screenshot(path=str(screenshots / "study-start.png"), full_page=True)
    assert reader.seen.violations() == []
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "begin":
            break
    page.keyboard.press("Enter")
    reader.at(0)
    page.keyboard.press("Enter")
    reader.shows("#lacking", "Still open: real or synthetic?")
    page.keyboard.press("3")
    reader.shows("#lacking", "Still open: findings")
    for key in ("+", "+", "ArrowLeft", "ArrowUp", "PageUp", "Home", "i"):
        page.keyboard.press(key)
    reader.seen.expect("#view").to_have_text("Zoom 156 %, inverted")
    page.screenshot(path=str(screenshots / "study-case.png"))
    assert reader.seen.violations() == []
    page.keyboard.press("0")
    reader.seen.expect("#view").to_have_text("Zoom 100 %")
    page.keyboard.press("Escape")
    reader.paused()
    reader.seen.expect("#films").to_be_hidden()
    page.screenshot(path=str(screenshots / "study-pause.png"))
    assert reader.seen.violations() == []
    page.keyboard.press("Enter")
    reader.at(0)
    reader.seen.expect("#rating-3").to_be_checked()
    reader.read()
    reader.seen.expect("#end").to_be_visible()
    assert reader.seen.violations() == []
    page.screenshot(path=str(screenshots / "study-end.png"))
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "save":
            break
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(reader.tmp_path / "result.json")
    result = reader.result(reader.tmp_path / "result.json")
    assert [answer.rating for answer in result.answers] == [1 + n % 6 for n in range(len(reader.trials))]
    first, second = reader.study.findings[:2]
    assert [answer.findings for answer in result.answers[:3]] == [(), (first,), (second,)]
    assert all(0 < answer.ms < 60_000 for answer in result.answers)
    reader.quiet()


@browser
def test_a_whole_study_of_pairs_by_mouse_alone(sit_down, screenshots):
    reader = sit_down(layout="pairs", cases=20)
    page = reader.page
    reader.begin()
    for number in range(len(reader.trials)):
        reader.at(number)
        if number == 0:
            box = page.locator("canvas").first.bounding_box()
            page.mouse.move(box["x"] + 50, box["y"] + 50)
            page.mouse.wheel(0, -300)
            page.mouse.down()
            page.mouse.move(box["x"] + 90, box["y"] + 80)
            page.mouse.up()
            page.mouse.down(button="right")
            page.mouse.move(box["x"] + 20, box["y"] + 20)
            page.mouse.up(button="right")
            reader.seen.expect("#view").to_have_text("Zoom 125 %")
            page.click("button:has-text('Contrast +')")
            page.click("button:has-text('Invert')")
            page.screenshot(path=str(screenshots / "study-pairs.png"))
            assert reader.seen.violations() == []
        page.click(f"text={'left film' if number % 2 else 'right film'}")
        page.click("#next")
        if reader.rests(number):
            page.click("#go")
    result = reader.result(reader.save())
    chosen = [trial.images[0 if n % 2 else 1] for n, trial in enumerate(reader.trials)]
    assert [answer.synthetic for answer in result.answers] == chosen
    reader.quiet()


@browser
def test_a_whole_review(sit_down, screenshots):
    reader = sit_down(task="review")
    reader.begin()
    reader.answer(0, finish=False)
    reader.page.screenshot(path=str(screenshots / "study-review.png"))
    assert reader.seen.violations() == []
    reader.page.keyboard.press("Enter")
    reader.rest(0)
    reader.read(1)
    result = reader.result(reader.save())
    assert [answer.items[0] for answer in result.answers[:3]] == ["absent", "present", "odd"]
    assert all(len(answer.items) == 5 for answer in result.answers)
    reader.quiet()


@browser
def test_a_film_is_shown_as_it_is_and_window_and_inversion_do_what_they_say(sit_down):
    reader = sit_down(task="realism")
    page = reader.page
    reader.begin()
    reader.at(0)
    grey = """() => { const c = document.querySelector('canvas'), d = c.getContext('2d');
        const side = Math.min(c.width, c.height), left = (c.width - side) / 2, top = (c.height - side) / 2;
        return [0.3, 0.5, 0.7].map(p => d.getImageData(left + side * p, top + side * p, 1, 1).data[0]); }"""
    plain = page.evaluate(grey)
    page.keyboard.press("i")
    assert page.evaluate(grey) == pytest.approx([255 - value for value in plain], abs=2)
    page.keyboard.press("i")
    assert page.evaluate(grey) == plain
    for _ in range(5):
        page.keyboard.press("Home")
    assert all(now >= before for now, before in zip(page.evaluate(grey), plain, strict=True))
    aspect = page.evaluate("() => { const b = document.querySelector('canvas'); return b.width / b.height }")
    box = page.locator("canvas").bounding_box()
    assert aspect == pytest.approx(box["width"] / box["height"], rel=0.01)


@browser
def test_a_reload_in_the_middle_loses_nothing(sit_down):
    reader = sit_down(task="both")
    page = reader.page
    reader.begin()
    reader.read(0, 9)
    reader.answer(9, finish=False)
    page.wait_for_timeout(400)
    page.reload()
    reader.shows("#start-kept", "9 answers of 28 kept from before.")
    reader.seen.expect("#begin").to_have_text("Go on")
    reader.begin()
    reader.read(9)
    result = reader.result(reader.save())
    assert len(result.answers) == 28
    assert result.answers[9].ms >= 400
    reader.quiet()


@browser
def test_starting_over_asks_and_forgets(sit_down):
    reader = sit_down(task="realism")
    page = reader.page
    reader.begin()
    reader.read(0, 3)
    page.reload()
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#again")
    reader.seen.expect("#begin").to_have_text("Begin")
    reader.begin()
    reader.at(0)


@browser
@pytest.mark.parametrize("fault", ["from the start", "in the middle"])
def test_without_storage_the_answers_go_by_file(sit_down, fault, screenshots):
    reader = sit_down(task="both")
    page = reader.page
    allowed = 0 if fault == "from the start" else 12
    page.add_init_script(
        f"""let left = {allowed}; const keep = Storage.prototype.setItem;
        Storage.prototype.setItem = function (name, value) {{
            if (left-- > 0) return keep.call(this, name, value);
            throw new DOMException('full', 'QuotaExceededError'); }};"""
    )
    page.reload()
    reader.begin()
    reader.read(0, 14)
    reader.shows("#warning", "This browser keeps nothing")
    page.screenshot(path=str(screenshots / "study-no-storage.png"))
    box = page.locator(".tools").bounding_box()
    assert box["y"] + box["height"] <= 900  # the warning pushes nothing out of the window
    assert reader.seen.violations() == []
    part = reader.save("#part")
    assert part.name.endswith("-part.json")
    assert len(reader.result(part, accept=("partial",)).answers) == 14
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.set_input_files("#load", str(part))
    page.wait_for_selector("#start-kept:not([hidden])")
    reader.shows("#start-kept", "14 answers of 28")
    reader.begin()
    reader.read(14)
    assert len(reader.result(reader.save()).answers) == 28
    reader.quiet()


@browser
def test_a_saved_file_that_was_changed_or_is_anothers_is_not_gone_on_with(sit_down):
    reader = sit_down(task="both")
    page = reader.page
    reader.begin()
    reader.read(0, 3)
    part = reader.save("#part")
    text = part.read_text()
    page.reload()
    for changed, words in (
        (text.replace('"rating": 1', '"rating": 2'), "was changed"),
        (text.replace('"reader-1"', '"reader-2"'), "no answers of reader-1"),
        ("[1", "no answers of reader-1"),
    ):
        part.write_text(changed)
        page.evaluate("() => { document.querySelector('#warning').textContent = '' }")
        page.set_input_files("#load", str(part))
        reader.shows("#warning", words)
    reader.quiet()


@browser
def test_two_windows_do_not_overwrite_each_other(sit_down):
    reader = sit_down(task="both")
    reader.begin()
    reader.answer(0)
    other = reader.page.context.new_page()
    other.goto(reader.page.url)
    other.click("#begin")
    other.wait_for_selector("#films[data-number='1']")
    other.keyboard.press("2")
    other.keyboard.press("q")
    other.keyboard.press("Enter")
    reader.page.wait_for_selector("#elsewhere:not([hidden])")
    reader.page.click("#here")
    reader.shows("#start-kept", "2 answers of 28")


@browser
def test_hostile_remarks_come_back_letter_for_letter(sit_down):
    reader = sit_down(task="both")
    page = reader.page
    reader.begin()
    for number in range(len(reader.trials)):
        reader.answer(number, finish=False)
        page.evaluate("text => { document.querySelector('#note').value = text }", HOSTILE[number % len(HOSTILE)])
        page.click("#next")
        if reader.rests(number):
            page.click("#go")
    page.evaluate("text => { document.querySelector('#comment').value = text }", HOSTILE[0])
    result = reader.result(reader.save())
    assert result.comment == HOSTILE[0]

    def typed(text):  # a text area makes every line end one, and half a character is none
        return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\r\n", "\n"))

    assert [answer.note for answer in result.answers[:14]] == [typed(text) for text in HOSTILE]
    reader.quiet()


@browser
def test_touch_works(sit_down):
    reader = sit_down(width=820, height=1180, task="both", has_touch=True)
    page = reader.page
    page.tap("#begin")
    for number in range(8):
        reader.at(number)
        page.tap("text=probably real")
        page.tap("text=No finding")
        page.tap("text=Zoom +")
        page.tap("#next")
        if reader.rests(number):
            page.tap("#go")
    assert len(reader.result(reader.save("#part"), accept=("partial",)).answers) == 8
    reader.quiet()


@browser
@pytest.mark.parametrize(("width", "height"), [(320, 640), (820, 1180), (1280, 720), (3840, 2160)])
@pytest.mark.parametrize("settings", [{"task": "both"}, {"layout": "pairs", "cases": 20}, {"task": "review"}], ids=str)
def test_every_size_of_window_holds_the_page(sit_down, screenshots, width, height, settings):
    reader = sit_down(width=width, height=height, **settings)
    assert reader.seen.sideways() == 0
    reader.begin()
    reader.at(0)
    assert reader.seen.sideways() == 0
    name = "-".join(map(str, settings.values()))
    reader.page.screenshot(path=str(screenshots / f"study-{name}-{width}.png"), full_page=width < 1000)
    box = reader.page.locator("canvas").first.bounding_box()
    assert box["height"] >= 0.25 * height
    assert reader.seen.violations() == []
    reader.quiet()


@browser
def test_single_keys_can_be_switched_off(sit_down):
    reader = sit_down(task="both")
    reader.begin()
    reader.at(0)
    reader.page.uncheck("#keys")
    reader.page.keyboard.press("3")
    reader.seen.settle()
    reader.seen.expect("#rating-3").not_to_be_checked()


@browser
def test_the_clock_stands_still_in_a_pause(sit_down):
    reader = sit_down(task="realism")
    page, started = reader.page, time.monotonic()
    reader.begin()
    reader.at(0)
    page.keyboard.press("Escape")
    reader.paused()
    page.wait_for_timeout(1500)
    page.keyboard.press("Enter")
    reader.answer(0)
    spent = time.monotonic() - started
    answer = reader.result(reader.save("#part"), accept=("partial",)).answers[0]
    assert answer.ms < 1000 * spent - 1400
