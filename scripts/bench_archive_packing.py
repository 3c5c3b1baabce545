"""Packing images that are in memory, and reading the files, beside `datasets`; a part of bench_archive.py.

Ours is `to_tables` and `write_shard`: both configs, provenance and hashes of the pixels included. The peers are given
the columns of the default config alone, hashes made beforehand, and images that Pillow encodes as it does by default.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_archive_life import make_archive, make_plan, make_records, smooth_fields
from PIL import Image

from xrarchive.archive.schema import (
    DATA,
    GUIDE_PREFIX,
    JUDGE_PREFIX,
    features_of,
    hash_pixels,
    to_tables,
    write_shard,
)
from xrarchive.findings import NIH_VOCABULARY
from xrarchive.pixels import Pixels, fit_square, to_grey
from xrarchive.records import SyntheticImage

PX = 128
# In order of preference; `fields` are random and always there.
FILMS = ("nih256", "mednist", "fields")
# Corners and side of the squares that are cut out of films of 256 px.
_NIH_LEFT, _NIH_TOP, _NIH_PX = (0, 16, 32), (0, 32), 224
# Noise of a detector in grey values.
_NOISE = 2.0
Json = dict[str, Any]

# What the generator handed to `datasets` yields. A global, since `datasets` pickles what a closure holds.
_peer_rows: list[Json] = []


def load_films(data: Path, count: int, kind: str | None) -> tuple[Pixels, str]:
    """uint8 [N, 128, 128], and which of `FILMS` they are: what was asked for, or the first that is there."""
    for name in FILMS if kind is None else (kind,):
        if name == "fields":
            return smooth_fields(count, PX, 0), name
        read = _read_nih if name == "nih256" else _read_mednist
        films = list(itertools.islice(read(sorted((data / name / "images").glob("*"))), count))
        if len(films) == count:
            return np.stack(films), name
    raise FileNotFoundError(f"{data / str(kind)} holds fewer than {count} films")


def _read_nih(paths: Sequence[Path]) -> Iterator[Pixels]:
    """Six overlapping squares of each film, halved: radiographs with the noise they have."""
    for left, top in itertools.product(_NIH_LEFT, _NIH_TOP):
        for path in paths:
            with Image.open(path) as image:
                yield fit_square(to_grey(image).crop((left, top, left + _NIH_PX, top + _NIH_PX)), PX, "crop")


def _read_mednist(paths: Sequence[Path]) -> Iterator[Pixels]:
    """Films enlarged from 64 px, with noise, of which enlarging leaves none."""
    rng = np.random.default_rng(0)
    for path in paths:
        with Image.open(path) as image:
            film = fit_square(to_grey(image), PX, "crop").astype(np.float32)
        noise = rng.standard_normal(film.shape, np.float32) * np.float32(_NOISE)
        yield np.clip(np.rint(film + noise), 0, 255).astype(np.uint8)


def measure_packing(work: Path, films: Pixels, repeats: int) -> Json:
    """Rows per second of all ways, taking turns, and the size of the default config."""
    plan = make_plan(len(films))
    planned = [item for index in range(plan.units) for item in plan.unit(index)]
    records = make_records(plan, planned, films)
    _peer_rows[:] = [_peer_row(record) for record in records]
    ways: dict[str, Callable[[Path], Path]] = {
        "ours": lambda folder: _pack_ours(folder, records),
        "from_generator": _pack_generator,
        "imagefolder": _pack_image_folder,
        "from_generator_2_processes": lambda folder: _pack_generator(folder, processes=2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    sizes = {}
    for turn in range(repeats + 1):
        for name, pack in ways.items():
            folder = work / "pack" / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            started = time.perf_counter()
            path = pack(folder)
            if turn:  # the first one imports and warms up
                seconds[name].append(time.perf_counter() - started)
            sizes[name] = path.stat().st_size
    rates = {name: len(films) / statistics.median(values) for name, values in seconds.items()}
    peers = ("from_generator", "imagefolder")
    faster = max(peers, key=rates.__getitem__)
    ratio = statistics.median(their / our for their, our in zip(seconds[faster], seconds["ours"], strict=True))
    size_ratio = sizes["ours"] / min(sizes[peer] for peer in peers)
    for name, rate in rates.items():
        print(f"packing, {name}: {rate:,.0f} rows/s, {sizes[name] / 1e6:,.2f} MB")
    print(f"packing: {ratio:.2f} times {faster}, at {size_ratio:.3f} of the smaller file", flush=True)
    return {
        "pack_ratio": ratio,
        "pack_rows_per_s": rates,
        "pack_size_ratio": size_ratio,
        "pack_bytes": sizes,
        "pack_faster_peer": faster,
    }


def _peer_row(record: SyntheticImage) -> Json:
    return {
        "image": record.pixels,
        "image_id": record.image_id,
        "label": record.findings[0],
        "findings": list(record.findings),
        **{name: True if name in record.findings else None for name in NIH_VOCABULARY},
        **{GUIDE_PREFIX + name: record.guide[name] for name in NIH_VOCABULARY},
        **{JUDGE_PREFIX + name: record.judge[name] for name in NIH_VOCABULARY},
        "soft_label": record.soft_label,
        "synthetic": True,
        "pixels_sha256": hash_pixels(record.pixels),
    }


def _pack_ours(folder: Path, records: Sequence[SyntheticImage]) -> Path:
    for config, table in to_tables(records, NIH_VOCABULARY).items():
        write_shard(folder / f"{config}.parquet", [table], table.schema, image_bytes=PX * PX)
    return folder / f"{DATA}.parquet"


def generate_rows(rows: Sequence[int]) -> Iterator[Json]:
    """What `Dataset.from_generator` is given: Pillow images, which it encodes itself."""
    for row in rows:
        yield {**_peer_rows[row], "image": Image.fromarray(_peer_rows[row]["image"])}


def _pack_generator(folder: Path, *, processes: int | None = None) -> Path:
    from datasets import Dataset

    dataset = Dataset.from_generator(
        generate_rows,
        features=features_of(DATA, NIH_VOCABULARY),
        cache_dir=str(folder / "cache"),
        gen_kwargs={"rows": list(range(len(_peer_rows)))},
        num_proc=processes,
    )
    dataset.to_parquet(folder / "data.parquet")
    return folder / "data.parquet"


def _pack_image_folder(folder: Path) -> Path:
    """Files and `metadata.jsonl` on disk, loaded and written again with the images inside."""
    from datasets import load_dataset
    from datasets.table import embed_table_storage

    images = folder / "images"
    images.mkdir()
    with (images / "metadata.jsonl").open("w", encoding="utf-8") as file:
        for row in _peer_rows:
            name = f"{row['image_id']}.png"
            Image.fromarray(row["image"]).save(images / name)
            file.write(json.dumps({"file_name": name, **row, "image": None}) + "\n")
    dataset = load_dataset(
        "imagefolder",
        data_dir=str(images),
        split="train",
        features=features_of(DATA, NIH_VOCABULARY),
        cache_dir=str(folder / "cache"),
    )
    embedded = dataset.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
    embedded.to_parquet(folder / "data.parquet")
    return folder / "data.parquet"


def measure_loading(work: Path, films: Pixels, repeats: int) -> Json:
    """`load_dataset` of an archive against that of a file `datasets` wrote of the same rows; theirs over ours."""
    archive, plain = work / "loading", work / "loading-theirs"
    for folder in (archive, plain):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    plan, numbered = make_plan(len(films)), iter(films)
    make_archive(archive, plan, lambda _, count: np.stack([next(numbered) for _ in range(count)]), size_px=PX)
    (plain / "data").mkdir()
    shutil.move(_pack_generator(plain), plain / "data" / "train-00000.parquet")
    shutil.rmtree(plain / "cache")
    seconds: dict[str, dict[str, list[float]]] = {}
    for turn in range(repeats + 1):
        sides = {"theirs": plain, "ours": archive}
        for side, folder in sorted(sides.items(), reverse=bool(turn % 2)):
            for name, value in _load_times(folder, work / "loading-cache").items():
                seconds.setdefault(name, {}).setdefault(side, []).extend([value] if turn else [])
    found: Json = {}
    for name, taken in seconds.items():
        ratios = [their / our for their, our in zip(taken["theirs"], taken["ours"], strict=True)]
        found[f"{name}_ratio"] = statistics.median(ratios)
        found[f"{name}_s"] = {side: statistics.median(values) for side, values in taken.items()}
        own, other = found[f"{name}_s"]["ours"], found[f"{name}_s"]["theirs"]
        print(f"load_dataset, {name.replace('_', ' ')}: ours {own:.3f} s, theirs {other:.3f} s", flush=True)
    return found


def _load_times(folder: Path, cache: Path) -> dict[str, float]:
    """Seconds of the processor, which other work beside us does not change."""
    from datasets import load_dataset

    shutil.rmtree(cache, ignore_errors=True)
    started = time.process_time()
    dataset = load_dataset(str(folder), split="train", cache_dir=str(cache))
    loaded = time.process_time()
    for row in dataset:
        row["image"].load()
    iterated = time.process_time()
    for row in load_dataset(str(folder), split="train", streaming=True, cache_dir=str(cache)):
        row["image"].load()
    return {
        "load_first": loaded - started,
        "iterate": iterated - loaded,
        "stream": time.process_time() - iterated,
    }


@contextlib.contextmanager
def quiet_datasets() -> Iterator[None]:
    """`datasets` without its bars and without a network."""
    import datasets

    datasets.disable_progress_bars()
    with contextlib.redirect_stderr(io.StringIO()):
        yield
