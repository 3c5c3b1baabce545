"""What latent class optimisation is worth: speed, labels, diversity, use. Prints tables, then one JSON object.

    .venv/bin/python scripts/bench_latents.py                       # all of it, about 80 minutes on two cores
    .venv/bin/python scripts/bench_latents.py --quick               # under 20 minutes: fewer tasks, one fold, one seed
    .venv/bin/python scripts/bench_latents.py --only speed,labels

1. Speed: accepted images per CPU-second beside rejection sampling and the plain loop, at three strictnesses.
2. Labels: what the judge, which steered nothing, sees in an archive, beside real films that the guide accepts.
3. Diversity: coverage of each finding's real films beside rejection sampling, duplicates, MS-SSIM.
4. Use: classifiers trained on the images and tested on real films, with controls.

Each part is kept in --work under a key of weights, settings and sources: an interrupted bench goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from bench_latents_labels import build_archive, draw_images, measure_diversity, measure_labels
from bench_latents_speed import make_tasks, pool_outputs, time_task
from bench_latents_utility import measure_utility

from xrarchive.bundled import weights_path
from xrarchive.classifier.offering import list_offerings
from xrarchive.files import sha256_file, write_json
from xrarchive.gan.devices import computes_bfloat16
from xrarchive.plan import SearchSettings
from xrarchive.radiographs import RadiographSet, ingest, open_set
from xrarchive.synthesis import Studio, open_studio
from xrarchive.validation.scored import Scored

REPOSITORY = Path(__file__).resolve().parent.parent
PARTS = ("speed", "labels", "diversity", "utility")
ROLES = ("generator", "guide", "judge")
# Common, strong, rare; and two pairs. Every finding times every strictness would take the plain loop hours.
TASKS = (("Effusion",), ("Edema",), ("Emphysema",), ("Effusion", "Edema"), ("Infiltration", "Consolidation"))
QUICK_TASKS = (("Effusion",), ("Effusion", "Edema"))


def main() -> int:
    arguments = parse()
    torch.set_num_threads(1)
    quick = arguments.quick
    weights = {role: weights_path(role, getattr(arguments, role)) for role in ROLES}
    studio = open_studio(*weights.values())
    offered = [item.finding for item in list_offerings(studio.guide.meta, studio.judge.meta) if item.offered]
    findings = arguments.findings.split(",") if arguments.findings else offered
    unlabelled, labelled = prepare(arguments.data, arguments.work)
    dtype = "bfloat16" if computes_bfloat16(torch.device("cpu")) else "float32"
    search = SearchSettings(dtype=dtype)
    kept = Kept(arguments.work, weights, quick)
    result: dict[str, Any] = {}
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "speed": lambda: speed(studio, quick, search),
        "labels": lambda: labels(studio, weights, findings, unlabelled, labelled, arguments),
        "diversity": lambda: diversity(studio, weights, findings, labelled, arguments),
        "utility": lambda: measure_utility(
            data=arguments.data,
            work=arguments.work / "utility",
            generator=weights["generator"],
            findings=findings,
            folds=range(1) if quick else range(5),
            seeds=1 if quick else 3,
            workers=arguments.workers,
        ),
    }
    for part in arguments.only.split(","):
        started = time.perf_counter()
        print(f"\n{part}", flush=True)
        result[part] = kept.part(part, makers[part])
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)
    print(json.dumps(summary(result) | result | machine()))
    return 0


class Kept:
    """Finished parts, kept on disk under a key of what decides them."""

    def __init__(self, work: Path, weights: Mapping[str, Path], quick: bool) -> None:
        sources = [*REPOSITORY.glob("scripts/bench_latents*.py"), *(REPOSITORY / "xrarchive").glob("**/*.py")]
        parts = [repr(quick), *(sha256_file(path) for path in (*sorted(sources), *weights.values()))]
        self.work, self.key = work, hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]

    def part(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A part's result, made now if it is not there."""
        path = self.work / f"{name}-{self.key}.json"
        if not path.exists():
            write_json(path, make())
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def speed(studio: Studio, quick: bool, search: SearchSettings) -> dict[str, Any]:
    """Ratios of the search to its rivals at every strictness, single findings and pairs."""
    outputs = pool_outputs(studio, 5_000 if quick else 20_000)
    tasks = []
    for task in make_tasks(studio, outputs, QUICK_TASKS if quick else TASKS):
        found = time_task(studio, task, images=128 if quick else 256, repeats=3 if quick else 5, search=search)
        tasks.append(found)
        print(
            f"  {100 * task.share:4.1f} % {' + '.join(task.findings):30} ours {found['ours']:6.1f}/s, rejection "
            f"{found['rejection']:6.2f}/s ({found['ratio_rejection']:.1f}x), plain {found['plain']:5.2f}/s "
            f"({found['plain_accepted']} of 100 accepted)",
            flush=True,
        )
    return {"tasks": tasks}


def labels(
    studio: Studio,
    weights: Mapping[str, Path],
    findings: Sequence[str],
    unlabelled: RadiographSet,
    labelled: RadiographSet,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """What the judge sees in an archive, and in one that is matched by view."""
    per_class, draws = sizes(studio, weights, arguments)
    found = {}
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        for name, count, match in (("findings", per_class, ()), ("matched by view", per_class // 3, ("view",))):
            print(f"  {name}: {count} images of each", flush=True)
            archive = build_archive(studio, Path(work) / name, weights, findings, count, match=match)
            found[name] = measure_labels(studio, archive, draws, (unlabelled, labelled))
    return found


def diversity(
    studio: Studio,
    weights: Mapping[str, Path],
    findings: Sequence[str],
    labelled: RadiographSet,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """How varied an archive is beside what rejection sampling gives."""
    per_class, draws = sizes(studio, weights, arguments)
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        archive = build_archive(studio, Path(work) / "archive", weights, findings, per_class)
        return measure_diversity(studio, archive, draws, labelled)


def sizes(studio: Studio, weights: Mapping[str, Path], arguments: argparse.Namespace) -> tuple[int, Scored]:
    """Images of each finding, and the random draws beside them."""
    per_class, draws = (150, 4_000) if arguments.quick else (600, 12_000)
    return per_class, draw_images(studio, weights["generator"], draws)


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The figures the bars are set on."""
    found: dict[str, Any] = {}
    if "speed" in result:
        tasks = result["speed"]["tasks"]
        found["ratio_plain_total"] = sum(100 / t["plain"] for t in tasks) / sum(100 / t["ours"] for t in tasks)
        for share, name in ((0.1, "10pct"), (0.01, "1pct"), (0.001, "01pct")):
            found[f"ratio_rejection_{name}"] = min(t["ratio_rejection"] for t in tasks if t["pass_share"] == share)
    if "labels" in result:
        labels = result["labels"]["findings"].values()
        found["transfer_min_lower"] = min(item["transfer"]["low"] for item in labels)
        found["exaggeration_excess_max"] = max(item["exaggeration"]["excess"]["value"] for item in labels)
        matched = result["labels"]["matched by view"].values()
        found["view_auroc_matched_max_upper"] = max(item["view"]["high"] for item in matched)
    if "diversity" in result:
        ratios = result["diversity"]["coverage_ratio"].values()
        found["coverage_ratio_lower"] = min(ratio["ours over rejection"]["low"] for ratio in ratios)
    if "utility" in result:
        found["excess_retention"] = result["utility"]["excess_retention"]["value"]
        found["excess_retention_lower"] = result["utility"]["excess_retention"]["low"]
    print("\n" + "\n".join(f"{name:32} {value:.3f}" for name, value in found.items()))
    return found


def prepare(data: Path, work: Path) -> tuple[RadiographSet, RadiographSet]:
    """The films without and with labels, as radiograph sets of 64 px."""
    for name in ("mednist", "nih64"):
        if not (work / name / "set.json").exists():
            shutil.rmtree(work / name, ignore_errors=True)
            ingest(data / name, work / name, size_px=64)
    return open_set(work / "mednist"), open_set(work / "nih64")


def machine() -> dict[str, Any]:
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, {torch.backends.cpu.get_cpu_capability()}",
        "versions": {name: metadata.version(name) for name in ("torch", "numpy", "pillow", "pyarrow")},
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("XRARCHIVE_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with mednist and nih64 [default: %(default)s]")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-latents"), help="[default: %(default)s]")
    for role in ROLES:
        parser.add_argument(f"--{role}", type=Path, help="weight file or run folder [default: bundled]")
    parser.add_argument("--findings", help="joined by commas [default: all the weights offer]")
    parser.add_argument("--only", default=",".join(PARTS), help="some of the parts [default: %(default)s]")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes [default: %(default)s]")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
