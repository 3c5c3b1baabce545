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
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from bench_latents_workshop import ARMS, FOLDS, SEEDS, Bench, Logits, Recipe, Workshop, columns_of, save

from xrarchive.bundled import bundled_weights
from xrarchive.classifier.classifier import load_classifier
from xrarchive.classifier.offering import list_offerings
from xrarchive.classifier.settings import ClassifierSettings
from xrarchive.estimates import RESAMPLES, Estimate
from xrarchive.gan.training import keep_heap
from xrarchive.plan import SearchSettings
from xrarchive.radiographs import ingest, open_set
from xrarchive.units import end_with_parent
from xrarchive.validation.utility import Comparison, Floats, compare, mean_auroc, pool

REPOSITORY = Path(__file__).resolve().parent.parent
# (arm, the arm it is held against)
DIFFERENCES = (
    ("tstr", "trtr"),
    ("tstr", "pseudo_draws"),
    ("tstr", "pseudo_real"),
    ("tstr", "guide"),
    ("pseudo_draws", "pseudo_real"),
    ("real_synthetic", "trtr"),
)
MEMBERS, SIZE_PX, INPUT_PX = 3, 64, 32

Json = dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """Logits on the films of a fold: [S, T, K] of S networks of each arm, rows as in `rows` [T]; and what it took."""

    number: int
    rows: npt.NDArray[np.int64]
    logits: dict[str, Logits]
    told: Json


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
    recipe: Recipe | None = None,
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
        recipe: How the synthetic images are asked for; None = like the label sets of R, as a build does it.
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
        recipe=recipe or Recipe(),
        work=work,
    )
    films = open_set(bench.nih)
    done: list[Fold] = []
    for fold in _each(bench, folds, workers):
        done.append(fold)
        tell(fold_line(fold, columns_of(films, fold.rows, bench.findings)))
    done.sort(key=lambda fold: fold.number)
    rows, scores = pool_folds(done)
    labels = columns_of(films, rows, bench.findings)
    found = compare(scores, labels, films.patients[rows], bench.findings, differences=DIFFERENCES, resamples=resamples)
    result = told_of(found, labels, bench.findings)
    result |= {
        "folds": [fold.told for fold in done],
        "seconds": round(time.perf_counter() - started, 1),
        "settings": {"seeds": seeds, "epochs": epochs, "findings": bench.findings, **dataclasses.asdict(bench.recipe)},
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
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as processes:
        parts = [
            [processes.submit(fill_fold, bench, number, arms) for number in folds] for arms in (ARMS[1:], ARMS[:1])
        ]
        for number, *both in zip(folds, *parts, strict=True):
            yield read_fold(bench, number, sum(part.result() for part in both))


def _start_worker() -> None:
    end_with_parent()
    _one_thread()


def _one_thread() -> None:
    torch.set_num_threads(1)
    keep_heap()


def fill_fold(bench: Bench, number: int, arms: Sequence[str]) -> float:
    """Fit what `bench.work` lacks of these arms; CPU seconds."""
    started, workshop = time.process_time(), Workshop(bench, number)
    for arm in arms:
        path = bench.path(number, arm)
        if not path.exists():
            save(path, logits=workshop.guide_logits() if arm == "guide" else workshop.arm_logits(arm))
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


def pool_folds(folds: Sequence[Fold]) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
    """Rows [N] of all folds and z-scored logits [S, N, K] of each arm."""
    rows = np.concatenate([fold.rows for fold in folds])
    return rows, {arm: pool([fold.logits[arm] for fold in folds]) for arm in ARMS}


def told_of(found: Comparison, labels: Logits, findings: Sequence[str]) -> Json:
    """A comparison as JSON."""

    def rows(arms: Mapping[str, Mapping[str, Estimate]]) -> Json:
        return {arm: {name: _numbers(item) for name, item in row.items()} for arm, row in arms.items()}

    retention = rows(found.retention)
    return {
        "excess_retention": retention["tstr"]["macro"] if "tstr" in retention else None,
        "retention": retention,
        "auroc": rows(found.auroc),
        "auroc_ensemble": rows(found.ensemble),
        "differences": rows({f"{one} - {other}": row for (one, other), row in found.differences.items()}),
        "positives": dict(zip(findings, (labels == 1).sum(axis=0).tolist(), strict=True)),
    }


def _numbers(estimate: Estimate) -> Json:
    numbers = {name: float(getattr(estimate, name)) for name in ("value", "low", "high")}
    return {name: round(number, 4) if np.isfinite(number) else None for name, number in numbers.items()}


def fold_line(fold: Fold, labels: Logits) -> str:
    """What a fold gave: the macro AUROC of each arm on its own films."""
    ones = np.ones((1, len(labels)))
    texts = [f"{arm} {mean_auroc(fold.logits[arm].astype(np.float64), labels, ones).mean():.3f}" for arm in fold.logits]
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
