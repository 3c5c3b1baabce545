"""Images of an archive as a page's program reads them: pictures as PNG, all else as columns of plain values.

In: a `Source` and the rows to take. Out: blocks of pictures one after another, so that a page of any size is written
in the memory of one row group; and, when the last is out, the columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from xrarchive.archive.content import read_groups, read_shard
from xrarchive.archive.manifest import Manifest, split_of
from xrarchive.archive.schema import DATA, GUIDE_PREFIX, JUDGE_PREFIX, PROVENANCE
from xrarchive.archive.source import Source
from xrarchive.browsing.selecting import Rows
from xrarchive.bundled import bundled_weights
from xrarchive.errors import DamageError
from xrarchive.files import sha256_file
from xrarchive.records import OnStatus, Status

# Scores travel as whole thousandths: as exact as the page shows them, in a third of the bytes.
SCORE_STEPS = 1000
_FIX = "Find out more with `xrarchive check --read-data`."

Columns = dict[str, list[Any]]


def read_images(source: Source, rows: Rows, columns: Columns, on_status: OnStatus) -> Iterator[bytes]:
    """The PNG of every row in `rows`, in archive order; `columns` is filled on the way.

    Args:
        source: The archive.
        rows: int64 [n], ascending row numbers.
        columns: Gets the lists of `describe_images`, one value an image.
        on_status: Told of each shard.

    Raises:
        DamageError: If a shard is missing or unreadable, or its provenance is that of other images.
    """
    start = 0
    names = source.manifest.shards(DATA)
    for done, name in enumerate(names):
        on_status(Status(done, len(names), "shards", name))
        own = rows[(rows >= start) & (rows < start + source.manifest.files[name].rows)] - start
        if len(own):
            yield from _read_shard(source, name, own, columns)
        start += source.manifest.files[name].rows
    on_status(Status(len(names), len(names), "shards", "read"))


def _read_shard(source: Source, name: str, own: Rows, columns: Columns) -> Iterator[bytes]:
    origins_path = source.open_shard(f"{PROVENANCE}/{name.partition('/')[2]}")
    origins = read_shard(origins_path, fix=_FIX)
    start = 0
    for group in read_groups(source.open_shard(name), fix=_FIX):
        within = own[(own >= start) & (own < start + group.num_rows)]
        if len(within):
            images, theirs = group.take(within - start), origins.take(within)
            if images["image_id"].to_pylist() != theirs["image_id"].to_pylist():
                raise DamageError(f"{origins_path} is not about the images of {name}.", fix=_FIX, path=origins_path)
            described = describe_images(images, theirs, source.manifest, split_of(name))
            for key, values in described.items():
                columns.setdefault(key, []).extend(values)
            yield from (value["bytes"] for value in images["image"].to_pylist())
        start += group.num_rows


def describe_images(images: pa.Table, origins: pa.Table, manifest: Manifest, split: str) -> Columns:
    """Rows of both configs as the page's program reads them; see `page/browse.js`.

    Returns:
        Lists of equal length. `asked` holds a character a finding: `+` asked for, `-` its absence asked for, `.`
        nobody asked. `guide`, `judge` and `soft` are thousandths. `latent` is the sha256 of the latent as float32,
        little-endian. Numbers of 64 bits are text, since JavaScript has none.
    """
    count, names = images.num_rows, manifest.findings
    nothing = [None] * count
    return {
        "id": images["image_id"].to_pylist(),
        "label": images["label"].to_pylist(),
        "asked": _asked(images, names),
        "guide": _scores(images, [GUIDE_PREFIX + name for name in names]),
        "judge": _scores(images, [JUDGE_PREFIX + name for name in names]),
        "soft": [row[0] for row in _scores(images, ["soft_label"])],
        "split": [list(manifest.splits).index(split)] * count,
        "build": origins["build"].to_pylist() if "build" in origins.column_names else [0] * count,
        "seed": [str(seed) for seed in origins["seed"].to_pylist()],
        "draw": origins["draw"].to_pylist(),
        "steps": origins["steps"].to_pylist(),
        "travel": _rounded(origins["travel_deg"].to_pylist()),
        "targets": [_rounded(row) for row in origins["targets"].to_pylist()],
        "nuisances": [_rounded(row) for row in origins["nuisances"].to_pylist()],
        "latent": [hash_latent(row) for row in origins["latent"].to_pylist()],
        "pixels": images["pixels_sha256"].to_pylist() if "pixels_sha256" in images.column_names else nothing,
    }


def hash_latent(latent: Sequence[float]) -> str:
    """Hex sha256 of a latent as float32, little-endian: the same image, the same latent."""
    return hashlib.sha256(np.asarray(latent, "<f4").tobytes()).hexdigest()


def _asked(images: pa.Table, names: Sequence[str]) -> list[str]:
    letters = {True: "+", False: "-", None: "."}
    rows = zip(*(images[name].to_pylist() for name in names), strict=True)
    return ["".join(letters[value] for value in row) for row in rows]


def _scores(images: pa.Table, names: Sequence[str]) -> list[list[int | None]]:
    """Thousandths [N][K], None for what is no finite number."""
    values: npt.NDArray[np.float64] = np.stack([images[name].to_numpy().astype(np.float64) for name in names], axis=1)
    return [[round(value * SCORE_STEPS) if np.isfinite(value) else None for value in row] for row in values.tolist()]


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None or not np.isfinite(value) else round(value, 2) for value in values]


def describe_archive(source: Source, name: str) -> dict[str, Any]:
    """What the page says of the whole archive, from its manifest; `name` is what to call it."""
    manifest = source.manifest
    known = {sha256_file(bundled_weights("generator")): "bundled"}
    born = [change.version for change in manifest.history if change.change in ("build", "extend")]
    versions = born if len(born) == len(manifest.builds) else [None] * len(manifest.builds)
    return {
        "name": name,
        "version": manifest.version,
        "manifest": manifest.sha256,
        "rows": manifest.rows,
        "size_px": manifest.size_px,
        "findings": list(manifest.findings),
        "nuisances": list(manifest.nuisances),
        "splits": list(manifest.splits),
        "withdrawn": len(manifest.withdrawn),
        "builds": [
            {
                "version": version,
                "seed": build.seed,
                "generator": build.weights["generator"].sha256,
                "weights": known.get(build.weights["generator"].sha256, "generator.safetensors"),
            }
            for version, build in zip(versions, manifest.builds, strict=True)
        ],
    }
