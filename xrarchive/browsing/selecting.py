"""Which images of an archive a page holds: all, those a condition holds for, or as many as fit, evenly over labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.archive.conditions import fitting_ids
from xrarchive.archive.content import read_shard
from xrarchive.archive.manifest import Manifest
from xrarchive.archive.schema import DATA, PROVENANCE
from xrarchive.archive.source import Source
from xrarchive.bootstrap import make_rng
from xrarchive.errors import InputDataError

# Pictures of a page, before base64 makes them a third longer: a page of 85 MB opens in about a second.
PAGE_BYTES = 64_000_000
_FIX = "Find out more with `xrarchive check --read-data`."

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """What a page is to hold.

    Attributes:
        rows: int64 [n], ascending row numbers of the archive.
        fitting: Images the condition holds for; all, if there is none.
    """

    rows: Rows
    fitting: int


def select_rows(source: Source, *, where: str | None, images: int | None, seed: int) -> Selection:
    """The rows of a page; the same arguments give the same rows.

    Args:
        source: The archive; with a condition, its provenance is read too.
        where: A condition as in `xrarchive.archive.conditions`; None = all images.
        images: At most so many; None = as many as are about `PAGE_BYTES` of pictures.
        seed: Of the draw, if not all fit.

    Raises:
        ValueError: If `images` is less than 1.
        InputDataError: If the condition cannot be read or holds for no image.
        DamageError: If a shard is missing or unreadable.
    """
    limit = fitting_count(source.manifest) if images is None else images
    if limit < 1:
        raise ValueError(f"images must be at least 1, got {images}")
    labels, fits = [], []
    for name in source.manifest.shards(DATA):
        table = read_shard(source.open_shard(name), ["image_id", "label"], fix=_FIX)
        labels.append(table["label"].to_numpy())
        fits.append(_fits(source, name, table["image_id"].to_pylist(), where))
    rows = np.flatnonzero(np.concatenate(fits))
    if not len(rows):
        raise InputDataError(f"No image of {source.name} fits {where!r}.", fix="Look at `xrarchive show`.")
    return Selection(draw_evenly(np.concatenate(labels), rows, limit, seed), len(rows))


def _fits(source: Source, name: str, ids: list[str], where: str | None) -> npt.NDArray[np.bool_]:
    if where is None:
        return np.ones(len(ids), bool)
    twin = source.open_shard(f"{PROVENANCE}/{name.partition('/')[2]}")
    found = set(fitting_ids(source.open_shard(name), twin, source.manifest, where))
    return np.array([image_id in found for image_id in ids], bool)


def fitting_count(manifest: Manifest) -> int:
    """How many images of an archive are about `PAGE_BYTES`, by the mean size of its rows."""
    held = sum(manifest.files[name].bytes for name in manifest.shards(DATA))
    return max(1, PAGE_BYTES * manifest.rows // max(1, held))


def draw_evenly(labels: Rows, rows: Rows, limit: int, seed: int) -> Rows:
    """At most `limit` of some rows, ascending: as many of each label as there are, and no label more than one ahead.

    Args:
        labels: int [N] of all rows.
        rows: int64 [n] of those to draw from.
        limit: At least 1.
        seed: Same seed, same draw.
    """
    if len(rows) <= limit:
        return rows
    shuffled = make_rng(seed, "browse").permutation(rows)
    turn = np.empty(len(shuffled), np.int64)  # the how-manieth of its label each one is
    for label in np.unique(labels[shuffled]):
        own = np.flatnonzero(labels[shuffled] == label)
        turn[own] = np.arange(len(own))
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:limit]])
