"""What `xrarchive browse` costs: time to write the page, its size, and in headless Chromium opening, filtering, moving.

In: an archive. Out: one line of JSON a page. Opening ends when the first pictures are drawn; a filter is timed from the
click on a finding to the next frame, a move from the key to the next frame. Medians of `--times`.

    python scripts/bench_browse.py ARCHIVE --images 1000 --images 10000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from browser import find_chromium

from xrarchive.pipeline import browse

_PAINTED = (
    """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"""
)
_CLICK = """n => new Promise(done => {
    const start = performance.now();
    const all = document.querySelectorAll('#findings li:not([hidden]) button');
    all[n % all.length].click();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""
_DOWN = """() => new Promise(done => {
    const start = performance.now();
    document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'PageDown', bubbles: true}));
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""


def measure_page(browser: Any, path: Path, times: int) -> dict[str, float]:
    """Seconds until the first pictures are there, milliseconds of filters and moves."""
    opened, filtered, moved = [], [], []
    for _ in range(times):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        start = time.perf_counter()
        page.goto(path.resolve().as_uri())
        page.wait_for_selector(".cell img")
        page.evaluate(_PAINTED)
        opened.append(time.perf_counter() - start)
        filtered += [page.evaluate(_CLICK, n % 3) for n in range(9)]
        page.click("#clear")
        page.evaluate(_PAINTED)
        page.locator(".cell").first.focus()
        moved += [page.evaluate(_DOWN) for _ in range(20)]
        page.close()
    return {
        "open_s": round(statistics.median(opened), 2),
        "filter_ms": round(statistics.median(filtered), 1),
        "filter_worst_ms": round(max(filtered), 1),
        "page_down_ms": round(statistics.median(moved), 1),
        "page_down_worst_ms": round(max(moved), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("archive")
    parser.add_argument("--images", type=int, action="append", help="of a page; none = as many as fit")
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=sandbox)
        for images in arguments.images or [None]:
            start = time.perf_counter()
            report = browse(arguments.archive, Path(folder) / "page.html", images=images)
            written_s = round(time.perf_counter() - start, 2)
            figures = {"images": report.images, "of": report.rows, "mb": round(report.bytes / 1e6, 1)}
            figures |= {"written_s": written_s, **measure_page(browser, report.out, arguments.times)}
            sys.stdout.write(json.dumps(figures) + "\n")
        browser.close()


if __name__ == "__main__":
    main()
