#!/usr/bin/env python3
"""One unlabelled PGGAN and latent class optimisation, or a PGGAN per class? Prints tables, then one JSON object.

taskset -c 0 env OMP_NUM_THREADS=1 .venv/bin/python scripts/bench_class_gans.py [--quick]

Every arm has as many parameters (generators and discriminators together, within 5 %) and is shown as many images:

ours                one PGGAN on all films, no labels; images by `xrarchive build` with a guide (Segal et al. 2020)
class_gans          a PGGAN per finding, on the films whose label names it
pseudo_class_gans   the same on the films that the guide calls: as many films as ours has, and the same guide
conditional         one PGGAN told the guide's calls, by a projection discriminator (Miyato and Koyama 2018)

and, of the generator of `ours`: rejection (random draws that the guide calls, by the rule of the two arms above) and
random (draws of no class). Beside them, as if they were images: films of other patients (`real_train`: what a perfect
class GAN would score), those the guide calls (`real_called`), any (`real_any`), and those of the other findings.

KID in ImageNet features against held-out films of each finding, patients no network has seen; one bootstrap of patients
for all arms and findings, so that ratios are paired. All generators learn from films of one source, and are held
against films of the same one, lest KID measures the source: in nih64 it is tied to `No Finding` (see --source). An
interrupted bench goes on with what --work holds; only the network it was training begins again.

What it does not settle: one seed, one budget, 32 px. Narrow networks are faster: at as many images the class GANs take
about half the time; --each-nimg gives them more. The judge shares patients with the films of `class_gans`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import bench_class_gans_conditional
import numpy as np
import numpy.typing as npt
import torch
from bench_class_gans_conditional import balanced_rows, network_parameters, train_conditional
from bench_class_gans_films import HELD_OUT_SPLITS, LEARNED_SPLITS, PX, Films, Mask, gather, write_set

from xrarchive import pipeline
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.bootstrap import RESAMPLES, draw_multiplicities, group_codes, make_rng, percentile_interval
from xrarchive.classifier.classifier import Classifier, load_classifier
from xrarchive.classifier.settings import ClassifierSettings, Role
from xrarchive.features import imagenet_features
from xrarchive.files import sha256_bytes, sha256_file, write_json
from xrarchive.gan.devices import computes_bfloat16
from xrarchive.gan.draws import fixed_latents
from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.gan.sampling import generate
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import load_snapshot
from xrarchive.gan.training import keep_heap
from xrarchive.kernel import IMAGES_NEEDED, kernel_distance, kernel_resampled
from xrarchive.pixels import Pixels
from xrarchive.records import Status
from xrarchive.statistics import auroc, to_logit
from xrarchive.tables import check_table, parse_assignment

REPOSITORY = Path(__file__).resolve().parent.parent
FINDINGS = ("No Finding", "Infiltration", "Effusion", "Atelectasis")
SOURCE = "mednist64"
# What decides the bytes of each kind of result, by package.
CODE = {"gan": ("gan",), "classifier": ("classifier", "radiographs"), "archive": (".", "classifier")}
RIVALS = ("class_gans", "pseudo_class_gans", "conditional")
KEYS = ("kid_macro_ours", *(f"kid_macro_{name}" for name in RIVALS), *(f"ratio_{name}" for name in RIVALS))
# Random draws at a time, and how many times at most, for rejection.
_DRAW_BATCH = 500
_REJECTION_ROUNDS = 60
_PROGRESS_S = 30.0

Json = dict[str, Any]
Floats = npt.NDArray[np.float64]
Features = Callable[[Pixels], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Plan:
    """What is asked of every arm.

    Attributes:
        findings: The classes.
        generator: Settings of the one PGGAN; its `nimg` is what each arm is shown in all.
        classifier: Of guide and judge.
        per_class: Images of each finding.
        each_nimg: Images that the PGGAN of one class is shown; 0 = its share.
    """

    findings: tuple[str, ...]
    generator: GeneratorSettings
    classifier: ClassifierSettings
    per_class: int
    each_nimg: int = 0

    @cached_property
    def each(self) -> GeneratorSettings:
        """Of the PGGAN of one class: its share of parameters and of images."""
        share = len(self.findings)
        narrow = scaled(self.generator, count_parameters(self.generator) / share)
        return dataclasses.replace(narrow, nimg=self.each_nimg or self.generator.nimg // share, growth_nimg=0)


def main() -> int:
    arguments = parse(sys.argv[1:])
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads)
    keep_heap()
    arguments.work.mkdir(parents=True, exist_ok=True)
    plan, started = make_plan(arguments), cpu_seconds()
    for packages in CODE.values():
        sources(*packages)
    films = gather(arguments.data, arguments.work)
    studio = Studio(plan, films, arguments.work, arguments.source)
    describe_plan(studio)
    reference = Reference.of(studio)
    arms: dict[str, Arm] = {}
    for make in (ours, class_gans, pseudo_class_gans, conditional, from_films):
        for arm in make(studio):
            arms[arm.name] = arm
            show(measure(arm, reference, studio), plan.findings)
    result = {**summary(arms), **details(arms, studio, reference)}
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "xrarchive")}
    result |= {
        "machine": machine(),
        "threads": threads,
        "dtype": str(auto_dtype()).removeprefix("torch."),
        "versions": {**versions, "python": platform.python_version()},
        "quick": arguments.quick,
        "seconds_now": round(cpu_seconds() - started, 1),
    }
    conclude(result, arms, plan.findings)
    print(json.dumps(result))
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("XRARCHIVE_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to try the bench out")
    parser.add_argument("--findings", default=",".join(FINDINGS), help="at least two [default: %(default)s]")
    parser.add_argument("--nimg", type=int, default=50_000, help="images shown in each arm [default: %(default)s]")
    parser.add_argument("--each-nimg", type=int, default=0, help="to each class GAN, instead of its share of --nimg")
    parser.add_argument("--per-class", type=int, default=500, help="images of each finding [default: %(default)s]")
    parser.add_argument("--source", default=SOURCE, help="of films learned from and held out; '' = any [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of every training [default: 0]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="setting of all generators")
    parser.add_argument("--data", type=Path, default=data, help="folder with nih64 and mednist [XRARCHIVE_DATA]")
    work = REPOSITORY / "runs" / "class-gans"
    parser.add_argument("--work", type=Path, default=work, help="[default: runs/class-gans]")
    return parser.parse_args(words)


def make_plan(arguments: argparse.Namespace) -> Plan:
    tenth = 10 if arguments.quick else 1
    values = dict(parse_assignment(item) for item in arguments.set)
    changes = check_table(GeneratorSettings, values, "--set")
    nimg = {"nimg": arguments.nimg // tenth, "seed": arguments.seed}
    classifier = ClassifierSettings(folds=2, members=1, epochs=4) if arguments.quick else CLASSIFIER
    return Plan(
        findings=tuple(name.strip() for name in arguments.findings.split(",")),
        generator=GeneratorSettings(**{"resolution": PX, **nimg, **changes}),  # type: ignore[arg-type]
        classifier=dataclasses.replace(classifier, seed=arguments.seed),
        per_class=arguments.per_class // tenth,
        each_nimg=arguments.each_nimg // tenth,
    )


# Fewer folds and members than by default: thresholds need them, and the time is the generators'.
CLASSIFIER = ClassifierSettings(folds=3, members=2)


def describe_plan(studio: Studio) -> None:
    plan = studio.plan
    one, each = count_parameters(plan.generator), count_parameters(plan.each)
    share = len(plan.findings)
    print(
        f"{studio.learned.sum():,} films to learn from, {studio.held_out.sum():,} held out (source "
        f"{studio.source or 'any'}); {studio.labelled.sum():,} labelled for guide and judge\n"
        f"One PGGAN: {one:,} parameters, widths {widths(plan.generator)}, {plan.generator.nimg:,} images\n"
        f"One per class: {share} x {each:,} = {share * each:,} ({share * each / one:.1%}), widths {widths(plan.each)}, "
        f"{share} x {plan.each.nimg:,} images",
        flush=True,
    )


# --- what the arms share ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Studio:
    """Films, classifiers and folders."""

    plan: Plan
    films: Films
    work: Path
    source: str

    @cached_property
    def of_source(self) -> Mask:
        """Films of the source that is asked for."""
        found: Mask = np.isin(self.films.words["source"], [self.source]) | (not self.source)
        return found

    @cached_property
    def learned(self) -> Mask:
        """What generators may see."""
        return self.films.among(LEARNED_SPLITS) & self.of_source

    @cached_property
    def held_out(self) -> Mask:
        """What they are held against; of these patients nobody has learned knowingly."""
        return self.films.among(HELD_OUT_SPLITS) & self.of_source & self.films.known

    @cached_property
    def labelled(self) -> Mask:
        """What guide and judge learn from, half of the patients each: any source."""
        return self.films.among(("train",)) & self.films.known

    @cached_property
    def guide(self) -> Classifier:
        """The one that chooses films and images."""
        return load_classifier(self.trained("guide")[0], role="guide")

    @cached_property
    def judge(self) -> Classifier:
        """The one that only looks."""
        return load_classifier(self.trained("judge")[0], role="judge")

    def trained(self, role: Role) -> tuple[Path, Json]:
        """The weight file of a classifier, and what it took."""
        set_dir = write_set(self.films, self.labelled, self.work)
        settings = self.plan.classifier
        code = sources(*CODE["classifier"])
        folder = self.work / f"{role}-{cache_key(set_dir.name, dataclasses.asdict(settings), code)}"

        def make() -> Json:
            say(f"training the {role}")
            report = pipeline.train_classifier(set_dir, folder, role=role, settings=settings, on_status=Teller(role))
            figures = {finding: report.findings[finding]["cross_fitted"] for finding in self.plan.findings}
            return {"auroc_cross_fitted": figures, "radiographs": report.radiographs}

        return folder / f"{role}.safetensors", cached(folder, make)

    @cached_property
    def called(self) -> Mask:
        """Bool [N, findings]: what the guide calls, its score at or above its operating threshold."""
        return calls(self.guide, self.films.pixels, self.plan.findings)

    def gan(self, mask: Mask, settings: GeneratorSettings, what: str) -> tuple[Path, Json]:
        """The snapshot of a PGGAN trained on some films, and what it took."""
        set_dir = write_set(self.films, mask, self.work)
        key = cache_key(set_dir.name, dataclasses.asdict(settings), str(auto_dtype()), sources(*CODE["gan"]))
        folder = self.work / f"gan-{key}"

        def make() -> Json:
            say(f"training {what}: {int(mask.sum()):,} films, {settings.nimg:,} images")
            report = pipeline.train_generator(set_dir, folder, settings=settings, metric_nimg=0, on_status=Teller(what))
            return {"nimg": report.nimg, "films": int(mask.sum()), "bytes": report.snapshot.stat().st_size}

        return folder / "generator.safetensors", cached(folder, make)


def calls(guide: Classifier, pixels: Pixels, findings: Sequence[str]) -> Mask:
    columns = [guide.vocabulary.index(name) for name in findings]
    thresholds = guide.thresholds[columns]
    for name, threshold in zip(findings, thresholds, strict=True):
        if np.isnan(threshold):
            raise SystemExit(f"the guide cannot call {name}: choose other --findings")
    found: Mask = guide.outputs(pixels)[:, columns] >= to_logit(thresholds)
    return found


def cached(folder: Path, make: Callable[[], Json]) -> Json:
    """What `make` gave and the processor seconds it took, kept in `folder`; half-made things are made again."""
    path = folder / "result.json"
    if not path.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = cpu_seconds()
        made = make()
        write_json(path, {**made, "cpu_s": round(cpu_seconds() - started, 2)})
    found: Json = json.loads(path.read_text())
    return found


@dataclass
class Arm:
    """Images of each finding, and what they cost.

    Attributes:
        name: Key in the result.
        images: uint8 [n, 32, 32] of each finding.
        parameters: Of generators and discriminators.
        nimg: Images shown in training.
        train_s: Processor seconds of training, without guide and judge.
        make_s: Of making the images, without training.
        weights_bytes: Of the snapshots, generators and discriminators in float16.
        films: How many films each finding, or all, was learned from.
        needs_guide: Whether films or images are chosen by the guide.
        kid: By finding and "macro", filled in by `measure`.
        auroc: By finding, the judge's.
        resampled: float64 [R], macro KID of each resample.
    """

    name: str
    images: dict[str, Pixels]
    parameters: int = 0
    nimg: int = 0
    train_s: float = 0.0
    make_s: float = 0.0
    weights_bytes: int = 0
    films: dict[str, int] = field(default_factory=dict)
    needs_guide: bool = False
    kid: Json = field(default_factory=dict)
    auroc: dict[str, float | None] = field(default_factory=dict)
    resampled: Floats = field(default_factory=lambda: np.full(RESAMPLES, np.nan))


# --- the arms -----------------------------------------------------------------------------------------------------


def ours(studio: Studio) -> list[Arm]:
    """One PGGAN on all films; its images by latent class optimisation, by rejection, and as they come."""
    plan = studio.plan
    snapshot, trained = studio.gan(studio.learned, plan.generator, "the one PGGAN")
    common = {
        "parameters": count_parameters(plan.generator),
        "nimg": trained["nimg"],
        "train_s": trained["cpu_s"],
        "weights_bytes": trained["bytes"],
        "films": {"all": trained["films"]},
    }
    built, made = build(studio, snapshot)
    rejected, rejecting = reject(studio, snapshot)
    started = cpu_seconds()
    latents = fixed_latents(plan.generator, plan.per_class * len(plan.findings))
    drawn = np.split(generate(load_snapshot(snapshot).generator, latents), len(plan.findings))
    random = dict(zip(plan.findings, drawn, strict=True))
    return [
        Arm("ours", built, **common, make_s=made, needs_guide=True),
        Arm("ours_rejection", rejected, **common, make_s=rejecting, needs_guide=True),
        Arm("ours_random", random, **common, make_s=cpu_seconds() - started),
    ]


def build(studio: Studio, snapshot: Path) -> tuple[dict[str, Pixels], float]:
    """Images of each finding by `pipeline.build`; those it could not reach are missing."""
    plan = studio.plan
    weights = {"generator": snapshot, "guide": studio.trained("guide")[0], "judge": studio.trained("judge")[0]}
    shas = [sha256_file(path) for path in weights.values()]
    folder = studio.work / f"archive-{cache_key(shas, plan.findings, plan.per_class, sources(*CODE['archive']))}"

    def make() -> Json:
        say("building the archive")
        report = pipeline.build(
            folder / "archive",
            findings=list(plan.findings),
            per_class=plan.per_class,
            **weights,
            workers=1,
            on_status=Teller("archive"),
        )
        return {"counts": dict(report.counts)}

    made = cached(folder, make)
    names = read_manifest(folder / "archive").findings
    asked = read_table(folder / "archive", ["label"])["label"].to_numpy()
    pixels = read_pixels(folder / "archive")
    return {name: pixels[asked == names.index(name)] for name in plan.findings}, made["cpu_s"]


def reject(studio: Studio, snapshot: Path) -> tuple[dict[str, Pixels], float]:
    """The first random draws that the guide calls, by the rule that chose the films of `pseudo_class_gans`."""
    plan, started = studio.plan, cpu_seconds()
    generator = load_snapshot(snapshot).generator
    rng = torch.Generator().manual_seed(plan.generator.seed)
    kept: dict[str, list[Pixels]] = {name: [] for name in plan.findings}
    for _ in range(_REJECTION_ROUNDS):
        latents = torch.randn((_DRAW_BATCH, plan.generator.latent_size), generator=rng)
        images = generate(generator, latents)
        called = calls(studio.guide, images, plan.findings)
        for column, name in enumerate(plan.findings):
            kept[name].append(images[called[:, column]])
        if min(sum(map(len, parts)) for parts in kept.values()) >= plan.per_class:
            break
    found = {name: np.concatenate(parts)[: plan.per_class] for name, parts in kept.items()}
    return found, cpu_seconds() - started


def class_gans(studio: Studio) -> list[Arm]:
    """A PGGAN for each finding, on the films whose label names it."""
    masks = {name: studio.learned & studio.films.bearing(name) for name in studio.plan.findings}
    return [one_per_class("class_gans", studio, masks)]


def pseudo_class_gans(studio: Studio) -> list[Arm]:
    """A PGGAN for each finding, on the films that the guide calls."""
    masks = {name: studio.learned & studio.called[:, column] for column, name in enumerate(studio.plan.findings)}
    return [one_per_class("pseudo_class_gans", studio, masks, needs_guide=True)]


def one_per_class(name: str, studio: Studio, masks: Mapping[str, Mask], *, needs_guide: bool = False) -> Arm:
    settings = studio.plan.each
    found = {finding: studio.gan(mask, settings, f"{name}, {finding}") for finding, mask in masks.items()}
    started = cpu_seconds()
    latents = fixed_latents(settings, studio.plan.per_class)
    images = {finding: generate(load_snapshot(path).generator, latents) for finding, (path, _) in found.items()}
    results = [result for _, result in found.values()]
    return Arm(
        name,
        images,
        parameters=len(masks) * count_parameters(settings),
        nimg=sum(result["nimg"] for result in results),
        train_s=sum(result["cpu_s"] for result in results),
        make_s=cpu_seconds() - started,
        weights_bytes=sum(result["bytes"] for result in results),
        films={finding: result["films"] for finding, (_, result) in found.items()},
        needs_guide=needs_guide,
    )


def from_films(studio: Studio) -> list[Arm]:
    """Films that were learned from, as if they were an arm's images: what the choice of films alone would give."""
    films, findings = studio.films, studio.plan.findings
    any_of = np.any([films.bearing(name) for name in findings], axis=0)
    rules: dict[str, Callable[[int, str], Mask]] = {
        "real_train": lambda _, name: films.bearing(name),
        "real_called": lambda column, _: studio.called[:, column],
        "real_any": lambda *_: np.ones(len(films.pixels), np.bool_),
        "real_others": lambda _, name: any_of & ~films.bearing(name),
    }
    arms = []
    for name, rule in rules.items():
        images = {}
        for column, finding in enumerate(findings):
            rows = np.flatnonzero(studio.learned & rule(column, finding))
            rows = make_rng(studio.plan.generator.seed, name, finding).permutation(rows)[: studio.plan.per_class]
            images[finding] = films.pixels[np.sort(rows)]
        arms.append(Arm(name, images))
    return arms


def conditional(studio: Studio) -> list[Arm]:
    """One PGGAN on the films of `pseudo_class_gans`, each finding as often as there, told what the guide calls."""
    plan, settings = studio.plan, studio.plan.generator
    called = studio.called & studio.learned[:, None]
    rows = balanced_rows(called)
    shown = sha256_bytes(studio.films.pixels[rows].tobytes() + called[rows].tobytes())
    code = sources(*CODE["gan"]) + sha256_file(Path(bench_class_gans_conditional.__file__))
    folder = studio.work / f"conditional-{cache_key(shown, dataclasses.asdict(settings), plan.per_class, code)}"

    def make() -> Json:
        say(f"training the conditional PGGAN: {int(called.any(axis=1).sum()):,} films, {settings.nimg:,} images")
        labels = torch.from_numpy(called.astype(np.float32))
        state = train_conditional(
            settings, studio.films.pixels, labels, rows, dtype=auto_dtype(), on_status=Teller("the conditional PGGAN")
        )
        weights = sum(parameter.numel() for parameter in network_parameters(state))
        tensors = {"generator": state.averaged.state_dict(), "discriminator": state.discriminator.state_dict()}
        half = {name: {key: value.half() for key, value in part.items()} for name, part in tensors.items()}
        torch.save(half, folder / "weights.pt")
        trained_s = cpu_seconds()
        images = {}
        for column, name in enumerate(plan.findings):
            bearing = np.flatnonzero(called[:, column])
            drawn = make_rng(settings.seed, "conditions", name).choice(bearing, plan.per_class)
            state.averaged.condition = labels[drawn]  # type: ignore[assignment]
            latents = fixed_latents(settings, plan.per_class)
            images[name] = generate(state.averaged, latents, batch=plan.per_class)
        np.savez(folder / "images.npz", **images)
        return {"parameters": weights, "nimg": state.nimg, "make_s": cpu_seconds() - trained_s}

    made = cached(folder, make)
    with np.load(folder / "images.npz") as found:
        images = {name: found[name] for name in plan.findings}
    return [
        Arm(
            "conditional",
            images,
            parameters=made["parameters"],
            nimg=made["nimg"],
            train_s=made["cpu_s"] - made["make_s"],
            make_s=made["make_s"],
            weights_bytes=(folder / "weights.pt").stat().st_size,
            films={"all": int(called.any(axis=1).sum())},
            needs_guide=True,
        )
    ]


# --- measuring ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """Held-out films of each finding.

    Attributes:
        features: float64 [m, 1280] of each finding's films.
        codes: int64 [m], their patients among all held-out ones.
        drawn: float64 [R, G], how often each patient is drawn: the same for all arms and findings.
        judged: AUROC of the judge on these films, a finding's against the other findings'.
    """

    features: dict[str, Floats]
    codes: dict[str, npt.NDArray[np.int64]]
    drawn: Floats
    judged: dict[str, float]

    @classmethod
    def of(cls, studio: Studio) -> Reference:
        """The held-out films of the findings of a plan."""
        films, findings = studio.films, studio.plan.findings
        rows = {name: np.flatnonzero(studio.held_out & films.bearing(name)) for name in findings}
        union = np.unique(np.concatenate(list(rows.values())))
        codes = np.full(len(films.pixels), -1)
        codes[union] = group_codes(films.words["patient_id"][union], len(union))
        for name, few in rows.items():
            if len(few) < IMAGES_NEEDED:
                raise SystemExit(f"{len(few)} held-out films of {name}, a KID needs {IMAGES_NEEDED}")
        judged = {}
        outputs = studio.judge.outputs(films.pixels[union])
        for name in findings:
            column = studio.judge.vocabulary.index(name)
            judged[name] = auroc(outputs[:, column], films.bearing(name)[union].astype(np.float64))
        features = {name: cached_features(films.pixels[few], studio.work) for name, few in rows.items()}
        drawn = draw_multiplicities(codes[union], RESAMPLES, make_rng(0, "class gans", "patients"))
        return cls(features, {name: codes[few] for name, few in rows.items()}, drawn, judged)


def measure(arm: Arm, reference: Reference, studio: Studio) -> Arm:
    """Fill in the KIDs and the judge's AUROCs of an arm."""
    features = {name: cached_features(images, studio.work) for name, images in arm.images.items()}
    arm.kid, arm.resampled = kids(features, reference)
    arm.auroc = judged(arm.images, studio.judge)
    return arm


def kids(features: Mapping[str, Floats], reference: Reference) -> tuple[Json, Floats]:
    """KID of each finding and their mean, with intervals, and the mean of every resample [R].

    Images are drawn for each finding by itself, patients for all at once: a patient may have several findings.
    """
    found: Json = {}
    resampled = []
    for name, real in reference.features.items():
        images = features[name]
        counts = {"n": len(images), "n_real": len(real), "n_patients": len(np.unique(reference.codes[name]))}
        if len(images) < IMAGES_NEEDED:
            found[name] = {"value": None, "low": None, "high": None, **counts}
            resampled.append(np.full(len(reference.drawn), np.nan))
            continue
        drawn = draw_multiplicities(np.arange(len(images)), len(reference.drawn), make_rng(0, "class gans", name))
        values = kernel_resampled(images, real, drawn, reference.drawn, reference.codes[name])
        low, high = percentile_interval(values, 0.95)
        found[name] = {"value": kernel_distance(images, real), "low": low, "high": high, **counts}
        resampled.append(values)
    means = np.mean(resampled, axis=0)
    values = [each["value"] for each in found.values()]
    macro = None if None in values else float(np.mean(values))
    low, high = percentile_interval(means, 0.95)
    found["macro"] = {"value": macro, "low": None if macro is None else low, "high": None if macro is None else high}
    return found, means


def judged(images: Mapping[str, Pixels], judge: Classifier) -> dict[str, float | None]:
    """The judge's AUROC for each finding: the images asked to show it against the other findings' images."""
    outputs = {name: judge.outputs(pixels) for name, pixels in images.items() if len(pixels)}
    found: dict[str, float | None] = {}
    for name in images:
        column = judge.vocabulary.index(name)
        scores = [score for values in outputs.values() for score in values[:, column]]
        asked = [float(other == name) for other, values in outputs.items() for _ in values]
        area = auroc(scores, asked)
        found[name] = None if np.isnan(area) else area
    return found


def ratio(first: Arm, second: Arm) -> Json:
    """Macro KID of the first over the second's; its interval over the resamples, which the two share."""
    ours, theirs = first.kid["macro"]["value"], second.kid["macro"]["value"]
    if ours is None or theirs is None:
        return {"value": None, "low": None, "high": None}
    low, high = percentile_interval(first.resampled / second.resampled, 0.95)
    return {"value": ours / theirs, "low": low, "high": high}


def cached_features(pixels: Pixels, work: Path) -> Floats:
    """float64 [N, 1280], kept by content."""
    if not len(pixels):
        return np.empty((0, 0))
    path = work / "features" / f"{sha256_bytes(np.ascontiguousarray(pixels).tobytes())[:16]}.npy"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, imagenet_features(pixels))
        partial.rename(path)
    return np.load(path).astype(np.float64)


# --- telling ------------------------------------------------------------------------------------------------------


def show(arm: Arm, findings: Sequence[str]) -> None:
    """A block of lines for an arm."""
    cost = ""
    if arm.nimg:
        cost = (
            f": {arm.parameters:,} parameters, {arm.nimg:,} images shown, {arm.train_s:.0f} s training, "
            f"{arm.make_s:.1f} s making, {arm.weights_bytes:,} bytes, films {arm.films}"
        )
    print(f"\n{arm.name}{cost}")
    for name in (*findings, "macro"):
        kid, area = arm.kid[name], arm.auroc.get(name)
        counts = f"{kid['n']} images, {kid['n_real']} films" if "n" in kid else ""
        judge = "" if area is None else f"judge's AUROC {area:.3f}"
        print(f"  {name:20} KID {told(kid):28} {judge:20} {counts}".rstrip())
    sys.stdout.flush()


def told(found: Json) -> str:
    if found["value"] is None:
        return "–"
    return f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


def summary(arms: Mapping[str, Arm]) -> Json:
    """The keys of the result that a reader looks for first."""
    kept = ("value", "low", "high")
    kid = {f"kid_macro_{name}": {key: arms[name].kid["macro"][key] for key in kept} for name in ("ours", *RIVALS)}
    return {**kid, **{f"ratio_{name}": ratio(arms["ours"], arms[name]) for name in RIVALS}}


def details(arms: Mapping[str, Arm], studio: Studio, reference: Reference) -> Json:
    classifiers = {role: studio.trained(role) for role in ("guide", "judge")}
    trained = {name: arm for name, arm in arms.items() if arm.nimg}
    return {
        "parameters": {name: arm.parameters for name, arm in trained.items()},
        "seconds": {name: {"training": arm.train_s, "making": round(arm.make_s, 2)} for name, arm in trained.items()},
        "weights_bytes": {name: arm.weights_bytes for name, arm in trained.items()},
        "images_shown": {name: arm.nimg for name, arm in trained.items()},
        "films": {name: arm.films for name, arm in trained.items()},
        "needs_guide": [name for name, arm in trained.items() if arm.needs_guide],
        "guide_bytes": classifiers["guide"][0].stat().st_size,
        "classifiers": {role: found for role, (_, found) in classifiers.items()},
        "kid": {name: arm.kid for name, arm in arms.items()},
        "judge_auroc": {**{name: arm.auroc for name, arm in arms.items()}, "held_out_films": reference.judged},
        "rejection_ratio": ratio(arms["ours_rejection"], arms["pseudo_class_gans"]),
        "findings": list(studio.plan.findings),
        "source": studio.source,
        "seed": studio.plan.generator.seed,
        "widths": {"one": widths(studio.plan.generator), "each": widths(studio.plan.each)},
    }


def conclude(result: Json, arms: Mapping[str, Arm], findings: Sequence[str]) -> None:
    """One line for each arm, and who won."""
    print(f"\n{'arm':20}" + "".join(f"{name[:13]:>14}" for name in (*findings, "macro")) + "  judge's AUROC, mean")
    for name, arm in arms.items():
        values = [arm.kid[finding]["value"] for finding in (*findings, "macro")]
        areas = [area for area in arm.auroc.values() if area is not None]
        cells = "".join(f"{'–':>14}" if value is None else f"{value:14.4f}" for value in values)
        print(f"{name:20}{cells}  {np.mean(areas) if areas else float('nan'):.3f}")
    print(f"{'held-out films':20}{'':{14 * (len(findings) + 1)}}  {np.mean(list(reference_areas(result))):.3f}\n")
    for name in RIVALS:
        print(verdict(name, result[f"ratio_{name}"], arms["ours"], arms[name], findings))
    print(f"\n{result['machine']}, {result['threads']} threads, {result['dtype']}; {result['versions']}")


def reference_areas(result: Json) -> list[float]:
    return list(result["judge_auroc"]["held_out_films"].values())


def verdict(name: str, found: Json, first: Arm, second: Arm, findings: Sequence[str]) -> str:
    """Which of the two is closer to held-out films, or that this cannot be told."""
    if found["value"] is None:
        return f"ours against {name}: not measured, one of them has too few images"
    pairs = [(first.kid[finding]["value"], second.kid[finding]["value"]) for finding in findings]
    closer = sum(ours < theirs for ours, theirs in pairs)
    word = "CLOSER to real films than" if found["high"] < 1 else "FURTHER from real films than"
    if found["low"] <= 1 <= found["high"]:
        word = "not told apart from"
    numbers = f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
    return f"ours is {word} {name}: KID ratio {numbers}; closer for {closer} of {len(findings)} findings"


class Teller:
    """`on_status` of a training: a line now and then."""

    def __init__(self, what: str) -> None:
        self.what, self._started_s, self._told_s = what, time.monotonic(), time.monotonic()

    def __call__(self, status: Status) -> None:
        """Told after every step."""
        now = time.monotonic()
        if now - self._told_s > _PROGRESS_S:
            self._told_s = now
            spent = now - self._started_s
            say(f"{self.what}: {status.done:,} of {status.total:,} {status.unit}, {spent:.0f} s, {status.text}")


# --- small things -------------------------------------------------------------------------------------------------


def scaled(settings: GeneratorSettings, parameters: float) -> GeneratorSettings:
    """The settings with all widths scaled alike, so that both networks together have about so many parameters."""
    candidates = [
        dataclasses.replace(
            settings, width_max=width, width_base=max(1, round(width * settings.width_base / settings.width_max))
        )
        for width in range(1, settings.width_max + 1)
    ]
    return min(candidates, key=lambda each: abs(count_parameters(each) - parameters))


def count_parameters(settings: GeneratorSettings) -> int:
    """Of generator and discriminator."""
    with torch.device("meta"):
        networks = Generator(settings), Discriminator(settings)
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


def widths(settings: GeneratorSettings) -> list[int]:
    """Channels at 4, 8, ... px."""
    return [settings.width(4 << level) for level in range((settings.resolution // 4).bit_length())]


def auto_dtype() -> torch.dtype:
    """What precision `auto` means here."""
    return torch.bfloat16 if computes_bfloat16(torch.device("cpu")) else torch.float32


def cpu_seconds() -> float:
    """Of this process and the ended ones it started."""
    return sum(os.times()[:4])


def cache_key(*parts: object) -> str:
    """Names what a result depends on."""
    told = json.dumps([parts, metadata.version("torch"), torch.get_num_threads()])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@functools.cache
def sources(*packages: str) -> str:
    """Sha256 over the code of some packages of xrarchive: other code, other results. As it is when first asked for."""
    files = sorted(path for name in packages for path in (REPOSITORY / "xrarchive" / name).glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} processors, {torch.backends.cpu.get_cpu_capability()}"


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
