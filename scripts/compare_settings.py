#!/usr/bin/env python3
"""Train one generator for each of some settings on equal time and compare their KID: how `balanced` was chosen.

    scripts/compare_settings.py --minutes 8 "" loss=wgan-gp batch=16 "learning_rate=3e-3 batch=64"

Each argument is one candidate: settings as `--set` takes them, joined by blanks; "" is the default as it stands. Each
trains on the `mednist` films from scratch until its time is over, with growth planned for the images it can show in
it. KID: ImageNet features, 2,000 images of the averaged generator against held-out films, with its 95 % interval.

What decided the defaults up to 32 px (2026-11-23, one core of an x86_64 with AVX512-BF16, 6 minutes each, one seed):

    batch=32 learning_rate=1.5e-3                        KID 0.603 (0.576 to 0.626)  44,608 images
    batch=32 learning_rate=1.5e-3 averaging_share=0      KID 1.816 (1.780 to 1.846)  61,088 images, 7 minutes
    batch=32 learning_rate=1.5e-3 loss=wgan-gp           KID 0.832 (0.806 to 0.858)  35,456 images
    batch=16 learning_rate=1.5e-3                        KID 0.403 (0.382 to 0.421)  42,752 images
    batch=16 learning_rate=3e-3                          KID 0.222 (0.207 to 0.236)  37,248 images
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
import time
from pathlib import Path

import torch

from xrarchive.gan.devices import Devices, computes_bfloat16
from xrarchive.gan.draws import fixed_latents
from xrarchive.gan.loading import load_batch
from xrarchive.gan.realism import Kid, kid_to_radiographs, reference_features
from xrarchive.gan.sampling import generate
from xrarchive.gan.schedule import stages
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import load_snapshot
from xrarchive.gan.state import new_state
from xrarchive.gan.step import train_step
from xrarchive.gan.training import TRAINING_SPLITS, Watch, keep_heap, train_generator
from xrarchive.radiographs import RadiographSet, ingest, open_set
from xrarchive.tables import check_table, parse_assignment

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGES = 2_000
_TIMED_STEPS = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("XRARCHIVE_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("candidates", nargs="+")
    parser.add_argument("--data", type=Path, default=data, help="folder with mednist [default: %(default)s]")
    parser.add_argument("--work", type=Path, default=Path("runs/compare"), help="runs [default: %(default)s]")
    parser.add_argument("--minutes", type=float, default=20.0, help="training time of each [default: %(default)s]")
    parser.add_argument("--nimg", type=int, help="images shown by each, instead of equal time [default: by --minutes]")
    parser.add_argument("--resolution", type=int, default=32, help="px [default: %(default)s]")
    arguments = parser.parse_args()

    folder = arguments.work / f"mednist{arguments.resolution}"
    ingest(arguments.data / "mednist", folder, size_px=arguments.resolution)
    films = open_set(folder)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    for candidate in arguments.candidates:
        values = dict(parse_assignment(item) for item in candidate.split())
        changes = check_table(GeneratorSettings, values, "candidate")
        settings = GeneratorSettings(**{"resolution": arguments.resolution, **changes})  # type: ignore[arg-type]
        nimg = arguments.nimg or images_in(films, settings, arguments.minutes * 60)
        settings = dataclasses.replace(settings, nimg=nimg)
        out = arguments.work / (candidate.replace(" ", ",") or "balanced")
        kid, nimg, seconds = train_and_measure(films, out, settings)
        print(
            f"{candidate or 'balanced':40} KID {kid.value:.3f} ({kid.low:.3f} to {kid.high:.3f})  "
            f"{nimg:,} images in {seconds / 60:.1f} min",
            flush=True,
        )
    return 0


def train_and_measure(films: RadiographSet, out: Path, settings: GeneratorSettings) -> tuple[Kid, int, float]:
    """Train; KID of the result, images shown, and the seconds it took."""
    keep_heap()
    started_s = time.monotonic()
    report = train_generator(films, out, settings=settings, watch=Watch(metric_nimg=0))
    taken_s = time.monotonic() - started_s
    reference = reference_features(films, out, px=settings.resolution, seen=TRAINING_SPLITS)
    assert reference is not None, "mednist has held-out films"
    generator = load_snapshot(report.snapshot).generator
    images = generate(generator, fixed_latents(settings, IMAGES))
    return kid_to_radiographs(images, reference.features, patients=reference.patients), report.nimg, taken_s


def images_in(films: RadiographSet, settings: GeneratorSettings, seconds: float) -> int:
    """How many images a training can show in `seconds`, by the measured time of a step at each stage."""
    seconds_per_image = {stage.px: _time_image(films, settings, stage.px, stage.batch) for stage in stages(settings)}
    low, high = settings.batch_at(0), 10_000_000
    while high - low > 1_000:
        middle = (low + high) // 2
        plan = stages(dataclasses.replace(settings, nimg=middle, growth_nimg=0))
        needed_s = sum((stage.end_nimg - stage.start_nimg) * seconds_per_image[stage.px] for stage in plan)
        low, high = (middle, high) if needed_s < seconds else (low, middle)
    return low


def _time_image(films: RadiographSet, settings: GeneratorSettings, px: int, batch: int) -> float:
    """Seconds per image of a step at `px`, fading in, after a warm-up."""
    state = new_state(settings)
    dtype = torch.bfloat16 if computes_bfloat16(torch.device("cpu")) else torch.float32
    rows = films.rows(*TRAINING_SPLITS)[:batch]
    started_s = 0.0
    for step in range(2 + _TIMED_STEPS):
        if step == 2:
            started_s = time.monotonic()
        real = load_batch(films, rows, px, 0.75, settings)
        train_step(state, settings, real, batch=batch, alpha=0.75, devices=Devices(dtype=dtype))
    return (time.monotonic() - started_s) / (_TIMED_STEPS * batch)


if __name__ == "__main__":
    sys.exit(main())
