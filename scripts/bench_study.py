"""How a reader's page of 400 cases at 1024 px behaves: its size, how long it loads, how long the next case takes.

    .venv/bin/python scripts/bench_study.py            # about 2 minutes, 0.3 GB in a temporary folder

Needs Chromium and playwright (scripts/setup-browser) and the radiographs of tests (`XRARCHIVE_DATA`, by default
../shared/data): films of nih256, enlarged and given the grain that makes their files as large as those of films of
1024 px, about 0.4 MB. Nothing of them stays on the disk. Prints the machine, and each figure beside its bar.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from xrarchive.study.arranging import arrange, make_slots
from xrarchive.study.folder import Study
from xrarchive.study.pages import write_page
from xrarchive.study.power import plan_power
from xrarchive.study.presenting import encode_films
from xrarchive.study.protocol import Protocol

GRAIN = 1.1
NEXT_BAR_S = 2.0
FINDINGS = ("Effusion", "Edema", "Mass", "Nodule")


def make_films(folder: Path, count: int, px: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    films = []
    for path in sorted(folder.glob("*.png"))[:count]:
        with Image.open(path) as image:
            large = np.asarray(image.convert("L").resize((px, px), Image.Resampling.BICUBIC), np.float64)
        films.append(np.clip(large + GRAIN * rng.standard_normal((px, px)), 0, 255).astype(np.uint8))
    return films


def make_page(path: Path, protocol: Protocol, films: list[np.ndarray], px: int) -> int:
    findings = [FINDINGS[number % len(FINDINGS)] for number in range(protocol.couples + protocol.practice_couples)]
    arrangement = arrange(make_slots(findings, protocol, (px,)), protocol, 0)
    shown = [films[number % len(films)] for number in range(len(arrangement.ids))]
    files = dict(zip(arrangement.ids, encode_films(shown), strict=True))
    study = Study(protocol, (px,), FINDINGS, dict.fromkeys(files, ""), arrangement.trials, "", "", "", (),
                  plan_power(protocol.cases, 1, margin=0.1), (), ())  # fmt: skip
    write_page(path, study, "reader-1", "0" * 32, files)
    return len(next(iter(files.values())))


def read(path: Path, cases: int) -> dict[str, float]:
    """Seconds to load and to the first film; per case from Enter to the next film on the screen, without waiting."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(args=arguments, executable_path=_chromium())
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.set_default_timeout(300_000)
        start = time.perf_counter()
        page.goto(path.as_uri(), timeout=300_000)
        page.wait_for_selector("#app:not([hidden])")
        loaded = time.perf_counter() - start
        start = time.perf_counter()
        page.click("#begin")
        page.wait_for_selector("#films[data-number='0']")
        found = {"load_s": loaded, "first_s": time.perf_counter() - start}
        waits = []
        for number in range(cases):
            page.keyboard.press("4")
            start = time.perf_counter()
            page.keyboard.press("Enter")
            if page.is_visible("#rest"):
                page.keyboard.press("Enter")
            page.wait_for_selector(f"#films[data-number='{number + 1}']")
            waits.append(time.perf_counter() - start)
        found |= {"next_median_s": float(np.median(waits)), "next_worst_s": max(waits)}
        found["heap_mb"] = page.evaluate("() => performance.memory ? performance.memory.usedJSHeapSize / 1e6 : NaN")
        browser.close()
    return found


def _chromium() -> str | None:
    return os.environ.get("XRARCHIVE_CHROMIUM") or shutil.which("chromium")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--px", type=int, default=1024)
    parser.add_argument("--read", type=int, default=60, help="cases to go through")
    options = parser.parse_args()
    images = Path(os.environ.get("XRARCHIVE_DATA", "../shared/data")) / "nih256" / "images"
    protocol = Protocol(cases=options.cases, readers=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reader-1.html"
        start = time.perf_counter()
        each = make_page(path, protocol, make_films(images, options.cases + protocol.practice, options.px), options.px)
        made = time.perf_counter() - start
        found = read(path, options.read)
        size = path.stat().st_size
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    page = f"a page of {size / 1e6:.0f} MB, {each / 1e6:.2f} MB a film, made in {made:.0f} s"
    print(f"{options.cases} cases of {options.px} px: {page}")
    print(f"loaded in {found['load_s']:.1f} s, first film {found['first_s']:.2f} s after Begin")
    waits = f"median {found['next_median_s']:.2f} s, worst of {options.read} {found['next_worst_s']:.2f} s"
    print(f"next film: {waits} (bar: {NEXT_BAR_S} s)")
    print(f"JavaScript heap {found['heap_mb']:.0f} MB")


if __name__ == "__main__":
    main()
