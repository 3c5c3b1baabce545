#!/usr/bin/env python3
"""What synthetic images are worth as training data: prints tables as it goes, then one JSON object.

.venv/bin/python scripts/bench_latents_utility.py [--quick] [--workers 2]

Five patient folds over the labelled films of nih64. In each a guide learns from the films R outside the fold, and one
network of the same recipe learns from each arm, for each seed; all are measured on the real films of the fold:

trtr            R with the labels of its films
tstr            as many synthetic images by latent class optimisation with that guide, asked for like the label sets of
                R, as a build does it; a finding is labelled 1 where it was asked for, else 0
pseudo_real     as many unlabelled MedNIST films, each finding called by the guide on as many of them as R bears it
pseudo_draws    as many random draws of the generator, called likewise: what tstr has to beat
guide           the guide's own scores, nothing learned from them
real_synthetic  trtr and tstr together, twice as many images

Excess retention is (AUROC of an arm - 1/2) / (AUROC of trtr - 1/2), macro the ratio of the means over findings. Scores
of folds are made comparable by z-scoring each network's logits over the films of its fold, per finding; they are then
pooled, since a fold holds too few positives for an AUROC of its own. The AUROC of an arm is the mean over its seeds;
that of the seeds' mean logit stands beside it. Intervals: paired bootstrap of patients, for all arms at once.

What it does not settle: the generator saw MedNIST films without labels, some of them of patients of every fold, so the
fold's patients are unknown to guide and networks, but not to the generator. The guide's calibration is the identity and
its bars come from MedNIST films it never saw, where a build has out-of-fold films for both.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xrarchive import boxes, latents, plan
from xrarchive.boxes import make_boxes
from xrarchive.bundled import bundled_weights
from xrarchive.classifier import fitting
from xrarchive.classifier.classifier import Classifier, load_classifier
from xrarchive.classifier.crossfitted import bar_of, level_quantiles, quantiles_within
from xrarchive.classifier.fitting import fit_network, network_logits
from xrarchive.classifier.networks import Network, make_network
from xrarchive.classifier.nuisances import read_nuisances
from xrarchive.classifier.offering import list_offerings
from xrarchive.classifier.settings import ClassifierSettings
from xrarchive.classifier.training import LABELLED_SPLITS, ensemble_logits
from xrarchive.estimates import RESAMPLES, Estimate, bootstrap_estimates, divide
from xrarchive.files import atomic_path, dump_json, sha256_bytes, sha256_file
from xrarchive.gan.devices import computes_bfloat16
from xrarchive.gan.layers import kernels_ready
from xrarchive.gan.networks import Generator
from xrarchive.gan.snapshots import load_discriminator, load_snapshot
from xrarchive.gan.training import keep_heap
from xrarchive.latents import draw_latent, search_latents
from xrarchive.pixels import Pixels
from xrarchive.plan import Plan, SearchSettings, make_exclusive, requests_like_real
from xrarchive.radiographs import RadiographSet, ingest, open_set, patient_folds
from xrarchive.statistics import to_probability
from xrarchive.synthesis import make_matching, render
from xrarchive.weights import channels_last

REPOSITORY = Path(__file__).resolve().parent.parent
ARMS = ("trtr", "tstr", "pseudo_real", "pseudo_draws", "guide", "real_synthetic")
# (arm, the arm it is held against)
DIFFERENCES = (
    ("tstr", "trtr"),
    ("tstr", "pseudo_draws"),
    ("tstr", "pseudo_real"),
    ("tstr", "guide"),
    ("pseudo_draws", "pseudo_real"),
    ("real_synthetic", "trtr"),
)
# Of these the recipe decides.
_OF_IMAGES = ("images", "tstr", "real_synthetic")
FOLDS, SEEDS, MEMBERS, SIZE_PX, INPUT_PX = 5, 3, 3, 64, 32
# Of the draws of `pseudo_draws`; units of a search have seeds of 63 bits.
_DRAWS_SEED = 7
# Networks of the arms are seeded from here on, so that none is a member of a guide.
_ARM_SEED = 100

Floats = npt.NDArray[np.float64]
Logits = npt.NDArray[np.float32]
Json = dict[str, Any]


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
            sha256_file(Path(str(module.__file__))) for module in (fitting, latents, boxes, plan, sys.modules[__name__])
        ]
        key = sha256_bytes(dump_json([*decides, code]))
        return self.work / f"fold{fold}-{name}-{key[:12]}.npz"

    @functools.cached_property
    def _generator_sha256(self) -> str:
        return sha256_file(self.generator)


@dataclass(frozen=True)
class Fold:
    """Logits on the films of a fold: [S, T, K] of S networks of each arm, rows as in `rows` [T]; and what it took."""

    number: int
    rows: npt.NDArray[np.int64]
    logits: dict[str, Logits]
    told: Json


@dataclass(frozen=True)
class Images:
    """What a network learns from: uint8 [N, H, W], float32 [N, K] of 1, 0, NaN or a probability."""

    pixels: Pixels
    labels: Logits

    def beside(self, others: Images) -> Images:
        """These and others."""
        return Images(np.concatenate([self.pixels, others.pixels]), np.concatenate([self.labels, others.labels]))


def _tell(line: str) -> None:
    print(line, flush=True)


def measure_utility(
    *,
    data: Path,
    work: Path,
    generator: Path | None = None,
    findings: Sequence[str] | None = None,
    folds: Sequence[int] = tuple(range(FOLDS)),
    seeds: int = SEEDS,
    epochs: int = ClassifierSettings().epochs,
    recipe: Recipe = Recipe(),
    workers: int = 1,
    resamples: int = RESAMPLES,
    tell: Callable[[str], None] = _tell,
) -> Json:
    """Fit all arms in all folds and compare them.

    Args:
        data: Folder with nih64 and mednist.
        work: Where sets and fits are kept; a killed run goes on from there.
        generator: Weight file of 64 px; None = bundled.
        findings: To be asked for and measured; None = what the bundled guide and judge offer.
        folds: Which of the five to do; fewer for a try.
        seeds: Networks for each arm.
        epochs: Of every network.
        recipe: How the synthetic images are asked for.
        workers: Processes, each with one thread and a fold of its own.
        resamples: Of the bootstrap.
        tell: Given a line whenever there is something to tell.

    Returns:
        `excess_retention` of tstr, macro: {value, low, high}; `retention`, `auroc`, `auroc_ensemble` by arm and finding
        or "macro"; `differences` by "arm - arm"; `folds`: what each took; `seconds` (wall), `settings`.

    Raises:
        ValueError: If there is no such fold.
    """
    if not set(folds) <= set(range(FOLDS)):
        raise ValueError(f"folds must be among 0..{FOLDS - 1}, got {list(folds)}")
    started = time.perf_counter()
    work.mkdir(parents=True, exist_ok=True)
    for name in ("nih64", "mednist"):
        ingest(data / name, work / name, size_px=SIZE_PX)
    bench = Bench(
        nih=work / "nih64",
        mednist=work / "mednist",
        generator=generator or bundled_weights("generator"),
        findings=tuple(findings or offered_findings()),
        seeds=seeds,
        classifier=ClassifierSettings(architecture="residual", members=MEMBERS, input_px=INPUT_PX, epochs=epochs),
        recipe=recipe,
        work=work,
    )
    films = open_set(bench.nih)
    done: list[Fold] = []
    for fold in _each(bench, folds, workers):
        done.append(fold)
        tell(fold_line(fold, columns_of(films, fold.rows, bench.findings)))
    done.sort(key=lambda fold: fold.number)
    rows, scores = pool(done)
    result = compare(
        scores, columns_of(films, rows, bench.findings), films.patients[rows], bench.findings, resamples=resamples
    )
    result |= {
        "folds": [fold.told for fold in done],
        "seconds": round(time.perf_counter() - started, 1),
        "settings": {"seeds": seeds, "epochs": epochs, "findings": bench.findings, **dataclasses.asdict(recipe)},
    }
    for line in tables(result, bench.findings):
        tell(line)
    return result


def offered_findings() -> list[str]:
    """What guide and judge of the package offer."""
    guide, judge = load_classifier(bundled_weights("guide")), load_classifier(bundled_weights("judge"))
    return [item.finding for item in list_offerings(guide.meta, judge.meta) if item.offered]


def _each(bench: Bench, folds: Sequence[int], workers: int) -> Iterable[Fold]:
    """Folds as they are done; what takes long is begun first, so that no process waits for another at the end."""
    if workers < 2:
        _one_thread()
        yield from (read_fold(bench, number, fill_fold(bench, number, ARMS)) for number in folds)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as processes:
        parts = [
            [processes.submit(fill_fold, bench, number, arms) for number in folds] for arms in (ARMS[1:], ARMS[:1])
        ]
        for number, *both in zip(folds, *parts, strict=True):
            yield read_fold(bench, number, sum(part.result() for part in both))


def _one_thread() -> None:
    torch.set_num_threads(1)
    keep_heap()


def fill_fold(bench: Bench, number: int, arms: Sequence[str]) -> float:
    """Fit what `bench.work` lacks of these arms; CPU seconds."""
    started, workshop = time.process_time(), Workshop(bench, number)
    for arm in arms:
        path = bench.path(number, arm)
        if not path.exists():
            _save(path, logits=workshop.guide_logits() if arm == "guide" else workshop.arm_logits(arm))
    return time.process_time() - started


def read_fold(bench: Bench, number: int, cpu_seconds: float) -> Fold:
    """What `fill_fold` has left."""
    workshop = Workshop(bench, number)
    made = workshop.synthetic()
    told = {
        "fold": number,
        "films": len(workshop.test),
        "learned_from": len(workshop.learned),
        "synthetic": len(made.pixels),
        "shares": dict(zip(bench.findings, made.labels.mean(axis=0).round(4).tolist(), strict=True)),
        "pushed": workshop.pushed(),
        "cpu_seconds": round(cpu_seconds, 1),
    }
    logits = {arm: np.load(bench.path(number, arm))["logits"] for arm in ARMS}
    return Fold(number, workshop.test, logits, told)


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
            _save(path, **{name: value.numpy() for name, value in network.state_dict().items()})
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
            _save(path, pixels=pixels, labels=self.relabel(pixels, asked), asked=asked, steps=steps)
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

    def draws(self, count: int) -> Pixels:
        """Random draws of the generator."""
        snapshot = load_snapshot(self.bench.generator)
        size = snapshot.settings.latent_size
        with kernels_ready(snapshot.generator, torch.float32):
            latents = [draw_latent(_DRAWS_SEED + self.number, number, size) for number in range(count)]
            return render(snapshot.generator, torch.stack(latents))

    def arm_images(self, arm: str) -> Images:
        """What the networks of an arm learn from."""
        if arm == "trtr":
            return self.real
        if arm == "tstr":
            return self.synthetic()
        if arm == "real_synthetic":
            return self.real.beside(self.synthetic())
        if arm == "pseudo_draws":
            return self.called(self.draws(len(self.learned)))
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
        networks = (
            fit_network(images.pixels, images.labels, role="guide", settings=settings, member=seed)
            for seed in range(self.bench.seeds)
        )
        return np.stack([network_logits(network, films, settings.input_px) for network in networks])

    def guide_logits(self) -> Logits:
        """float32 [1, T, K] on the fold's films."""
        return self.told(self.films.pixels[self.test])[None]


def _calls(labels: Logits) -> dict[str, int]:
    """How many films bear a finding and how many do not, in the shape of a weight file's figures."""
    return {"tp": int((labels == 1).sum()), "fn": 0, "fp": int((labels == 0).sum()), "tn": 0}


def labelled_rows(films: RadiographSet) -> npt.NDArray[np.int64]:
    """Rows with a label, of all splits that have any."""
    rows = films.rows(*LABELLED_SPLITS)
    return rows[~np.isnan(films.labels[rows]).all(axis=1)]


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


def call_as_often(logits: Logits, shares: npt.ArrayLike) -> Logits:
    """float32 [N, K] of 1 and 0: each finding on the `shares` [K] of the rows where its logit is highest."""
    calls = np.zeros(logits.shape, np.float32)
    for column, share in enumerate(np.asarray(shares)):
        count = round(float(share) * len(logits))
        calls[np.argsort(-logits[:, column], kind="stable")[:count], column] = 1
    return calls


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


def z_score(logits: npt.ArrayLike) -> Floats:
    """Logits [S, T, K], each network's and finding's with mean 0 and standard deviation 1 over the T films."""
    values = np.asarray(logits, np.float64)
    spread = values.std(axis=1, keepdims=True)
    return (values - values.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)


def pool(folds: Sequence[Fold]) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
    """Rows [N] of all folds and z-scored logits [S, N, K] of each arm."""
    rows = np.concatenate([fold.rows for fold in folds])
    return rows, {arm: np.concatenate([z_score(fold.logits[arm]) for fold in folds], axis=1) for arm in ARMS}


def weighted_auroc(scores: Floats, positive: npt.NDArray[np.bool_], times: Floats) -> Floats:
    """AUROC [R] of scores [N], each row counted `times` [R, N]; ties count half, NaN where a class is empty."""
    negatives = scores[~positive]
    order = np.argsort(negatives, kind="stable")
    mass = np.zeros((len(times), negatives.size + 1))
    np.cumsum(times[:, ~positive][:, order], axis=1, out=mass[:, 1:])
    below, up_to = (np.searchsorted(negatives[order], scores[positive], side=side) for side in ("left", "right"))
    shown = times[:, positive]
    return divide((shown * (mass[:, below] + mass[:, up_to])).sum(axis=1) / 2, shown.sum(axis=1) * mass[:, -1])


def compare(
    scores: Mapping[str, Floats],
    labels: Logits,
    patients: npt.ArrayLike,
    findings: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Json:
    """AUROC of every arm and finding, retention and differences, all from the same resamples of patients.

    Args:
        scores: By arm, [S, N, K]; "trtr" must be among them.
        labels: [N, K] of 1 and 0.
        patients: [N].
        findings: K names.
        resamples: How many.
        seed: Same seed, same intervals.
    """
    arms, pairs = tuple(scores), [pair for pair in DIFFERENCES if set(pair) <= set(scores)]

    def statistic(times: Floats) -> Floats:
        single = np.stack([_macro(_seed_mean(scores[arm], labels, times)) for arm in arms])
        ensemble = np.stack([_macro(_seed_mean(scores[arm].mean(axis=0)[None], labels, times)) for arm in arms])
        excess = single - 0.5
        retained = divide(excess, np.broadcast_to(excess[arms.index("trtr")], excess.shape))
        apart = [single[arms.index(one)] - single[arms.index(other)] for one, other in pairs]
        parts = [single, ensemble, retained, np.stack(apart)] if apart else [single, ensemble, retained]
        return np.concatenate(parts).reshape(-1, len(times))

    found = bootstrap_estimates(statistic, [(len(labels), patients)], name="utility", seed=seed, resamples=resamples)
    names, width = (*findings, "macro"), len(findings) + 1
    rows = [
        {name: _numbers(item) for name, item in zip(names, found[start : start + width], strict=True)}
        for start in range(0, len(found), width)
    ]
    count = len(arms)
    single, ensemble, retained = (
        dict(zip(arms, rows[place : place + count], strict=True)) for place in range(0, 3 * count, count)
    )
    return {
        "excess_retention": retained["tstr"]["macro"] if "tstr" in arms else None,
        "retention": retained,
        "auroc": single,
        "auroc_ensemble": ensemble,
        "differences": {f"{one} - {other}": row for (one, other), row in zip(pairs, rows[3 * count :], strict=True)},
        "positives": dict(zip(findings, (labels == 1).sum(axis=0).tolist(), strict=True)),
    }


def _seed_mean(scores: Floats, labels: Logits, times: Floats) -> Floats:
    """AUROC [K, R], the mean over the networks of [S, N, K]."""
    return np.stack(
        [
            np.mean([weighted_auroc(one[:, column], labels[:, column] == 1, times) for one in scores], axis=0)
            for column in range(labels.shape[1])
        ]
    )


def _macro(aurocs: Floats) -> Floats:
    """[K, R] and under it their mean: [K + 1, R]."""
    return np.concatenate([aurocs, aurocs.mean(axis=0, keepdims=True)])


def _numbers(estimate: Estimate) -> Json:
    numbers = {name: float(getattr(estimate, name)) for name in ("value", "low", "high")}
    return {name: round(number, 4) if np.isfinite(number) else None for name, number in numbers.items()}


def fold_line(fold: Fold, labels: Logits) -> str:
    """What a fold gave: the macro AUROC of each arm on its own films."""
    ones = np.ones((1, len(labels)))
    texts = [f"{arm} {_seed_mean(fold.logits[arm].astype(np.float64), labels, ones).mean():.3f}" for arm in fold.logits]
    told = fold.told
    return (
        f"fold {fold.number}: {told['films']} films, {told['learned_from']} learned from, "
        f"{told['synthetic']} synthetic; {', '.join(texts)}; {told['cpu_seconds']:.0f} CPU s"
    )


def tables(result: Json, findings: Sequence[str]) -> Iterable[str]:
    """Lines of the tables."""
    names, arms = (*findings, "macro"), tuple(result["auroc"])
    for title, key in (("AUROC, mean over seeds", "auroc"), ("AUROC of the seeds' mean logit", "auroc_ensemble")):
        yield f"\n{title:30} {'':>5} {' '.join(f'{arm:>20}' for arm in arms)}"
        for name in names:
            cells = " ".join(f"{_cell(result[key][arm][name]):>20}" for arm in arms)
            yield f"{name:30} {result['positives'].get(name, ''):>5} {cells}"
    yield f"\n{'excess retention':36} {' '.join(f'{arm:>20}' for arm in arms)}"
    for name in names:
        cells = " ".join(f"{_cell(result['retention'][arm][name]):>20}" for arm in arms)
        yield f"{name:36} {cells}"
    yield "\nmacro differences"
    for pair, row in result["differences"].items():
        yield f"{pair:36} {_cell(row['macro'], sign='+'):>20}"


def _cell(numbers: Json, sign: str = "") -> str:
    if numbers["value"] is None:
        return "-"
    interval = "" if numbers["low"] is None else f" ({numbers['low']:{sign}.2f} {numbers['high']:{sign}.2f})"
    return f"{numbers['value']:{sign}.3f}{interval}"


def _save(path: Path, **arrays: npt.NDArray[Any]) -> None:
    with atomic_path(path) as temporary, Path(temporary).open("wb") as stream:
        np.savez(stream, **arrays)


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("XRARCHIVE_DATA", REPOSITORY.parent / "shared" / "data"))
    search = SearchSettings()
    parser.add_argument("--quick", action="store_true", help="one fold and one seed, to try the bench out")
    parser.add_argument("--data", type=Path, default=data, help="with nih64 and mednist [default: %(default)s]")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "bench_latents_utility")
    parser.add_argument("--generator", type=Path, help="weight file [default: bundled]")
    parser.add_argument("--findings", help="joined by commas [default: what the bundled weights offer]")
    parser.add_argument("--folds", default=",".join(map(str, range(FOLDS))), help="of five [default: %(default)s]")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="networks for each arm [default: %(default)s]")
    parser.add_argument("--epochs", type=int, default=ClassifierSettings().epochs, help="[default: %(default)s]")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each [default: %(default)s]")
    parser.add_argument("--strictness", type=float, help="[default: natural, as common as each finding]")
    parser.add_argument("--no-targets", action="store_true", help="every image is as marked as the bar, no more")
    parser.add_argument("--screen", type=int, default=search.screen, help="draws per image [default: %(default)s]")
    parser.add_argument("--match", default="", help="nuisances to be held, joined by commas [default: none]")
    parser.add_argument("--exclusive", action="store_true", help="findings not asked for must be absent")
    parser.add_argument("--labels", choices=("asked", "called", "soft"), default="asked", help="[default: %(default)s]")
    arguments = parser.parse_args(words)
    arguments.folds = [0] if arguments.quick else [int(word) for word in arguments.folds.split(",")]
    arguments.seeds = 1 if arguments.quick else arguments.seeds
    arguments.findings = arguments.findings.split(",") if arguments.findings else None
    return arguments


def make_recipe(arguments: argparse.Namespace) -> Recipe:
    match = tuple(word for word in arguments.match.split(",") if word)
    search = SearchSettings(
        strictness=SearchSettings().strictness if arguments.strictness is None else arguments.strictness,
        natural=arguments.strictness is None,
        targets=not arguments.no_targets,
        match=match,
        screen=arguments.screen,
    )
    return Recipe(search=search, exclusive=arguments.exclusive, labels=arguments.labels)


def main() -> int:
    arguments = parse(sys.argv[1:])
    result = measure_utility(
        data=arguments.data,
        work=arguments.work,
        generator=arguments.generator,
        findings=arguments.findings,
        folds=arguments.folds,
        seeds=arguments.seeds,
        epochs=arguments.epochs,
        recipe=make_recipe(arguments),
        workers=arguments.workers,
    )
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
