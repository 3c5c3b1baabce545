"""Utility: do the images teach a classifier what real films of as many would?

`plan_utility` says who learns from what, `run_trials` trains, `xrarchive.validation.utility` measures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xrarchive.bootstrap import make_rng
from xrarchive.estimates import RESAMPLES
from xrarchive.pixels import Pixels
from xrarchive.radiographs import RadiographSet
from xrarchive.records import Status
from xrarchive.validating.material import Material
from xrarchive.validating.utility_plan import FOLDS, Rows, UtilityPlan, plan_utility
from xrarchive.validation.utility import (
    BOTH,
    CONTROLS,
    GUIDE,
    PSEUDO_DRAWS,
    PSEUDO_REAL,
    TRTR,
    TSTR,
    Labels,
    UtilityScores,
    measure_utility,
    no_utility,
    pool,
)

if TYPE_CHECKING:
    from xrarchive.classifier.classifier import Classifier
    from xrarchive.classifier.settings import ClassifierSettings
    from xrarchive.trials import Images, Logits, Trial

SEEDS = 3
# Side that the networks see; a training of 2,000 images then takes 15 CPU seconds.
INPUT_PX = 32
QUICK_RESAMPLES = 200

# Images of full size in memory at a time: at 1024 px 256 MB; whole batches of every network.
_AT_ONCE = 256

# Of the control's draws; units of a search have seeds of 63 bits.
DRAWS_SEED = 7
# Networks are seeded from here on, so that none is a member of a guide.
_NETWORK_SEED = 100


def measure(material: Material) -> dict[str, Any]:
    """See `xrarchive.validation.utility.measure_utility`; without films or with too few of anything, the reason."""
    subject = material.subject
    planned = plan_utility(material)
    if isinstance(planned, str):
        asked = [name for k, name in enumerate(subject.findings) if subject.images.asked[:, k].any()]
        return no_utility(asked, planned)
    resamples = QUICK_RESAMPLES if material.quick else RESAMPLES
    return measure_utility(run_utility(material, planned), seed=subject.seed, resamples=resamples)


def run_utility(material: Material, planned: UtilityPlan) -> UtilityScores:
    """Train every network of the plan and gather what it says."""
    from xrarchive.trials import run_trials

    studio = _Studio(material, planned)
    missing, sources = studio.controls()
    seeds = 1 if material.quick else SEEDS
    total = seeds * (2 * FOLDS + 1 + len(sources))
    arms: list[str] = []

    def trials() -> Iterator[Trial]:
        for arm, trial in _trials(studio, sources, seeds):
            arms.append(arm)
            yield trial

    logits: dict[str, list[Logits]] = {}
    for done, found in enumerate(run_trials(trials(), studio.settings, workers=material.workers)):
        logits.setdefault(arms[done], []).append(found)
        material.on_status(Status(done + 1, total, "networks", "utility"))
    return _tested(studio, logits, missing)


class _Studio:
    """The images of every arm at the size the networks see, each made when it is first needed."""

    def __init__(self, material: Material, planned: UtilityPlan) -> None:
        from xrarchive.trials import Images, shrink_pixels

        self.material, self.planned = material, planned
        subject, films = material.subject, planned.films
        self.size_px = int(subject.images.pixels.shape[1])
        self.input_px = math.gcd(self.size_px, INPUT_PX)
        columns = [films.vocabulary.index(name) for name in planned.findings]
        labels = films.labels[planned.rows][:, columns]
        small = [shrink_pixels(part, self.input_px) for part in _read_parts(films, planned.rows)]
        self.real = Images(np.concatenate(small), labels)
        asked = subject.images.asked[planned.images][:, [subject.findings.index(name) for name in planned.findings]]
        pixels = shrink_pixels(subject.images.pixels[planned.images], self.input_px)
        self.synthetic = Images(pixels, asked.astype(np.float32))

    @property
    def settings(self) -> ClassifierSettings:
        """Of every network."""
        from xrarchive.classifier.settings import ClassifierSettings

        return ClassifierSettings(architecture="residual", members=1, input_px=self.input_px, seed=_NETWORK_SEED)

    def controls(self) -> tuple[dict[str, str], dict[str, Images]]:
        """Why a control cannot be had, by arm; and what the networks of the others learn from, but for the guide."""
        guide = self._guide()
        if isinstance(guide, str):
            return dict.fromkeys(CONTROLS, guide), {}
        missing: dict[str, str] = {}
        sources: dict[str, Images] = {}
        for arm, made in ((PSEUDO_DRAWS, self._draws()), (PSEUDO_REAL, self._unlabelled())):
            if isinstance(made, str):
                missing[arm] = made
            else:
                sources[arm] = self._called(guide, made)
        return missing, sources

    def guide_logits(self) -> Logits:
        """The guide's logits of the films that are tested on, float32 [1, T, K]."""
        guide = self._guide()
        if isinstance(guide, str):
            raise ValueError(guide)
        parts = _read_parts(self.planned.films, self.planned.rows[self.planned.tested])
        return np.concatenate([self._told(guide, part) for part in parts])[None]

    def _guide(self) -> Classifier | str:
        guide = self.material.guide
        if isinstance(guide, str):
            return guide
        if guide.size_px != self.size_px:
            return f"The guide sees images of {guide.size_px} px, and these have {self.size_px} px."
        strangers = [name for name in self.planned.findings if name not in guide.vocabulary]
        return f"The guide does not know {', '.join(strangers)}." if strangers else guide

    def _told(self, guide: Classifier, pixels: Pixels) -> Logits:
        return guide.outputs(pixels)[:, [guide.vocabulary.index(name) for name in self.planned.findings]]

    def _called(self, guide: Classifier, parts: Iterable[Pixels]) -> Images:
        """Images with the guide's calls, each finding on the share of them that bears it among the labelled films."""
        from xrarchive.trials import Images, call_as_often, shrink_pixels

        small, logits = zip(
            *((shrink_pixels(part, self.input_px), self._told(guide, part)) for part in parts), strict=True
        )
        shares = np.nanmean(self.real.labels, axis=0)
        return Images(np.concatenate(small), call_as_often(np.concatenate(logits), shares))

    def _draws(self) -> Iterable[Pixels] | str:
        """As many random draws of the generator, a part at a time, or why there are none."""
        generator = self.material.generator
        return generator if isinstance(generator, str) else _draw_parts(generator, len(self.planned.images), DRAWS_SEED)

    def _unlabelled(self) -> Iterable[Pixels] | str:
        """As many films without any label, of patients who are not tested on, or why there are none."""
        planned, count = self.planned, len(self.planned.images)
        barred = set(planned.films.patients[planned.rows[planned.fold >= 0]].tolist())
        sets, rows = [], []
        for films in self.material.films:
            if films.size_px == self.size_px:
                free = np.flatnonzero(np.isnan(films.labels).all(axis=1))
                sets.append(films)
                rows.append(free[[name not in barred for name in films.patients[free].tolist()]])
        total = sum(map(len, rows))
        if total < count:
            return (
                f"{count} unlabelled films are needed, and the radiograph sets given hold {total}: give a set "
                "with unlabelled films too, --radiographs may be repeated."
            )
        chosen = np.zeros(total, np.bool_)
        chosen[make_rng(self.material.subject.seed, "utility", "unlabelled").choice(total, count, replace=False)] = True
        flags = np.split(chosen, np.cumsum([len(one) for one in rows])[:-1])
        parts = (_read_parts(films, one[flag]) for films, one, flag in zip(sets, rows, flags, strict=True))
        return itertools.chain.from_iterable(parts)


def draw_images(generator: Path, count: int, *, seed: int = DRAWS_SEED) -> Pixels:
    """Random draws of a generator: uint8 [count, H, W], each decided by the seed and its number alone."""
    return np.concatenate(list(_draw_parts(generator, count, seed)))


def _draw_parts(generator: Path, count: int, seed: int) -> Iterator[Pixels]:
    import torch

    from xrarchive.gan.layers import kernels_ready
    from xrarchive.gan.snapshots import load_snapshot
    from xrarchive.latents import draw_latent
    from xrarchive.synthesis import render

    snapshot = load_snapshot(generator)
    size = snapshot.settings.latent_size
    with kernels_ready(snapshot.generator, torch.float32):
        for start in range(0, count, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, count))
            yield render(snapshot.generator, torch.stack([draw_latent(seed, number, size) for number in numbers]))


def _read_parts(films: RadiographSet, rows: Rows) -> Iterator[Pixels]:
    """The films of `rows` at full size, a part at a time."""
    for start in range(0, len(rows), _AT_ONCE):
        yield films.read(rows[start : start + _AT_ONCE], films.size_px)


def _trials(studio: _Studio, sources: Mapping[str, Images], seeds: int) -> Iterator[tuple[str, Trial]]:
    """Every network with its arm, what takes longest first; within an arm by fold, then by seed."""
    from xrarchive.trials import Trial

    planned, real, synthetic = studio.planned, studio.real, studio.synthetic
    for arm in (BOTH, TRTR):
        for number in range(FOLDS):
            learned, shown = real.of(planned.learned[number]), real.pixels[planned.fold == number]
            if arm == BOTH:
                learned = learned.beside(synthetic)
            else:
                shown = np.concatenate([shown, synthetic.pixels])
            yield from ((arm, Trial(learned, shown, member)) for member in range(seeds))
    for arm, images in {TSTR: synthetic, **sources}.items():
        shown = real.pixels[planned.tested]
        yield from ((arm, Trial(images, shown, member)) for member in range(seeds))


def _tested(studio: _Studio, logits: Mapping[str, Sequence[Logits]], missing: Mapping[str, str]) -> UtilityScores:
    """What the networks said, in the form in which it is measured."""
    planned, material = studio.planned, studio.material
    sizes = [int((planned.fold == number).sum()) for number in range(FOLDS)]
    cuts = np.cumsum(sizes)[:-1]
    scores = {}
    for arm, found in logits.items():
        if arm in (BOTH, TRTR):
            seeds = len(found) // FOLDS
            parts = [np.stack(found[start : start + seeds]) for start in range(0, len(found), seeds)]
            scores[arm] = pool([part[:, :size] for part, size in zip(parts, sizes, strict=True)])
        else:
            scores[arm] = pool(np.split(np.stack(found), cuts, axis=1))
    if GUIDE not in missing:
        scores[GUIDE] = pool(np.split(studio.guide_logits(), cuts, axis=1))
    on_images = [found[size:] for found, size in zip(logits[TRTR], np.repeat(sizes, seeds), strict=True)]
    places = planned.tested
    return UtilityScores(
        findings=planned.findings,
        scores=scores,
        labels=studio.real.labels[places],
        patients=planned.films.patients[planned.rows[places]],
        image_scores=np.stack(on_images).astype(np.float64),
        asked=studio.synthetic.labels,
        learned=len(planned.images),
        kind=material.subject.kind,
        missing=missing,
        unmeasured=planned.unmeasured,
        caveat=planned.caveat,
        recipe=_recipe(studio, seeds),
    )


def _recipe(studio: _Studio, seeds: int) -> dict[str, object]:
    planned, settings = studio.planned, studio.settings
    tested: Labels = studio.real.labels[planned.tested]
    return {
        "radiographs": {"name": planned.films.folder.name, "sha256": planned.films.sha256},
        "findings": list(planned.findings),
        "learned": len(planned.images),
        "tested": len(tested),
        "patients": len(np.unique(planned.films.patients[planned.rows[planned.tested]])),
        "folds": FOLDS,
        "seeds": seeds,
        "network": settings.architecture,
        "input_px": settings.input_px,
        "epochs": settings.epochs,
        "limits": [
            f"The networks are small, see {settings.input_px} px and learn from {len(planned.images):,} images: what "
            "larger ones would gain from more is not measured.",
            "The generator may have learned, without labels, from films of the patients who are tested on.",
        ],
    }
