#!/usr/bin/env python
"""The privacy search against scikit-learn's brute force: the same images, the same films, the same two neighbours.

    .venv/bin/python scripts/bench_validate_privacy.py [--quick]

20,000 images of the bundled generator against 10,000 radiographs of a set, in pixels and in the judge's features. Both
are given the same number of threads. Prints seconds by the clock and of the processors, the ratio of the latter (which
other work on the machine disturbs less), whether the neighbours agree, and peak memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from xrarchive.bundled import bundled_weights
from xrarchive.classifier.classifier import load_classifier
from xrarchive.gan.sampling import generate
from xrarchive.gan.snapshots import load_snapshot
from xrarchive.latents import draw_latent
from xrarchive.radiographs import open_set
from xrarchive.validation.privacy import BLOCK_BYTES, FeatureRows, nearest_neighbours

IMAGES, FILMS, NEIGHBOURS = 20_000, 10_000, 2
BAR = 3.0


@dataclass(frozen=True)
class Result:
    """Seconds of both, and what else there is to know of one space."""

    space: str
    dimensions: int
    ours_s: float
    theirs_s: float
    ours_cpu_s: float
    theirs_cpu_s: float
    agreeing: float
    peak_bytes: int

    @property
    def ratio(self) -> float:
        """Their processor time over ours."""
        return self.theirs_cpu_s / self.ours_cpu_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True, help="radiograph set of 64 px, such as an ingested mednist")
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    arguments = parser.parse_args()
    results = bench_search(arguments.set, images=IMAGES // 10 if arguments.quick else IMAGES)
    print("| space | dimensions | ours, s (CPU) | scikit-learn, s (CPU) | ratio | same neighbours | peak, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for found in results:
        seconds = f"{found.ours_s:.1f} ({found.ours_cpu_s:.1f}) | {found.theirs_s:.1f} ({found.theirs_cpu_s:.1f})"
        rest = f"{found.ratio:.1f} | {found.agreeing:.2%} | {found.peak_bytes / 1e6:.0f}"
        print(f"| {found.space} | {found.dimensions} | {seconds} | {rest} |")
    print(f"threads: OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}; block: {BLOCK_BYTES / 1e6:.0f} MB")
    return 0 if all(found.ratio >= BAR for found in results) else 1


def bench_search(set_dir: Path, *, images: int = IMAGES) -> list[Result]:
    """Both searches in both spaces; `images` of the bundled generator against all films of the set, 10,000 at most."""
    made = make_images(images)
    films = np.asarray(open_set(set_dir).pixels[:FILMS])
    judge = load_classifier(bundled_weights("judge"), role="judge")
    return [
        _bench("pixels", made.reshape(len(made), -1).astype(np.float32), films.reshape(len(films), -1)),
        _bench("judge", judge.features(made), judge.features(films)),
    ]


def make_images(count: int, *, seed: int = 0) -> np.ndarray:
    """uint8 [N, 64, 64] of the bundled generator."""
    generator = load_snapshot(bundled_weights("generator")).generator
    latents = torch.stack([draw_latent(seed, number, generator.settings.latent_size) for number in range(count)])
    return generate(generator, latents, dtype=torch.bfloat16)


def _bench(space: str, images: np.ndarray, films: np.ndarray) -> Result:
    queries, gallery = images.astype(np.float32), films.astype(np.float32)
    ours, ours_s, ours_cpu_s = _timed(
        lambda: nearest_neighbours(FeatureRows(queries), FeatureRows(gallery), NEIGHBOURS).index
    )
    theirs, theirs_s, theirs_cpu_s = _timed(
        lambda: NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(gallery).kneighbors(queries)[1]
    )
    tracemalloc.start()
    nearest_neighbours(FeatureRows(queries[:2000]), FeatureRows(gallery), NEIGHBOURS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    same = float(np.mean(ours == theirs))
    return Result(space, queries.shape[1], ours_s, theirs_s, ours_cpu_s, theirs_cpu_s, same, peak)


def _timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float, float]:
    """What comes out, seconds by the clock, and of the processors."""
    clock, processors = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - clock, time.process_time() - processors


if __name__ == "__main__":
    sys.exit(main())
