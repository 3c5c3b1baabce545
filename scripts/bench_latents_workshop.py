"""What bench_latents_utility.py measures in one patient fold: its guide, the images of each arm, the networks' logits.

Fits and images are kept in a folder, named by all that decides them, so that a killed run goes on from there.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xrarchive import boxes, latents, plan, trials
from xrarchive.boxes import make_boxes
from xrarchive.classifier import fitting
from xrarchive.classifier.classifier import Classifier
from xrarchive.classifier.crossfitted import bar_of, level_quantiles, quantiles_within
from xrarchive.classifier.fitting import fit_network
from xrarchive.classifier.networks import Network, make_network
from xrarchive.classifier.nuisances import read_nuisances
from xrarchive.classifier.settings import ClassifierSettings
from xrarchive.classifier.training import ensemble_logits
from xrarchive.files import atomic_path, dump_json, sha256_bytes, sha256_file
from xrarchive.gan.devices import computes_bfloat16
from xrarchive.gan.layers import kernels_ready
from xrarchive.gan.networks import Generator
from xrarchive.gan.snapshots import load_discriminator, load_snapshot
from xrarchive.latents import search_latents
from xrarchive.pixels import Pixels
from xrarchive.plan import Plan, SearchSettings, make_exclusive, requests_like_real
from xrarchive.radiographs import RadiographSet, open_set, patient_folds
from xrarchive.statistics import to_probability
from xrarchive.synthesis import make_matching, render
from xrarchive.trials import Images, Trial, call_as_often, fit_trial
from xrarchive.validating.utility import draw_images
from xrarchive.validating.utility_plan import labelled_rows
from xrarchive.weights import channels_last

ARMS = ("trtr", "tstr", "pseudo_real", "pseudo_draws", "guide", "real_synthetic")
FOLDS, SEEDS = 5, 3
# Of these the recipe decides.
_OF_IMAGES = ("images", "tstr", "real_synthetic")
# Of the draws of `pseudo_draws`; units of a search have seeds of 63 bits.
_DRAWS_SEED = 7
# Networks of the arms are seeded from here on, so that none is a member of a guide.
_ARM_SEED = 100

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the images of `tstr` are asked for and labelled.

    Attributes:
        search: Of the latent search.
        exclusive: Whether findings not asked for must stay below the guide's threshold.
        labels: "asked", or the guide's word on the images: "called" (as often as R bears it) or "soft" (probability).
    """

    search: SearchSettings = dataclasses.field(default_factory=lambda: SearchSettings(natural=True))
    exclusive: bool = False
    labels: str = "asked"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Everything that decides the logits of a fold.

    Attributes:
        nih: The labelled radiograph set.
        mednist: The unlabelled one.
        generator: Weight file.
        findings: K names, in this order everywhere.
        folds: Patient folds in all.
        seeds: Networks for each arm.
        classifier: Of guide and arms, `members` being the guide's.
        recipe: Of `tstr`.
        work: Where fits are kept.
    """

    nih: Path
    mednist: Path
    generator: Path
    findings: tuple[str, ...]
    folds: int = FOLDS
    seeds: int = SEEDS
    classifier: ClassifierSettings
    recipe: Recipe
    work: Path

    def path(self, fold: int, name: str) -> Path:
        """Where the fits of an arm are kept, or the images of `tstr`: named by all that decides them."""
        asked = dataclasses.asdict(self.recipe) if name in _OF_IMAGES else None
        weights = self._generator_sha256 if name in (*_OF_IMAGES, "pseudo_draws") else None
        seeds = self.seeds if name in ARMS and name != "guide" else None
        sets = [open_set(folder).sha256 for folder in (self.nih, self.mednist)]
        decides = [self.findings, self.folds, dataclasses.asdict(self.classifier), sets, asked, weights, seeds]
        code = [
            sha256_file(Path(str(module.__file__)))
            for module in (fitting, latents, boxes, plan, trials, sys.modules[__name__])
        ]
        key = sha256_bytes(dump_json([*decides, code]))
        return self.work / f"fold{fold}-{name}-{key[:12]}.npz"

    @functools.cached_property
    def _generator_sha256(self) -> str:
        return sha256_file(self.generator)


class Workshop:
    """The films, the guide and the images of one fold, each made when it is first needed."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.bench, self.number = bench, number
        self.films = open_set(bench.nih)
        rows = labelled_rows(self.films)
        fold = patient_folds(self.films.patients, bench.folds, bench.classifier.seed)[rows]
        self.learned, self.test = rows[fold != number], rows[fold == number]

    @functools.cached_property
    def real(self) -> Images:
        """R with the labels of its films."""
        return Images(self.films.pixels[self.learned], columns_of(self.films, self.learned, self.bench.findings))

    @functools.cached_property
    def unlabelled(self) -> Pixels:
        """Films without a label: no guide of this bench has seen one."""
        films = open_set(self.bench.mednist)
        rows = films.rows("unlabelled", "train")
        return films.pixels[rows[np.isnan(films.labels[rows]).all(axis=1)]]

    @functools.cached_property
    def guide(self) -> Classifier:
        """Learned from R like a build's guide: all findings, then what is none. Thresholds are of unlabelled films."""
        settings, films = self.bench.classifier, self.films
        nuisances = read_nuisances(films, self.learned, settings.min_positives)
        labels = np.concatenate([films.labels[self.learned], nuisances.labels], axis=1)
        networks = [self._member(labels, member) for member in range(settings.members)]
        logits, known = ensemble_logits(networks, self.unlabelled, settings.input_px), len(films.vocabulary)
        quantiles = level_quantiles(logits)
        bars = [bar_of(row, 1 - settings.specificity) for row in quantiles[:known]]
        outputs = labels.shape[1]
        return Classifier(
            networks=tuple(networks),
            vocabulary=films.vocabulary,
            nuisances=nuisances.names,
            size_px=films.size_px,
            input_px=settings.input_px,
            scale=torch.ones(outputs),
            offset=torch.zeros(outputs),
            thresholds=to_probability(bars).astype(np.float32),
            quantiles=quantiles,
            quantiles_within=quantiles_within(logits, known),
            sha256="0" * 64,
            meta={
                "figures": {
                    name: {"calls": _calls(films.labels[self.learned, k])} for k, name in enumerate(films.vocabulary)
                }
            },
        )

    def _member(self, labels: Logits, member: int) -> Network:
        """A network of the guide, kept in `bench.work`."""
        settings, path = self.bench.classifier, self.bench.path(self.number, f"member{member}")
        if not path.exists():
            network = fit_network(self.real.pixels, labels, role="guide", settings=settings, member=member)
            save(path, **{name: value.numpy() for name, value in network.state_dict().items()})
        network = make_network(settings.architecture, labels.shape[1], settings.width, settings.input_px)
        kept = np.load(path)
        network.load_state_dict({name: torch.from_numpy(kept[name]) for name in kept.files})
        return channels_last(network.eval().requires_grad_(False))

    def told(self, pixels: Pixels) -> Logits:
        """The guide's logits [N, K] of the findings."""
        outputs = ensemble_logits(list(self.guide.networks), pixels, self.guide.input_px)
        return outputs[:, [self.guide.vocabulary.index(name) for name in self.bench.findings]]

    def called(self, pixels: Pixels) -> Images:
        """Images with the guide's calls, each finding on the share of them that bears it in R."""
        return Images(pixels, call_as_often(self.told(pixels), self.real.labels.mean(axis=0)))

    def synthetic(self) -> Images:
        """The images of `tstr`, kept in `bench.work`."""
        path = self.bench.path(self.number, "images")
        if not path.exists():
            pixels, asked, steps = self.search()
            save(path, pixels=pixels, labels=self.relabel(pixels, asked), asked=asked, steps=steps)
        kept = np.load(path)
        return Images(kept["pixels"], kept["labels"])

    def relabel(self, pixels: Pixels, asked: Logits) -> Logits:
        """Labels by the recipe."""
        if self.bench.recipe.labels == "called":
            return self.called(pixels).labels
        if self.bench.recipe.labels == "soft":
            return soft_labels(self.told(pixels), self.told(self.unlabelled), self.real.labels)
        return asked

    def pushed(self) -> dict[str, float]:
        """Of the images of `tstr` that were to show each finding, the share that no draw gave."""
        self.synthetic()
        kept = np.load(self.bench.path(self.number, "images"))
        moved, asked = kept["steps"] > 0, kept["asked"] == 1
        names = self.bench.findings
        return {name: round(float(moved[asked[:, k]].mean()), 3) for k, name in enumerate(names) if asked[:, k].any()}

    def search(self) -> tuple[Pixels, Logits, npt.NDArray[np.int64]]:
        """Images by latent class optimisation, what each was asked to show, float32 [N, K], and its gradient steps."""
        plan, snapshot = self.plan, load_snapshot(self.bench.generator)
        discriminator = load_discriminator(self.bench.generator)
        pixels, labels, steps = [], [], []
        for index in range(plan.units):
            images = plan.unit(index)
            low, high = make_boxes(plan, images, self.guide)
            with kernels_ready(snapshot.generator, torch.float32):
                found = search_latents(
                    generator=snapshot.generator,
                    guide=self.guide,
                    low=low,
                    high=high,
                    settings=plan.search,
                    seed=plan.unit_seed(index),
                    exact=functools.partial(self._exact, snapshot.generator),
                    matching=make_matching(plan, images, self.guide) if plan.search.match else None,
                    discriminator=discriminator,
                )
            pixels.append(found.pixels)
            steps.append(found.steps)
            asked = np.array(
                [asked_labels(plan.requests[image.request].findings, self.bench.findings) for image in images]
            )
            labels.append(asked[found.reached])
        return np.concatenate(pixels), np.concatenate(labels), np.concatenate(steps)

    @property
    def plan(self) -> Plan:
        """As many images as R has films, in sets of findings as common as there."""
        search = self.bench.recipe.search
        if search.dtype == "auto":
            quick = computes_bfloat16(torch.device("cpu"))
            search = dataclasses.replace(search, dtype="bfloat16" if quick else "float32")
        sets = label_sets(self.real.labels, self.bench.findings)
        requests = requests_like_real(sets, len(self.learned), callable_findings=self.bench.findings)
        if self.bench.recipe.exclusive:
            requests = make_exclusive(requests, self.bench.findings)
        return Plan(requests, {"generator": sha256_file(self.bench.generator)}, self.number, search)

    def _exact(self, generator: Generator, latents: torch.Tensor) -> tuple[Pixels, Logits]:
        pixels = render(generator, latents)
        return pixels, self.guide.outputs(pixels)

    def arm_images(self, arm: str) -> Images:
        """What the networks of an arm learn from."""
        if arm == "trtr":
            return self.real
        if arm == "tstr":
            return self.synthetic()
        if arm == "real_synthetic":
            return self.real.beside(self.synthetic())
        if arm == "pseudo_draws":
            return self.called(draw_images(self.bench.generator, len(self.learned), seed=_DRAWS_SEED + self.number))
        if arm == "pseudo_real":
            rng = np.random.default_rng((_DRAWS_SEED, self.number))
            chosen = rng.choice(len(self.unlabelled), min(len(self.learned), len(self.unlabelled)), replace=False)
            return self.called(self.unlabelled[np.sort(chosen)])
        raise ValueError(f"there is no arm {arm!r}")

    def arm_logits(self, arm: str) -> Logits:
        """float32 [S, T, K] on the fold's films of the networks of an arm."""
        return self.fit(self.arm_images(arm))

    def fit(self, images: Images) -> Logits:
        """float32 [S, T, K] on the fold's films of S networks that learned from `images`."""
        settings = dataclasses.replace(self.bench.classifier, members=1, seed=self.bench.classifier.seed + _ARM_SEED)
        films = self.films.pixels[self.test]
        return np.stack([fit_trial(Trial(images, films, seed), settings) for seed in range(self.bench.seeds)])

    def guide_logits(self) -> Logits:
        """float32 [1, T, K] on the fold's films."""
        return self.told(self.films.pixels[self.test])[None]


def _calls(labels: Logits) -> dict[str, int]:
    """How many films bear a finding and how many do not, in the shape of a weight file's figures."""
    return {"tp": int((labels == 1).sum()), "fn": 0, "fp": int((labels == 0).sum()), "tn": 0}


def columns_of(films: RadiographSet, rows: npt.NDArray[np.int64], findings: Sequence[str]) -> Logits:
    """Labels float32 [n, K] of these findings."""
    return films.labels[rows][:, [films.vocabulary.index(name) for name in findings]]


def label_sets(labels: Logits, findings: Sequence[str]) -> dict[str, int]:
    """How many rows of [N, K] bear each set of findings, joined by '|'; rows without any take no part."""
    sets = Counter("|".join(name for name, one in zip(findings, row == 1, strict=True) if one) for row in labels)
    del sets[""]
    return dict(sets)


def asked_labels(asked: Sequence[str], findings: Sequence[str]) -> Logits:
    """float32 [K]: 1 where asked for, else 0."""
    return np.isin(findings, asked).astype(np.float32)


def soft_labels(logits: Logits, films: Logits, labels: Logits) -> Logits:
    """Probabilities [N, K] of logits, moved so that their mean over films [M, K] is the share of labels [L, K]."""
    shifts = []
    for column, share in enumerate(labels.mean(axis=0)):
        low, high = -20.0, 20.0
        for _ in range(50):
            middle = (low + high) / 2
            below = to_probability(films[:, column] + middle).mean() < share
            low, high = (middle, high) if below else (low, middle)
        shifts.append(low)
    return to_probability(logits + np.array(shifts)).astype(np.float32)


def save(path: Path, **arrays: npt.NDArray[Any]) -> None:
    with atomic_path(path) as temporary, Path(temporary).open("wb") as stream:
        np.savez(stream, **arrays)
