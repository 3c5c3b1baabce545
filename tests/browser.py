"""Pages in headless Chromium: opened as files, offline, with every message and request kept.

`tests/conftest.py` makes the fixtures known everywhere: `visit` opens a page and gives a `Visit`.

*Why `Visit.expect`*: a browser tells much of what follows from a key or a click only later (`close` of a dialog,
scroll, resize, a frame, a picture, a tap's click); how much later depends on the machine. So state is waited for, with
a bound.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
# Chromium draws no picture of more lines than this in one piece.
STRIP_PX = 4000
# How long a page may take to come to what is expected of it: much more than a loaded machine needs.
PATIENCE_S = 120
# Sizes are told to a page after one frame, and it draws in the next.
_FRAMES = """() => new Promise(done => {
    const after = n => n ? requestAnimationFrame(() => after(n - 1)) : done();
    after(3);
})"""
SCREENSHOTS = pytest.StashKey[Path]()
_DESCRIBE = """() => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const box = one.getBoundingClientRect();
    return {tag: one.localName, text: one.textContent.trim().slice(0, 60), id: one.id,
            seen: box.width > 0 && box.height > 0, outline: getComputedStyle(one).outlineStyle};
}"""


@dataclass
class Visit:
    """A page that is open.

    Attributes:
        page: Playwright's.
        console: Warnings, errors and uncaught exceptions so far.
        requests: Addresses asked for, but for the page itself and data inside it; none of them was answered.
    """

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def expect(self, selector: str) -> Any:
        """Playwright's assertions on what is found there: each waits, for at most `PATIENCE_S`, until it is true."""
        from playwright.sync_api import expect

        expect.set_options(timeout=1000 * PATIENCE_S)
        return expect(self.page.locator(selector))

    def settle(self) -> None:
        """Wait until the page was told its size and has drawn itself."""
        self.page.evaluate(_FRAMES)

    def violations(self) -> list[str]:
        """What axe-core finds wrong, a line each, with the element; empty is clean."""
        self.settle()
        base = pytest.importorskip("axe_playwright_python.base")
        self.page.evaluate(base.AXE_FILE_PATH.read_text(encoding="utf-8"))
        found = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{item['id']}: {item['help']}: {node['html'][:200]} {node['failureSummary']}"
            for item in found["violations"]
            for node in item["nodes"]
        ]

    def tab_stops(self, *, press: str = "", on: str = "summary", limit: int = 1000) -> list[dict[str, Any]]:
        """Everything the Tab key reaches, in order, from top to end; `press` is typed at each `on`."""
        stops: list[dict[str, Any]] = []
        for _ in range(limit):
            self.page.keyboard.press("Tab")
            stop = self.page.evaluate(_DESCRIBE)
            if stop is None:
                return stops
            stops.append(stop)
            if press and stop["tag"] == on:
                self.page.keyboard.press(press)
        raise AssertionError(f"more than {limit} places to tab to: a trap?")

    def sideways(self) -> int:
        """By how many pixels the page is wider than the window."""
        self.settle()
        return int(self.page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth"))

    def keep(self, folder: Path, name: str) -> list[Path]:
        """Pictures of the whole page, from top to bottom."""
        width = self.page.viewport_size["width"]
        height = self.page.evaluate("() => document.documentElement.scrollHeight")
        paths = []
        for number, top in enumerate(range(0, height, STRIP_PX)):
            self.page.set_viewport_size({"width": width, "height": min(STRIP_PX, height)})
            self.page.evaluate("top => window.scrollTo(0, top)", top)
            self.settle()
            paths.append(folder / f"{name}-{number}.png")
            self.page.screenshot(path=str(paths[-1]))
        return paths


Open = Callable[..., Visit]


def find_chromium() -> str | None:
    """The browser to drive: `XRARCHIVE_CHROMIUM`, or the first of `CHROMIUMS` on the path."""
    names = (os.environ.get("XRARCHIVE_CHROMIUM", ""), *CHROMIUMS)
    return next((path for name in names if name and (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A running browser. By module, since its event loop would be in the way of other tests."""
    path = find_chromium()
    if path is None and "CI" not in os.environ:
        pytest.skip("no Chromium here; scripts/setup-browser installs one")
    assert path, "no Chromium, and CI must have one: run scripts/setup-browser"
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a page: ``visit(html_or_path, width=1400, height=1000, scheme="light", **more_of_a_context)``."""
    contexts = []

    def open_page(
        page: str | Path, *, width: int = 1400, height: int = 1000, scheme: str = "light", **more: Any
    ) -> Visit:
        path = page if isinstance(page, Path) else tmp_path / f"page-{len(contexts)}.html"
        if isinstance(page, str):
            path.write_text(page, encoding="utf-8")
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
        context.set_default_timeout(1000 * PATIENCE_S)
        contexts.append(context)
        found = _opened(context, path.resolve().as_uri())
        if more.get("java_script_enabled", True):
            found.settle()
        return found

    yield open_page
    for context in contexts:
        context.close()


def _opened(context: Any, address: str) -> Visit:
    found = Visit(context.new_page())
    own = (address, "data:", "blob:", "about:")

    def answer(route: Any) -> None:
        if route.request.url.startswith(own):
            route.continue_()
        else:
            route.abort()

    def note(request: Any) -> None:
        if not request.url.startswith(own):
            found.requests.append(request.url)

    context.route("**/*", answer)
    found.page.on("request", note)
    found.page.on("console", lambda m: found.console.append(m.text) if m.type in ("error", "warning") else None)
    found.page.on("pageerror", lambda error: found.console.append(str(error)))
    found.page.goto(address)
    return found


@pytest.fixture(scope="session")
def screenshots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures are kept: `XRARCHIVE_SCREENSHOTS`, else among the run's files; the run names it at its end."""
    named = os.environ.get("XRARCHIVE_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots", numbered=False)
    folder.mkdir(parents=True, exist_ok=True)
    request.config.stash[SCREENSHOTS] = folder
    return folder


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name the folder of pictures."""
    if SCREENSHOTS in config.stash:
        terminalreporter.write_line(f"Screenshots: {config.stash[SCREENSHOTS]}")
