"""What the bundled model is worth, on real films: prints tables, then one JSON object.

.venv/bin/python scripts/bench_bundled.py

1. Generator: random draws against held-out films in both feature spaces: KID and FD with the real-versus-real floor,
   precision, recall, density and coverage beside what training films get. Again after JPEG coding: films come from JPEG
   files, and a part of every distance is that texture. How well the discriminator tells training films from held-out
   ones. `--only generator --generator FILE` measures another snapshot.
2. Nearest films: for 24 draws the training film most like each, and how like: beside the same of held-out films.
   `--nearest-sheet PNG` shows the pairs to whoever has the films; it holds real films and must not be passed on.
3. Archive: a build of --per-class images, fully validated against the same held-out films and nih64.
4. Classifiers: AUROC on real test films and cross-fitted, per finding.

With --write the figures go into the package and README. For new weights: after `scripts/reproduce_bundled --write`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xrarchive import pipeline
from xrarchive.archive.manifest import VALIDATION_NAME, read_manifest
from xrarchive.bundled import bundled_weights
from xrarchive.classifier.classifier import load_classifier
from xrarchive.classifier.offering import list_offerings
from xrarchive.estimates import RESAMPLES
from xrarchive.features import IMAGENET, imagenet_features
from xrarchive.files import read_json, write_json
from xrarchive.gan.memory import critic_scores
from xrarchive.gan.snapshots import load_discriminator, load_snapshot
from xrarchive.gan.training import TRAINING_SPLITS
from xrarchive.latents import draw_latent
from xrarchive.pixels import Pixels, write_grid
from xrarchive.radiographs import RadiographSet, ingest, open_set
from xrarchive.synthesis import render
from xrarchive.validation.coverage import Features, Manifold, manifold
from xrarchive.validation.degrading import recompressed
from xrarchive.validation.duplicates import most_alike
from xrarchive.validation.fidelity import METRICS, measure_fidelity
from xrarchive.validation.measures import Measure, as_bound, measure_estimate, not_measured
from xrarchive.validation.sides import auroc_between, auroc_measure
from xrarchive.validation.summary import summary_rows

REPOSITORY = Path(__file__).resolve().parent.parent
BUNDLED = REPOSITORY / "xrarchive" / "bundled"
TRAINING_START, TRAINING_END = "<!-- tables: scripts/bench_bundled.py --write -->", "<!-- end of tables -->"
TITLES = {"kid": "KID", "frechet": "FD"}
SHARES = ("precision", "recall", "density", "coverage")
CHANCE = {"value": 0.5, "note": "Nothing was learnt by heart."}
JPEG_QUALITY = 90
NEAREST = 24  # draws whose nearest film is looked up
README_START, README_END = "<!-- figures: scripts/bench_bundled.py --write -->", "<!-- end of figures -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("XRARCHIVE_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument(
        "--images", type=int, default=2_000, help="random draws, and held-out films at most [default: 2000]"
    )
    parser.add_argument("--per-class", type=int, default=200, help="images for each offered finding [default: 200]")
    parser.add_argument(
        "--validation",
        type=Path,
        help="validation.json of the same archive, from `reproduce_bundled DIR` [default: validate here]",
    )
    parser.add_argument(
        "--generator", type=Path, default=bundled_weights("generator"), help="snapshot [default: bundled]"
    )
    parser.add_argument("--only", choices=["generator"], help="stop after the generator's figures")
    parser.add_argument("--nearest-sheet", type=Path, help="PNG of draws beside their nearest films; not to be shared")
    parser.add_argument("--write", action="store_true", help="also put figures and cards into the package")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        radiographs = Path(work) / "mednist64"
        ingest(arguments.data / "mednist", radiographs, terms=("mednist",))
        films = open_set(radiographs)
        generator = measure_generator(films, arguments.generator, arguments.images)
        generator["nearest"] = measure_nearest(films, arguments.generator, arguments.nearest_sheet)
        if arguments.only:
            print(json.dumps(generator))
            return 0
        labelled, archive = Path(work) / "nih64", Path(work) / "archive"
        ingest(arguments.data / "nih64", labelled, size_px=films.size_px, terms=("nih-chestxray14",))
        result = {
            "generator": generator,
            **measure_archive([radiographs, labelled], archive, arguments.per_class, arguments.validation),
            "classifiers": classifier_figures(),
            "per_class": arguments.per_class,
            "machine": f"{platform.machine()}, {os.cpu_count()} processors, {torch.backends.cpu.get_cpu_capability()}",
            "versions": {name: metadata.version(name) for name in ("torch", "numpy", "pillow", "pyarrow")},
        }
        if arguments.write:
            write_figures(result)
            write_cards(archive)
    print(json.dumps(result))
    return 0


def write_figures(result: dict[str, Any]) -> None:
    """Keep the figures beside the weights, their tables in README and in TRAINING.md."""
    write_json(BUNDLED / "figures.json", result)
    curve = learning_curve(BUNDLED / "generator-training.jsonl")
    _fill(REPOSITORY / "README.md", README_START, readme_block(result), README_END)
    _fill(BUNDLED / "TRAINING.md", TRAINING_START, training_block(result["generator"], curve), TRAINING_END)


def write_cards(archive: Path) -> None:
    """The model card with what the archive's images are worth, and that archive's own card as an example."""
    paths = {role: bundled_weights(role) for role in ("generator", "guide", "judge", "referee")}
    (BUNDLED / "README.md").write_text(pipeline.model_card(paths, archive_dir=archive))
    pipeline.write_card(archive)
    shutil.copyfile(archive / "README.md", BUNDLED / "dataset-card.md")


def _fill(path: Path, start: str, block: str, end: str) -> None:
    before, _, rest = path.read_text().partition(start)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{start}\n{block}\n{end}{after}")


def readme_block(result: dict[str, Any]) -> str:
    """README's table of figures."""
    generator, validation = result["generator"], result["validation"]
    labels = validation["labels"]["findings"]
    lines = [
        "| measure | value | 95 % interval | beside it |",
        "|---|---:|---|---|",
        *(
            _row(f"Generator: {TITLES.get(name, name)}, {space} features", generator[space]["png"][name])
            for space in (IMAGENET, "judge")
            for name in ("kid", "frechet", "recall", "coverage")
        ),
        *(
            _row(f"Archive: {TITLES[name]}, {space} features", found)
            for space, metrics in sorted(validation["fidelity"].items())
            for name, found in sorted(metrics.items())
        ),
        *(_row(f"{finding}: judge's AUROC, asked or not", found) for finding, found in sorted(labels.items())),
        _row("Exact or near copies of training films", validation["privacy"]["copies"]),
    ]
    drawn, asked = generator[IMAGENET]["png"]["kid"]["n"], validation["subject"]["images"]
    pace = f"built at {result['images_per_s']:.1f} images/s on {result['machine']}"
    shown = (
        f"{generator['images_shown']:,} images shown in training; {drawn:,} random draws, {asked:,} asked for, {pace}."
    )
    return "\n".join(["", *lines, "", shown, ""])


def training_block(generator: dict[str, Any], curve: list[tuple[int, float, float, float]]) -> str:
    """TRAINING.md's tables: the generator's figures, its learning curve, and the films nearest to its draws."""
    coded = [
        _row(f"{TITLES.get(name, name)}, {space} features, {coding.upper()}", generator[space][coding][name])
        for space in (IMAGENET, "judge")
        for coding in ("png", "jpeg")
        for name in (*TITLES, *SHARES)
    ]
    nearest = generator["nearest"]
    return "\n".join(
        [
            "",
            f"{generator['images_shown']:,} images shown. Draws against held-out films:",
            "",
            "| measure | value | 95 % interval | beside it |",
            "|---|---:|---|---|",
            *coded,
            "",
            "The learning curve, ImageNet features, 1,000 images:",
            "",
            "| images shown | KID | 95 % interval |",
            "|---:|---:|---|",
            *(f"| {shown:,} | {value:.4f} | {low:.4f} to {high:.4f} |" for shown, value, low, high in curve),
            "",
            f"The training film most like each of {len(nearest['pairs'])} draws, by correlation of pixels: median "
            f"{nearest['median']['draws']:.3f}, greatest {nearest['greatest']['draws']:.3f}. The same for "
            f"{nearest['held_out']:,} held-out films: median {nearest['median']['held_out']:.3f}, greatest "
            f"{nearest['greatest']['held_out']:.3f}.",
            "",
            "| draw | correlation | mean difference, grey levels of 255 | held-out films more alike to theirs |",
            "|---:|---:|---:|---:|",
            *(
                f"| {pair['draw']} | {pair['correlation']:.3f} | {pair['grey_levels']:.1f} | "
                f"{100 * pair['held_out_more_alike']:.1f} % |"
                for pair in nearest["pairs"]
            ),
            "",
        ]
    )


def learning_curve(path: Path) -> list[tuple[int, float, float, float]]:
    """Images shown in all, KID and its interval, from the logs of trainings that each went on from the one before."""
    curve, before, last = [], 0, 0
    for line in path.read_text().splitlines():
        tick = json.loads(line)
        if tick["nimg"] < last:
            before += last
        last = tick["nimg"]
        if "kid" in tick:
            curve.append((before + last, tick["kid"], tick["kid_low"], tick["kid_high"]))
    return curve


def _row(name: str, found: dict[str, Any]) -> str:
    if found["value"] is None:
        return f"| {name} | – | – | {found['reason']} |"
    interval = "–" if found.get("low") is None else f"{found['low']:.3f} to {found['high']:.3f}"
    value = str(found["value"]) if isinstance(found["value"], int) else f"{found['value']:.3f}"
    return f"| {name} | {value} | {interval} | {_beside(found)} |"


def _beside(found: dict[str, Any]) -> str:
    for key, words in (("ceiling", "for real films"), ("floor", "real against real")):
        bound = found.get(key) or {}
        if bound.get("value") is not None:
            return f"{bound['value']:.3f} {words}"
    return ""


def measure_generator(films: RadiographSet, path: Path, count: int) -> dict[str, Any]:
    """Random draws against as many held-out films, none of which has an identical twin among the training films."""
    snapshot = load_snapshot(path)
    held_out = films.unseen_rows("holdout", seen=TRAINING_SPLITS)
    count = min(count, len(held_out))
    latents = torch.stack([draw_latent(seed, 0, snapshot.settings.latent_size) for seed in range(count)])
    drawn = render(snapshot.generator, latents)
    real, trained_on = (_some(films, rows, count) for rows in (held_out, films.rows(*TRAINING_SPLITS)))
    judge = load_classifier(bundled_weights("judge"), role="judge")
    shown = snapshot.meta["nimg"] + snapshot.meta.get("nimg_before", 0)
    print(f"Generator ({shown:,} images shown): {count:,} draws against {count:,} held-out films")
    result: dict[str, Any] = {"images_shown": shown, "sha256": snapshot.sha256}
    for space, features in ((IMAGENET, imagenet_features), ("judge", judge.features)):
        real_rows, made_rows = features(real), features(drawn)
        ceiling = manifold(real_rows, features(trained_on), resamples=1)
        for coding, rows in (("png", made_rows), ("jpeg", features(recompressed(drawn, JPEG_QUALITY)))):
            result.setdefault(space, {})[coding] = _held_against(real_rows, rows, ceiling, space)
            print(f"  {space}, images as {coding.upper()}")
            for name, found in result[space][coding].items():
                print(f"    {name:10} {_told(found)}")
    result["discriminator"] = measure_discriminator(films, path)
    return result


def measure_discriminator(films: RadiographSet, path: Path) -> dict[str, Any]:
    """AUROC of telling training films from held-out ones of the same source by a snapshot's discriminator."""
    discriminator = load_discriminator(path)
    if discriminator is None:
        return not_measured("The snapshot holds no discriminator.")
    held_out = films.unseen_rows("holdout", seen=TRAINING_SPLITS)
    members, others = (_some(films, rows, len(held_out)) for rows in (films.rows("unlabelled"), held_out))
    scores = critic_scores(discriminator, members), critic_scores(discriminator, others)
    told = auroc_between(*scores, seed=0, resamples=RESAMPLES)
    found = auroc_measure(told, "How well its score tells them apart.", floor=CHANCE)
    print(f"  discriminator, AUROC of training films against held-out ones: {_told(found)}")
    return found


def _some(films: RadiographSet, rows: npt.NDArray[np.int64], count: int) -> Pixels:
    return films.pixels[np.sort(np.random.default_rng(1).choice(rows, count, replace=False))]


def _held_against(real: Features, made: Features, ceiling: Manifold, space: str) -> dict[str, Measure]:
    """Both distances, then the four shares with what training films get in the same place."""
    found = {
        metric.name: measure_fidelity(metric, made, real, patients=None, seed=0, space=space) for metric in METRICS
    }
    overlap = manifold(real, made)
    for name in SHARES:
        of_films = as_bound(getattr(ceiling, name), len(real), "Of as many films that the generator was trained on.")
        estimate = getattr(overlap, name)
        found[name] = measure_estimate(estimate, n=len(made), note="", otherwise="", extra={"ceiling": of_films})
    return found


def measure_nearest(films: RadiographSet, path: Path, sheet: Path | None) -> dict[str, Any]:
    """How like its nearest training film each of some draws is, beside what held-out films are like theirs."""
    snapshot = load_snapshot(path)
    latents = torch.stack([draw_latent(seed, 0, snapshot.settings.latent_size) for seed in range(NEAREST)])
    drawn = render(snapshot.generator, latents)
    trained_on = films.pixels[films.rows(*TRAINING_SPLITS)]
    unseen = films.pixels[films.unseen_rows("holdout", seen=TRAINING_SPLITS)]
    likeness, rows = most_alike(drawn, trained_on)
    of_films, _ = most_alike(unseen, trained_on)
    pairs = [
        {
            "draw": seed,
            "correlation": round(float(alike), 4),
            "grey_levels": round(float(np.abs(image - film).mean()), 1),
            "held_out_more_alike": round(float((of_films > alike).mean()), 4),
        }
        for seed, (alike, image, film) in enumerate(
            zip(likeness, drawn.astype(np.float32), trained_on[rows].astype(np.float32), strict=True)
        )
    ]
    middle = {"draws": float(np.median(likeness)), "held_out": float(np.median(of_films))}
    most = {"draws": float(likeness.max()), "held_out": float(of_films.max())}
    print(f"\nNearest training film, correlation of pixels: median {middle}, greatest {most}")
    for pair in pairs:
        print("  " + "  ".join(f"{name} {value}" for name, value in pair.items()))
    if sheet is not None:
        beside = np.stack([drawn, trained_on[rows]], axis=1).reshape(-1, *drawn.shape[1:])
        write_grid(sheet, beside, columns=8)
    return {"median": middle, "greatest": most, "held_out": len(unseen), "pairs": pairs}


def measure_archive(radiographs: list[Path], out: Path, per_class: int, validation: Path | None) -> dict[str, Any]:
    """Build and validate; the validation's table and how fast it was built."""
    started = time.perf_counter()
    built = pipeline.build(out, per_class=per_class)
    seconds = time.perf_counter() - started
    if validation is None:
        report = pipeline.validate(out, radiographs=radiographs, referee=bundled_weights("referee"))
    else:
        report = read_json(validation, what="validation", fix="Run scripts/reproduce_bundled DIR.")
        if report["manifest_sha256"] != read_manifest(out).sha256:
            raise SystemExit(
                f"{validation} is not of the archive that was built here: give one of --per-class {per_class}."
            )
        shutil.copyfile(validation, out / VALIDATION_NAME)
    print(f"\nArchive, {built.rows:,} images in {seconds:.0f} s, {built.rows / seconds:.1f} images/s")
    for tally in built.tallies:
        print(f"  {' + '.join(tally.findings):20} {tally.accepted} of {tally.asked} from {tally.starts} starts")
    for row in summary_rows(report):
        interval = f"({row.low:.3f} to {row.high:.3f})" if row.low is not None and row.high is not None else ""
        value = "not measured" if row.value is None else f"{row.value:.3f}"
        beside = row.reason or (f"beside {row.beside:.3f} {row.beside_text}" if row.beside is not None else "")
        print(f"  {row.subject:15} {row.measure:22} {value} {interval} {beside}")
    return {"images_per_s": built.rows / seconds, "validation": report}


def classifier_figures() -> dict[str, Any]:
    """AUROC per finding of guide and judge, and what is offered."""
    guide = load_classifier(bundled_weights("guide"), role="guide").meta
    judge = load_classifier(bundled_weights("judge"), role="judge").meta
    print(f"\n{'finding':20} {'guide':>18} {'on test':>18} {'judge':>18} {'on test':>18}  offered")
    for item in list_offerings(guide, judge):
        cells = [meta["figures"][item.finding][key] for meta in (guide, judge) for key in ("cross_fitted", "test")]
        texts = [f"{c['value']:.2f} ({c['low']:.2f}-{c['high']:.2f})" if c else "too few" for c in cells]
        print(f"{item.finding:20} {' '.join(f'{text:>18}' for text in texts)}  {'yes' if item.offered else 'no'}")
    return {"guide": guide["figures"], "judge": judge["figures"]}


def _told(measure: dict[str, Any]) -> str:
    if measure["value"] is None:
        return f"not measured: {measure['reason']}"
    told = f"{measure['value']:.4f} ({measure['low']:.4f} to {measure['high']:.4f})"
    if "ceiling" in measure:
        return f"{told}, training films {measure['ceiling']['value']:.4f}"
    return f"{told}, floor {measure['floor']['value']:.4f}"


if __name__ == "__main__":
    sys.exit(main())
