"""Exact nearest neighbours among many: views of items come in, distances and indices go out.

An item has one row (a feature vector) or several (an image shifted, mirrored); the distance of two items is the
Euclidean one of their nearest rows. Nothing is approximate: every row is first held against all others in a few
dimensions, where a distance can only be smaller, one matrix product a block; only what that leaves open is measured in
full, in float64. Blocks bound memory and change no result.

Why: 20,000 images shifted in 81 ways against 10,000 films and their mirror images are 10^14 multiplications in full.
The 128 directions in which radiographs vary most hold 97 % of what they vary by, and leave one film in a hundred open.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xrarchive.records import OnStatus, Status, ignore_status

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Memory of a search, beside the images themselves.
BLOCK_BYTES = 64_000_000

# Directions of the first look. 64 leave twice as many films open, 256 cost twice as much; rows of few dimensions get a
# quarter of them.
_SKETCH = 128
_SKETCH_SHARE = 4
_SAMPLE = 1024
# Above this share of open pairs the few directions have not helped, and it is faster to look at the block in full:
# pairs of views are measured by products, four times as slow as the look; pairs of rows one by one, 50 times as slow.
_HOPELESS_VIEWS = 0.2
_HOPELESS_ROWS = 0.02
# What float32 may be off in a squared distance, as a share of the largest squared norm.
_ROUNDING = 2e-5


class Views(Protocol):
    """Items, each with `each` rows of one space."""

    @property
    def each(self) -> int:
        """Rows of an item."""
        ...

    def __len__(self) -> int:
        """Number of items."""
        ...

    def rows(self, items: Indices) -> Rows:
        """float32 [n * each, D], item by item; the same row whatever else is asked for."""
        ...


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Items of one row each: float [N, D], finite."""

    values: npt.NDArray[np.floating]
    each: int = 1

    def __post_init__(self) -> None:
        """Refuse what has no distance."""
        if self.values.ndim != 2:
            raise ValueError(f"features must be [N, D], got {self.values.shape}")
        if not np.isfinite(self.values).all():
            raise ValueError("features must be finite")

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, items: Indices) -> Rows:
        """float32 [n, D]."""
        return np.asarray(self.values[items], np.float32)


@dataclass(frozen=True)
class Neighbours:
    """The nearest of a gallery, and all of it that is within a given distance.

    Attributes:
        distance: float64 [N, k], ascending; infinite where the gallery is too small.
        index: int64 [N, k], the item of the gallery; -1 where there is none. Equal distances: the lower first.
        within_query: int64 [P], the query of each pair asked for by `within`, ascending.
        within_index: int64 [P], its item of the gallery, the nearest first.
    """

    distance: Floats
    index: Indices
    within_query: Indices
    within_index: Indices


@dataclass(frozen=True, eq=False)
class Within:
    """Items that are wanted because they are near, however many others are nearer.

    Attributes:
        limit: float64 [N]; items nearer than this to the query.
        most: The nearest so many of those for each query, None = all.
        among: bool [M], which items count; None = all.
    """

    limit: Floats
    most: int | None = None
    among: npt.NDArray[np.bool_] | None = None


def nearest_neighbours(
    queries: Views,
    gallery: Views,
    k: int = 2,
    *,
    within: Within | None = None,
    skip: npt.ArrayLike | None = None,
    block_bytes: int = BLOCK_BYTES,
    on_status: OnStatus = ignore_status,
) -> Neighbours:
    """The `k` nearest items of the gallery for each query.

    Args:
        queries: N items.
        gallery: M items of the same space.
        k: How many.
        within: Which other near items to give as well; None = none.
        skip: int [N]; the gallery item that is the query itself and does not count, -1 = none.
        block_bytes: Bound on memory. Changes no result.
        on_status: Told after every block.

    Raises:
        ValueError: If a side has no rows, rows differ in length, or `k` is not positive.
    """
    if not len(queries) or not len(gallery) or k < 1:
        raise ValueError(f"nothing to search: {len(queries)} queries, {len(gallery)} in the gallery, k = {k}")
    within = within or Within(np.full(len(queries), -np.inf))
    own = np.full(len(queries), -1) if skip is None else np.asarray(skip, np.int64)
    search = _Search(queries, gallery, min(k, len(gallery)), block_bytes, within)
    parts = []
    for items in search.blocks():
        parts.append(search.block(items, own[items]))
        on_status(Status(int(items[-1]) + 1, len(queries), "images", "nearest neighbours"))
    distance, index = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
    missing = ((0, 0), (0, k - distance.shape[1]))
    return Neighbours(
        np.pad(distance, missing, constant_values=np.inf),
        np.pad(index, missing, constant_values=-1),
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class _Sketch:
    """Rows in few dimensions, none farther apart than in full: float32 [n, d + 3] each.

    What a row has outside the basis is kept as one more dimension, its length. Two more hold the squared norms, so that
    the product of a query's sketch with an item's is minus half their squared distance.
    """

    centre: Rows
    basis: Rows | None

    @classmethod
    def of(cls, sample: Rows, directions: int) -> _Sketch:
        """The directions in which the sample varies most."""
        centre = sample.mean(axis=0)
        if directions >= min(sample.shape):
            return cls(centre, None)
        away = (sample - centre).astype(np.float64)
        if len(away) < away.shape[1]:
            basis, _ = np.linalg.qr(away.T @ _last_eigenvectors(away @ away.T, directions))
        else:
            basis = _last_eigenvectors(away.T @ away, directions)
        return cls(centre, np.ascontiguousarray(basis, np.float32))

    def full(self) -> _Sketch:
        """The same without leaving anything out."""
        return _Sketch(self.centre, None)

    def queries(self, rows: Rows) -> tuple[Rows, float]:
        """The sketch of queries, and their largest squared norm."""
        inside, norms = self._inside(rows)
        return np.column_stack([inside, np.ones_like(norms), norms / -2]), float(norms.max(initial=0))

    def gallery(self, rows: Rows) -> tuple[Rows, float]:
        """The sketch of the gallery, and its largest squared norm."""
        inside, norms = self._inside(rows)
        return np.column_stack([inside, norms / -2, np.ones_like(norms)]), float(norms.max(initial=0))

    def _inside(self, rows: Rows) -> tuple[Rows, Rows]:
        away = rows - self.centre
        norms = np.einsum("nd,nd->n", away, away)
        if self.basis is None:
            return away, norms
        inside = away @ self.basis
        rest = np.maximum(norms - np.einsum("nd,nd->n", inside, inside), 0)
        return np.column_stack([inside, np.sqrt(rest)]), norms


def _last_eigenvectors(symmetric: Floats, count: int) -> Floats:
    """Of the largest eigenvalues: float64 [n, count], orthonormal."""
    vectors: Floats = np.linalg.eigh(symmetric)[1][:, -count:]
    return vectors


class _Search:
    """One call: the gallery's sketch, and the full one if that does not help."""

    def __init__(self, queries: Views, gallery: Views, k: int, block_bytes: int, within: Within) -> None:
        self.queries, self.gallery, self.k, self.within = queries, gallery, k, within
        self.cells = max(1, block_bytes // 16)  # float32, with room for what is made of them
        self.products = np.empty(0, np.float32)
        sample = np.unique(np.linspace(0, len(gallery) - 1, _SAMPLE // gallery.each).astype(np.int64))
        rows = gallery.rows(sample)
        if queries.rows(np.zeros(1, np.int64)).shape[1] != rows.shape[1]:
            raise ValueError("queries and gallery have rows of different lengths")
        self.sketches = [_Sketch.of(rows, min(_SKETCH, -(-rows.shape[1] // _SKETCH_SHARE)))]
        if self.sketches[0].basis is not None:
            self.sketches.append(self.sketches[0].full())
        self.kept: list[Rows] = []
        self.norm = 0.0
        self.hopeless = _HOPELESS_VIEWS if queries.each * gallery.each > 1 else _HOPELESS_ROWS

    def blocks(self) -> Iterator[Indices]:
        """Queries to look at together."""
        step = max(1, self.cells // (self.queries.each * self.gallery.each * len(self.gallery)))
        for start in range(0, len(self.queries), step):
            yield np.arange(start, min(start + step, len(self.queries)))

    def block(self, items: Indices, own: Indices) -> tuple[Floats, Indices, Indices, Indices]:
        """Distances and indices [n, k], and the pairs `within`, of some queries."""
        limit = self.within.limit[items]
        rows = self.queries.rows(items)
        for level in range(len(self.sketches)):
            least, slack = self._least(rows, len(items), level)
            mine = np.flatnonzero(own >= 0)
            least[mine, own[mine]] = np.inf
            bound = np.maximum(self._reached(rows, least), np.where(limit > 0, limit, 0) ** 2)
            open_pairs = least <= (bound + slack)[:, None].astype(np.float32)
            open_pairs[mine, own[mine]] = False
            if np.count_nonzero(open_pairs) <= self.hopeless * open_pairs.size:
                break
        query, index = np.divmod(np.flatnonzero(open_pairs), len(self.gallery))
        distance = np.sqrt(self._exact(rows, query, index))
        return self._sorted(items, query, index, distance)

    def _least(self, rows: Rows, count: int, level: int) -> tuple[Rows, float]:
        """What the squared distances of items [n, M] are at least, and how much rounding may have added."""
        sketch = self.sketches[level]
        asked, norm = sketch.queries(rows)
        least = np.empty((count, len(self.gallery)), np.float32)
        step = max(1, self.cells // (len(rows) * self.gallery.each))
        for start in range(0, len(self.gallery), step):
            stop = min(start + step, len(self.gallery))
            there, largest = self._gallery(level, start, stop)
            norm = max(norm, largest)
            products = self._room(len(asked), len(there))
            np.matmul(asked, there.T, out=products)
            of_views = products.reshape(count, -1, stop - start)
            np.max(of_views, axis=1, out=least[:, start:stop])
        least *= -2
        return least, _ROUNDING * norm

    def _room(self, height: int, width: int) -> Rows:
        """An array to write to, the same memory every time: the system takes longer to give new than a product."""
        if self.products.size < height * width:
            self.products = np.empty(height * width, np.float32)
        return self.products[: height * width].reshape(height, width)

    def _gallery(self, level: int, start: int, stop: int) -> tuple[Rows, float]:
        """The sketch of a stretch of the gallery, view by view, and its largest squared norm."""
        if level == 0 and not self.kept:
            ends = [*range(0, len(self.gallery), _SAMPLE), len(self.gallery)]
            made = [self._sketched(0, first, last) for first, last in itertools.pairwise(ends)]
            self.kept = [np.concatenate([part for part, _ in made], axis=1)]
            self.norm = max(norm for _, norm in made)
        sketched, norm = (self.kept[0][:, start:stop], self.norm) if level == 0 else self._sketched(level, start, stop)
        return sketched.reshape(-1, sketched.shape[2]), norm

    def _sketched(self, level: int, start: int, stop: int) -> tuple[Rows, float]:
        """float32 [views, n, d + 3]."""
        rows, norm = self.sketches[level].gallery(self.gallery.rows(np.arange(start, stop)))
        return rows.reshape(stop - start, self.gallery.each, -1).swapaxes(0, 1), norm

    def _reached(self, rows: Rows, least: Rows) -> Floats:
        """Squared distance [n] of the farthest of the `k` items that look nearest: so near are k items at least."""
        lines = np.arange(len(least))
        nearest = np.empty((len(least), self.k), np.int64)
        looks = np.empty((len(least), self.k), np.float32)
        for place in range(self.k):
            nearest[:, place] = least.argmin(axis=1)
            looks[:, place] = least[lines, nearest[:, place]]
            least[lines, nearest[:, place]] = np.inf
        for place in reversed(range(self.k)):
            least[lines, nearest[:, place]] = looks[:, place]
        exact = self._exact(rows, lines.repeat(self.k), nearest.ravel()).reshape(nearest.shape)
        reached: Floats = np.where(np.isfinite(looks), exact, np.inf).max(axis=1)
        return reached

    def _exact(self, rows: Rows, query: Indices, index: Indices) -> Floats:
        """Squared distances [P] of pairs, in float64; `query` counts within the block and ascends."""
        if self.queries.each * self.gallery.each == 1:
            return self._exact_rows(rows, query, index)
        square = np.empty(len(query))
        each = self.queries.each
        starts = np.searchsorted(query, np.arange(len(rows) // each + 1))
        for number, (start, stop) in enumerate(itertools.pairwise(starts)):
            if start < stop:
                square[start:stop] = self._exact_views(rows[number * each : (number + 1) * each], index[start:stop])
        return square

    def _exact_rows(self, rows: Rows, query: Indices, index: Indices) -> Floats:
        square = np.empty(len(query))
        step = max(1, self.cells // (8 * rows.shape[1]))
        for start in range(0, len(query), step):
            part = slice(start, start + step)
            away = rows[query[part]].astype(np.float64) - self.gallery.rows(index[part])
            square[part] = np.einsum("nd,nd->n", away, away)
        return square

    def _exact_views(self, views: Rows, items: Indices) -> Floats:
        """Of one query to some items: the nearest rows by one product, their distance by difference."""
        asked = views.astype(np.float64)
        square = np.empty(len(items))
        step = max(1, self.cells // (8 * self.gallery.each * views.shape[1]))
        for start in range(0, len(items), step):
            there = self.gallery.rows(items[start : start + step]).astype(np.float64)
            apart = np.einsum("vd,vd->v", asked, asked)[:, None] + np.einsum("rd,rd->r", there, there)
            apart -= 2 * asked @ there.T
            of_item = apart.reshape(len(asked), -1, self.gallery.each).transpose(1, 0, 2)
            view, row = np.divmod(of_item.reshape(len(of_item), -1).argmin(axis=1), self.gallery.each)
            away = asked[view] - there[np.arange(len(row)) * self.gallery.each + row]
            square[start : start + step] = np.einsum("nd,nd->n", away, away)
        return square

    def _sorted(
        self, items: Indices, query: Indices, index: Indices, distance: Floats
    ) -> tuple[Floats, Indices, Indices, Indices]:
        """The nearest of all measured pairs, and those that `within` asks for."""
        order = np.lexsort((index, distance, query))
        query, index, distance = query[order], index[order], distance[order]
        place = _places(query)
        best = place < self.k
        nearest = np.full((len(items), self.k), np.inf)
        who = np.full((len(items), self.k), -1)
        nearest[query[best], place[best]], who[query[best], place[best]] = distance[best], index[best]
        near = distance < self.within.limit[items[query]]
        if self.within.among is not None:
            near &= self.within.among[index]
        query, index = query[near], index[near]
        if self.within.most is not None:
            few = _places(query) < self.within.most
            query, index = query[few], index[few]
        return nearest, who, items[query], index


def _places(query: Indices) -> Indices:
    """The place of each pair among those of its query: 0, 1, ..., where `query` ascends."""
    return np.arange(len(query)) - np.searchsorted(query, query)
