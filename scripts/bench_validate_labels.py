"""Which defect is caught by which measure? Spoils an archive in known ways and prints a table, then one JSON object.

    .venv/bin/python scripts/bench_validate_labels.py archive --radiographs SET --radiographs OTHER
    .venv/bin/python scripts/bench_validate_labels.py archive --radiographs SET --quick

The archive is one that `xrarchive build` made with the weights at hand (the bundled ones, unless named). Nothing is
written: images and labels are spoiled in memory, and the parts `integrity`, `diversity` and `labels` measure what
comes of it. `films` are real films that the guide accepts, under the guide's own labels: what no steering can be held
to exceed, and no defect.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xrarchive.records import ignore_status
from xrarchive.validating import diversity, labels
from xrarchive.validating.material import Material, gather, open_features
from xrarchive.validation.columns import ArchiveImages
from xrarchive.validation.integrity import measure_integrity

FEW, NOISE = 50, 2.0  # images repeated, and grey levels of noise on each
SPACE = "judge"
# How a figure is read off a report.
Reading = Callable[[dict[str, Any]], float]


def main() -> int:
    arguments = parse()
    started = time.perf_counter()
    clean = open_archive(arguments)
    rows: dict[str, dict[str, float]] = {}
    for name, spoil in DEFECTS.items():
        found = report(spoil(clean, np.random.default_rng(7)))
        rows[name] = {reading: read(found) for reading, read in READINGS.items()}
        show(name, rows[name], header=len(rows) == 1)
    print(f"{time.perf_counter() - started:.0f} s")
    print(json.dumps(rows))
    return 0


def open_archive(arguments: argparse.Namespace) -> Material:
    """Everything to measure with, in the judge's feature space alone: other features of each variant cost minutes."""
    with open_features((SPACE,), None, cache=None, workers=1) as crew:
        return gather(
            arguments.archive, radiographs=tuple(arguments.radiographs), generator=None, guide=None, judge=None,
            referee=None, crew=crew, quick=arguments.quick, on_status=ignore_status,
        )  # fmt: skip


def spoiled(clean: Material, pixels: npt.NDArray[np.uint8], asked: npt.NDArray[np.bool_]) -> Material:
    """The archive with other pixels and labels; films and draws are scored once for all variants."""
    images = clean.subject.images
    if len(pixels) != len(images.pixels):
        raise ValueError(f"expected {len(images.pixels)} images, got {len(pixels)}")
    moved = not np.array_equal(pixels, images.pixels)
    changes: dict[str, Any] = {"pixels": pixels, "asked": asked, "labels": asked.argmax(axis=1)}
    features = dict(clean.features)
    if moved:
        scores = clean.judge.scores(pixels)
        order = [clean.judge.vocabulary.index(name) for name in clean.subject.findings]
        changes["judge"] = scores[:, order]
        features[SPACE] = clean.judge.features(pixels)
    subject = dataclasses.replace(clean.subject, images=dataclasses.replace(images, **changes))
    found = dataclasses.replace(clean, subject=subject)
    vars(found).update({"draws": clean.draws, "real": clean.real, "features": features})
    if not moved:
        vars(found)["scored"] = clean.scored
    return found


def report(material: Material) -> dict[str, Any]:
    """What the three parts find."""
    return {
        "integrity": measure_integrity(material.subject, None),
        "diversity": diversity.measure(material),
        "labels": labels.measure(material),
    }


def swapped(share: float) -> Callable[[Material, np.random.Generator], Material]:
    """A share of the images take over the labels of one another, none keeps its own."""

    def spoil(clean: Material, rng: np.random.Generator) -> Material:
        images = clean.subject.images
        chosen = rng.permutation(len(images.pixels))[: round(share * len(images.pixels))]
        by_label = chosen[np.argsort(images.labels[chosen], kind="stable")]
        most = np.bincount(images.labels[chosen]).max()  # turning a sorted list by its longest run moves every label
        asked = images.asked.copy()
        asked[by_label] = images.asked[np.roll(by_label, most)]
        return spoiled(clean, images.pixels, asked)

    return spoil


def wrong_finding(clean: Material, _: np.random.Generator) -> Material:
    """The images of every finding are those of the next one."""
    images = clean.subject.images
    present = np.unique(images.labels)
    following = dict(zip(present.tolist(), np.roll(present, 1).tolist(), strict=True))
    asked = np.zeros_like(images.asked)
    asked[np.arange(len(asked)), [following[label] for label in images.labels.tolist()]] = True
    return spoiled(clean, images.pixels, asked)


def unsteered(clean: Material, rng: np.random.Generator) -> Material:
    """Random draws under the archive's labels: nothing was searched for."""
    if isinstance(clean.draws, str):
        raise TypeError(clean.draws)
    count = len(clean.subject.images.pixels)
    chosen = rng.choice(len(clean.draws.pixels), count, replace=count > len(clean.draws.pixels))
    return spoiled(clean, clean.draws.pixels[chosen], clean.subject.images.asked)


def few_modes(clean: Material, rng: np.random.Generator) -> Material:
    """`FEW` images, as many of each finding as can be, repeated with a little noise."""
    images = clean.subject.images
    present = np.unique(images.labels)
    kept = {label: np.flatnonzero(images.labels == label)[: max(1, FEW // len(present))] for label in present.tolist()}
    chosen = np.array([rng.choice(kept[label]) for label in images.labels.tolist()])
    noisy = images.pixels[chosen] + rng.normal(0, NOISE, images.pixels.shape)
    return spoiled(clean, np.clip(np.round(noisy), 0, 255).astype(np.uint8), images.asked)


def duplicated(clean: Material, rng: np.random.Generator) -> Material:
    """A tenth of the images are copies of others of their finding."""
    images, pixels = clean.subject.images, clean.subject.images.pixels.copy()
    for row in rng.permutation(len(pixels))[: len(pixels) // 10]:
        others = np.flatnonzero(images.labels == images.labels[row])
        pixels[row] = images.pixels[rng.choice(others[others != row])]
    return spoiled(clean, pixels, images.asked)


def real_films(clean: Material, rng: np.random.Generator) -> Material:
    """Real films that the guide accepts, labelled with what it accepts them for."""
    control = clean.real.unseen("guide", "judge")
    if isinstance(control, str):
        raise TypeError(control)
    images = clean.subject.images
    chosen = [rng.choice(np.flatnonzero(control.accepted[:, label]), replace=True) for label in images.labels.tolist()]
    return spoiled(clean, control.scored.pixels[chosen], images.asked)


def same(clean: Material, _: np.random.Generator) -> Material:
    images: ArchiveImages = clean.subject.images
    return spoiled(clean, images.pixels, images.asked)


def show(name: str, row: dict[str, float], *, header: bool) -> None:
    if header:
        print(f"{'':20}" + "".join(f"{title:>12}" for title in row))
    print(f"{name:20}" + "".join(f"{value:12.3f}" for value in row.values()), flush=True)


def worst(report: dict[str, Any], pick: Callable[[dict[str, Any]], float | None], least: bool = True) -> float:
    """Over findings, of what was measured."""
    found = [value for one in report["labels"]["findings"].values() if (value := pick(one)) is not None]
    return (min if least else max)(found, default=float("nan"))


def beside(measure: dict[str, Any], bound: str) -> float:
    """A value over its floor or ceiling."""
    return float(measure["value"]) / float(measure[bound]["value"])


DEFECTS: dict[str, Callable[[Material, np.random.Generator], Material]] = {
    "as built": same,
    "films": real_films,
    "labels swapped 5 %": swapped(0.05),
    "labels swapped 10 %": swapped(0.10),
    "labels swapped 25 %": swapped(0.25),
    "labels swapped 50 %": swapped(0.50),
    "wrong finding": wrong_finding,
    "unsteered": unsteered,
    "few modes": few_modes,
    "a tenth copied": duplicated,
}
READINGS: dict[str, Reading] = {
    "reached": lambda r: r["labels"]["reached"]["value"],
    "AUROC low": lambda r: worst(r, lambda one: one.get("low")),
    "transfer": lambda r: worst(r, lambda one: one["transfer"]["value"]),
    "transfer low": lambda r: worst(r, lambda one: one["transfer"].get("low")),
    "dose": lambda r: worst(r, lambda one: one["dose"]["value"]),
    "excess": lambda r: worst(r, lambda one: one["exaggeration"].get("excess", {}).get("value"), least=False),
    "asked/called": lambda r: beside(r["labels"]["co_occurrence"], "floor"),
    "coverage": lambda r: beside(r["diversity"]["spaces"][SPACE]["coverage"], "ceiling"),
    "recall": lambda r: beside(r["diversity"]["spaces"][SPACE]["recall"], "ceiling"),
    "vendi": lambda r: beside(r["diversity"]["spaces"][SPACE]["vendi"], "ceiling"),
    "MS-SSIM": lambda r: max(beside(one, "floor") for one in r["diversity"]["intra_class"].values()),
    "co-occ.": lambda r: beside(r["diversity"]["co_occurrence"]["distance"]["archive"], "floor"),
    "exact": lambda r: r["integrity"]["exact_duplicates"]["value"],
    "near": lambda r: r["integrity"]["near_duplicates"]["value"],
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--radiographs", type=Path, action="append", required=True, help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer draws, films and resamples")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
