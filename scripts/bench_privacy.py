#!/usr/bin/env python
"""Does the privacy audit find what it says it finds? Planted copies of real films, and the bundled generator's images.

    .venv/bin/python scripts/bench_privacy.py --films SET --patients SET

1. 300 training films copied in each of six ways, among 3,000 images of the generator: which are found, and which of the
   held-out real films are taken for copies, by a threshold set on the other half of them.
2. The re-identification network, trained on the labelled set: what it recognises on patients it never saw.
3. Both attacks on the generator's weights.
4. The audit of the 3,000 images. A strip of the nearest pairs is written where --strip says; it shows real films.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_validate_privacy import make_images

from xrarchive.bundled import bundled_weights
from xrarchive.gan.memory import critic_scores
from xrarchive.gan.snapshots import load_discriminator, load_snapshot
from xrarchive.gan.training import TRAINING_SPLITS
from xrarchive.membership import FILMS, inversion_scores
from xrarchive.radiographs import RadiographSet, open_set
from xrarchive.reidentification import MEASURED_SPLITS, Reidentifier, pair_distances, train_reidentifier
from xrarchive.statistics import auroc
from xrarchive.validation.privacy import (
    COPIES,
    Attack,
    Recognition,
    Space,
    films_of,
    measure_privacy,
    mirrored_films,
    nearest_neighbours,
    plant,
    shifted_films,
)
from xrarchive.validation.privacy.flags import COPY_DISTANCE, flagging_distance

PLANTED, IMAGES = 300, 3000
RECALL_EXACT, RECALL, FALSE_POSITIVES = 0.99, 0.95, 0.01


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, required=True, help="set the generator was trained on, with a holdout")
    parser.add_argument("--patients", type=Path, required=True, help="set with patients of several films")
    parser.add_argument("--cache", type=Path, help="folder for the re-identification network")
    parser.add_argument("--strip", type=Path, help="PNG of the nearest pairs, for your eyes only")
    parser.add_argument("--only-copies", action="store_true", help="part 1 alone")
    arguments = parser.parse_args()
    films = open_set(arguments.films)
    found = bench_copies(films)
    print("| copies | found | planted |\n|---|---:|---:|")
    for kind, recall in found["recall"].items():
        print(f"| {kind} | {recall:.3f} | {PLANTED} |")
    for kind in ("held-out real films", "generated images"):
        print(f"| {kind} | {found[kind]:.4f} | of {found['n'][kind]} |")
    print(f"threshold {found['threshold']:.3f}", flush=True)
    passed = (
        found["recall"]["exact"] >= RECALL_EXACT
        and min(found["recall"].values()) >= RECALL
        and found["held-out real films"] <= FALSE_POSITIVES
    )
    if not arguments.only_copies:
        audit(films, open_set(arguments.patients), arguments.cache, arguments.strip)
    return 0 if passed else 1


def bench_copies(films: RadiographSet, *, planted: int = PLANTED, images: int = IMAGES) -> dict[str, Any]:
    """Shares found of each kind of copy, of held-out films and of generated images."""
    rng = np.random.default_rng(0)
    training = np.asarray(films.pixels[films.rows(*TRAINING_SPLITS)])
    held_out = rng.permutation(films.unseen_rows("holdout", seen=TRAINING_SPLITS))
    gallery = mirrored_films(training)
    sides = {
        "held-out real films": np.asarray(films.pixels[np.sort(held_out)])[rng.permutation(len(held_out))],
        "generated images": make_images(images),
        **{kind: plant(training[rng.choice(len(training), planted, replace=False)], kind) for kind in COPIES},
    }
    distances = {
        name: nearest_neighbours(shifted_films(side), gallery, 1).distance[:, 0] for name, side in sides.items()
    }
    # The threshold comes from one half of the held-out films, false positives from the other.
    half = len(held_out) // 2
    bound = min(COPY_DISTANCE, flagging_distance(distances["held-out real films"][:half]))
    distances["held-out real films"] = distances["held-out real films"][half:]
    flagged = {name: float(np.mean((values < bound) | (values == 0))) for name, values in distances.items()}
    counts = {name: len(values) for name, values in distances.items()}
    return {"threshold": bound, "recall": {kind: flagged.pop(kind) for kind in COPIES}, **flagged, "n": counts}


def audit(films: RadiographSet, patients: RadiographSet, cache: Path | None, strip: Path | None) -> None:
    """Parts 2 to 4, printed."""
    started = time.process_time()
    network = train_reidentifier(patients, cache=cache)
    print(f"re-identification network: {time.process_time() - started:.0f} CPU seconds", flush=True)
    print(f"  AUROC of pairs of one held-out patient against pairs of two: {pair_auroc(network, patients):.3f}")
    training, holdout = films.rows(*TRAINING_SPLITS), films.rows("holdout")
    images = make_images(IMAGES)
    started = time.process_time()
    report = measure_privacy(
        [f"image{number:05d}" for number in range(len(images))],
        images,
        films_of(films, training),
        films_of(films, holdout),
        recognition=recognition_of(network, images, films, training, holdout, patients),
        attacks=attacks_on(films),
        strip=strip,
    )
    print(f"audit: {time.process_time() - started:.0f} CPU seconds")
    report.pop("histograms")
    print(json.dumps(report, indent=1))


def pair_auroc(network: Reidentifier, patients: RadiographSet) -> float:
    """How well pairs of one patient are told from pairs of two, among films of held-out patients."""
    rows = patients.rows(*MEASURED_SPLITS)
    vectors = network.embed(patients.read(rows, patients.size_px))
    first, second = np.triu_indices(len(rows), 1)
    same = patients.patients[rows][first] == patients.patients[rows][second]
    return auroc((vectors @ vectors.T)[first, second], same)


def recognition_of(
    network: Reidentifier,
    images: np.ndarray,
    films: RadiographSet,
    training: np.ndarray,
    holdout: np.ndarray,
    patients: RadiographSet,
) -> Recognition:
    """Embeddings of all sides, distances of pairs of held-out patients, and of planted copies."""
    there = films.read(training, films.size_px)
    space = Space(network.embed(images), network.embed(there), network.embed(films.read(holdout, films.size_px)))
    chosen = np.sort(np.random.default_rng(0).choice(len(there), PLANTED, replace=False))
    copies = {
        kind: np.linalg.norm(
            network.embed(plant(there[chosen], kind)).astype(np.float64) - space.training[chosen], axis=1
        )
        for kind in COPIES
    }
    return Recognition(space, *pair_distances(network, patients), copies)


def attacks_on(films: RadiographSet) -> dict[str, Attack]:
    """Both attacks on the bundled generator; held-out films were drawn from the unlabelled ones, so are the members."""
    path, rng = bundled_weights("generator"), np.random.default_rng(0)
    generator, critic = load_snapshot(path).generator, load_discriminator(path)
    members = films.read(rng.permutation(films.rows("unlabelled"))[:2000], films.size_px)
    others = films.read(rng.permutation(films.unseen_rows("holdout", seen=TRAINING_SPLITS)), films.size_px)
    attacks = {"inversion": [inversion_scores(generator, side[:FILMS]) for side in (members, others)]}
    if critic is not None:
        attacks["critic"] = [critic_scores(critic, side) for side in (members, others)]
    return {name: Attack(*scores, note=f"AUROC of the {name}.") for name, scores in attacks.items()}


if __name__ == "__main__":
    sys.exit(main())
