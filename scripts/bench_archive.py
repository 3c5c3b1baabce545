"""What archives take: packing, reading, their life at length, and what a new version sends. Then one JSON object.

    .venv/bin/python scripts/bench_archive.py            # about 5 minutes on two cores, 3 GB below --work
    .venv/bin/python scripts/bench_archive.py --quick    # fewer and smaller, to try the bench out

1. Packing 5,000 grey images of 128 px that are in memory, against `datasets`: from a generator, and by ImageFolder.
2. `load_dataset` of the archive against that of the file `datasets` itself wrote: first call, iteration, streaming.
3. 15,000 and 150,000 rows at 64 px: pack, check, extend by 10 %, withdraw 1 %, compare. Each in a process of its own.
4. `check --read-data` against sha256 in one thread over the same bytes.
5. Bytes that hf_xet sends of an extended archive and of some with withdrawals, to a store that holds the first version.

Both sides take turns, and ratios are medians over turns; 1 or more means that ours is no slower. Loading is measured in
seconds of the processor. Shares of bytes sent are of the new version's own. Memory is the most a process held, imports
included. Films come from --data where it is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench_archive_life import copy_archive, measure_check, measure_life, to_withdraw
from bench_archive_packing import FILMS, load_films, measure_loading, measure_packing, quiet_datasets
from bench_archive_xet import measure_resent

from xrarchive.archive.changing import withdraw
from xrarchive.pixels import Pixels

REPOSITORY = Path(__file__).resolve().parent.parent
Json = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        packed: Images packed and loaded.
        repeats: Turns of everything that is repeated.
        small: Rows of the smaller archive at 64 px.
        large: Rows of the larger one.
    """

    packed: int
    repeats: int
    small: int
    large: int


QUICK, FULL = Sizes(1_500, 2, 3_000, 15_000), Sizes(5_010, 5, 15_000, 150_000)


def main() -> int:
    arguments = parse()
    sizes = QUICK if arguments.quick else FULL
    os.environ["HF_HUB_OFFLINE"] = "1"  # before `datasets` is imported
    arguments.work.mkdir(parents=True, exist_ok=True)
    films, kind = load_films(arguments.data, sizes.packed, arguments.films)
    print(f"{sizes.packed:,} images: {kind}", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        result = {"films": kind, **measure(Path(work), films, sizes, arguments.only.split(","))}
    versions = {name: metadata.version(name) for name in ("datasets", "hf-xet", "numpy", "pillow", "pyarrow")}
    machine = f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end"
    print(machine)
    print(json.dumps({**result, "machine": machine, "versions": versions}))
    return 0


def measure(work: Path, films: Pixels, sizes: Sizes, parts: Sequence[str]) -> Json:
    """Packing and loading, and the life at length with check, memory and bytes sent."""
    result: Json = {}
    if "packing" in parts:
        with quiet_datasets():
            result |= measure_packing(work, films, sizes.repeats)
            result |= measure_loading(work, films, sizes.repeats)
        result["resent_films"] = resent_of_films(work, work / "loading")
    if "life" not in parts:
        return result
    small, large = (measure_life(work / str(rows), rows) for rows in (sizes.small, sizes.large))
    base = work / str(sizes.large)
    result |= measure_check(base / "base", sizes.repeats) | memory(small, large)
    result["life"] = {"small": small, "large": large}
    versions = {name: base / name for name in ("extended", "one_shard", "scattered")}
    resent = measure_resent(work, versions, base / "base")
    return result | {
        "resent_extend": resent["extended"]["share"],
        "resent_withdraw_one_shard": resent["one_shard"]["share"],
        "resent_withdraw_scattered": resent["scattered"]["share"],
        "resent": resent,
    }


def resent_of_films(work: Path, archive: Path) -> Json:
    """What is sent again of the archive of films when 1 % of its rows leave, all over."""
    scattered = copy_archive(archive, work / "films-scattered")
    withdraw(scattered, ids=to_withdraw(scattered, scattered=True), reason="bench", date="2026-01-01")
    found: Json = measure_resent(work, {"films_scattered": scattered}, archive)["films_scattered"]
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller")
    data = Path(os.environ.get("XRARCHIVE_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument(
        "--data", type=Path, default=data, help="folder with nih256 or mednist [default: XRARCHIVE_DATA]"
    )
    parser.add_argument("--films", choices=FILMS, help="what is packed [default: the first that is there]")
    parser.add_argument("--only", default="packing,life", help="parts 1 and 2, parts 3 to 5 [default: %(default)s]")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-archive"), help="[default: %(default)s]")
    return parser.parse_args()


def memory(small: Json, large: Json) -> Json:
    """How much more memory the larger archive takes, by step, and the largest of these ratios."""
    by_step = {step: found["peak_bytes"] / small["steps"][step]["peak_bytes"] for step, found in large["steps"].items()}
    print(
        f"memory, {large['rows']:,} over {small['rows']:,} rows: "
        + ", ".join(f"{n} {r:.2f}" for n, r in by_step.items())
    )
    return {"memory_ratio": max(by_step.values()), "memory_ratios": by_step}


if __name__ == "__main__":
    sys.exit(main())
