"""Two archives compared: rows that came, went or changed, and what was made or set differently.

In: two sources, each a manifest and a way to get one of its files. Out: an `ArchiveDiff`, whose lists stand in order.

*What is read*: a shard that both archives have, in the same split, holds the same rows: they neither came, went nor
changed, and it is never opened. Counts of labels come from the manifests. Scores are compared over the rows that
differ, so that no further shard is needed. One shard is in memory at a time, beside 8 bytes for each value read.

*What is the same*: a label and the findings by name, a build by its plan or else its number, pixels by `pixels_sha256`
(worked out for archives of format 1, which have no such column: PNGs of the same pixels differ with zlib). Of columns
that only one of the two has, that alone is said.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xrarchive.archive.content import UNREADABLE, read_shard
from xrarchive.archive.manifest import BuildRecord, Change, Manifest, Withdrawal, read_manifest, split_of
from xrarchive.archive.readme import schema_of
from xrarchive.archive.schema import CONFIGS, DATA, GUIDE_PREFIX, JUDGE_PREFIX, PROVENANCE, hash_pixels
from xrarchive.archive.values import as_named, as_numbers, hash_value
from xrarchive.errors import DamageError
from xrarchive.pixels import decode_png

_PIXELS, _SPLIT = "pixels_sha256", "split"
_FIX = "Find out more with `xrarchive check --read-data`."


@dataclass(frozen=True)
class Source:
    """An archive to compare: what to call it, its manifest, and what gives the local path of one of its shards."""

    name: str
    manifest: Manifest
    open_shard: Callable[[str], Path]


@dataclass(frozen=True)
class Side:
    """Which archive was compared."""

    name: str
    version: str
    manifest_sha256: str
    rows: int


@dataclass(frozen=True)
class Setting:
    """Something set or used differently: `where` is `archive` or `build N`; None = one of the two does not have it."""

    where: str
    name: str
    old: Any
    new: Any


@dataclass(frozen=True)
class LabelShift:
    """Images of a label in all."""

    label: str
    before: int
    after: int


@dataclass(frozen=True)
class ScoreShift:
    """A score over the rows that differ: those removed or changed as they were, those added or changed as they are.

    Attributes:
        column: `guide_…`, `judge_…` or `soft_label`.
        before_rows: How many of the first archive.
        after_rows: How many of the second.
        before: Their mean; None if there are none.
        after: As `before`.
        ks: Kolmogorov-Smirnov distance of the two, 0 to 1; None unless there are rows on both sides.
    """

    column: str
    before_rows: int
    after_rows: int
    before: float | None
    after: float | None
    ks: float | None


@dataclass(frozen=True)
class ArchiveDiff:
    """What differs between the archives `a` and `b`.

    Attributes:
        a: The first.
        b: The second.
        added: Ids of rows that only `b` has.
        removed: Ids of rows that only `a` has.
        changed: Ids of rows that both have, with the columns that differ; `split` is one.
        columns: Rows in which each column differs.
        only_a: Columns, as `config/column`, that only `a` has.
        only_b: Columns that only `b` has.
        settings: What was set or used differently, archive and builds.
        builds_added: `plan_sha256` of builds that only `b` holds.
        builds_removed: `plan_sha256` of builds that only `a` holds.
        labels: Labels whose number of images differs.
        scores: Of the rows that differ, and of no others.
        withdrawn: What `b` has withdrawn and `a` has not.
        history: What happened to `b` since the two parted.
        shards_shared: Shards that both have, which were not read.
        shards_read: Shards read.
        bytes_read: Size of those.
    """

    a: Side
    b: Side
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, int]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    settings: tuple[Setting, ...]
    builds_added: tuple[str, ...]
    builds_removed: tuple[str, ...]
    labels: tuple[LabelShift, ...]
    scores: tuple[ScoreShift, ...]
    withdrawn: tuple[Withdrawal, ...]
    history: tuple[Change, ...]
    shards_shared: int
    shards_read: int
    bytes_read: int

    @property
    def same_rows(self) -> bool:
        """Whether no row differs."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True)
class _Rows:
    """Rows of the shards of one config that differ: where each id is, and the values of each column as numbers."""

    places: Mapping[str, int]
    columns: Mapping[str, NDArray[np.uint64]]
    scores: Mapping[str, NDArray[np.float32]]


def open_folder(folder: Path) -> Source:
    """The archive in a folder.

    Raises:
        InputDataError, DamageError: If there is none, or its manifest is damaged.
    """
    return Source(str(folder), read_manifest(folder), lambda path: folder / path)


def diff_archives(a: Source, b: Source) -> ArchiveDiff:
    """Compare two archives.

    Raises:
        DamageError: If a shard that must be read cannot be.
    """
    old, new = a.manifest, b.manifest
    to_read = {config: _unshared(config, old, new) for config in CONFIGS}
    before, after = _read_both(a, b, DATA, to_read[DATA])
    changes: dict[str, list[str]] = {}
    _note_changes(changes, before, after)
    before, after = (dataclasses.replace(rows, columns={}) for rows in (before, after))  # the scores are still wanted
    _note_changes(changes, *_read_both(a, b, PROVENANCE, to_read[PROVENANCE]))
    changed = {image_id: tuple(changes[image_id]) for image_id in sorted(changes)}
    added = tuple(sorted(after.places.keys() - before.places.keys()))
    removed = tuple(sorted(before.places.keys() - after.places.keys()))
    only_a, only_b = _own_columns(old, new), _own_columns(new, old)
    builds_added, builds_removed = _own_builds(new, old), _own_builds(old, new)
    read = [
        manifest.files[name]
        for names in to_read.values()
        for manifest, own in zip((old, new), names, strict=True)
        for name in own
    ]
    return ArchiveDiff(
        a=Side(a.name, old.version, old.sha256, old.rows),
        b=Side(b.name, new.version, new.sha256, new.rows),
        added=added,
        removed=removed,
        changed=changed,
        columns=dict(Counter(column for columns in changed.values() for column in columns).most_common()),
        only_a=only_a,
        only_b=only_b,
        settings=(*_archive_settings(old, new), *_build_settings(old, new)),
        builds_added=tuple(build.plan_sha256 for build in builds_added),
        builds_removed=tuple(build.plan_sha256 for build in builds_removed),
        labels=_label_shifts(old, new),
        scores=_score_shifts(before, [*removed, *changed], after, [*added, *changed]),
        withdrawn=_newly_withdrawn(old, new),
        history=_history_since(old, new),
        shards_shared=len(new.files) - sum(len(own) for _, own in to_read.values()),
        shards_read=len(read),
        bytes_read=sum(record.bytes for record in read),
    )


def _unshared(config: str, old: Manifest, new: Manifest) -> tuple[list[str], list[str]]:
    """Shards of each that the other does not have with these bytes in this split."""
    keys = [
        {name: (split_of(name), manifest.files[name].sha256) for name in manifest.shards(config)}
        for manifest in (old, new)
    ]
    shared = set(keys[0].values()) & set(keys[1].values())
    first, second = ([name for name, key in own.items() if key not in shared] for own in keys)
    return first, second


def _numbered(manifest: Manifest, first: Manifest) -> list[int]:
    """The number of each build in `first`, which a merge may have moved; its own if it is not there."""
    numbers = {build.plan_sha256: number for number, build in enumerate(first.builds)}
    return [numbers.get(build.plan_sha256, number) for number, build in enumerate(manifest.builds)]


def _read_both(a: Source, b: Source, config: str, names: tuple[list[str], list[str]]) -> tuple[_Rows, _Rows]:
    first, second = a.manifest, b.manifest
    return (
        _read_rows(a, config, names[0], _numbered(first, first)),
        _read_rows(b, config, names[1], _numbered(second, first)),
    )


def _read_rows(source: Source, config: str, names: Sequence[str], builds: Sequence[int]) -> _Rows:
    places: dict[str, int] = {}
    parts: list[tuple[dict[str, NDArray[np.uint64]], dict[str, NDArray[np.float32]]]] = []
    for name in names:
        table = _read_table(source, config, name)
        for image_id in table["image_id"].to_pylist():
            places[image_id] = len(places)
        try:
            parts.append(_values(table, config, name, source.manifest, builds))
        except UNREADABLE as err:
            raise DamageError(f"{name} of {source.name} cannot be read: {err}.", fix=_FIX, path=name) from err
    columns, scores = ([part[kind] for part in parts] for kind in (0, 1))
    return _Rows(places, _joined(columns), _joined(scores))


def _read_table(source: Source, config: str, name: str) -> pa.Table:
    """A shard without images, in an archive of format 1 with the hashes of their pixels instead."""
    wanted = list(schema_of(config, source.manifest))
    if config == DATA and _PIXELS in wanted:
        wanted.remove("image")
    path = source.open_shard(name)
    table = read_shard(path, wanted, fix=_FIX)
    if "image" not in wanted:
        return table
    hashes = list(_pixel_hashes(table["image"], source.manifest.mode, path))
    return table.drop_columns(["image"]).append_column(_PIXELS, pa.array(hashes, pa.string()))


def _pixel_hashes(images: pa.ChunkedArray, mode: str, path: Path) -> Iterator[str]:
    for image in images:
        try:
            yield hash_pixels(decode_png(image["bytes"].as_py(), mode))
        except (OSError, ValueError, TypeError) as err:
            raise DamageError(f"{path} holds an image that cannot be decoded: {err}.", fix=_FIX, path=path) from err


def _values(
    table: pa.Table, config: str, name: str, manifest: Manifest, builds: Sequence[int]
) -> tuple[dict[str, NDArray[np.uint64]], dict[str, NDArray[np.float32]]]:
    """Columns of a shard as numbers, and its scores."""
    columns = {column: as_numbers(table[column]) for column in table.column_names if column != "image_id"}
    if config == PROVENANCE:
        if "build" in columns:
            columns["build"] = as_named(table["build"], builds)
        return columns, {}
    columns["label"] = as_named(table["label"], manifest.findings)
    columns["findings"] = as_named(table["findings"], manifest.findings)
    columns[_SPLIT] = np.full(table.num_rows, hash_value(split_of(name).encode()))
    scores = {column: table[column].to_numpy().astype(np.float32) for column in table.column_names if _is_score(column)}
    return columns, scores


def _is_score(column: str) -> bool:
    return column == "soft_label" or column.startswith((GUIDE_PREFIX, JUDGE_PREFIX))


def _joined(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def _note_changes(changes: dict[str, list[str]], before: _Rows, after: _Rows) -> None:
    """Add the columns that differ, by id, of rows that are in both."""
    ids = sorted(before.places.keys() & after.places.keys())
    first, second = (np.array([rows.places[name] for name in ids], np.int64) for rows in (before, after))
    for column in before.columns:
        if column not in after.columns:
            continue
        for row in np.flatnonzero(before.columns[column][first] != after.columns[column][second]):
            changes.setdefault(ids[row], []).append(column)


def _own_columns(manifest: Manifest, other: Manifest) -> tuple[str, ...]:
    if (manifest.findings, manifest.format) == (other.findings, other.format):
        return ()
    own, known = (
        {f"{config}/{name}" for config in CONFIGS for name in schema_of(config, m)} for m in (manifest, other)
    )
    return tuple(sorted(own - known))


def _own_builds(manifest: Manifest, other: Manifest) -> list[BuildRecord]:
    known = {build.plan_sha256 for build in other.builds}
    return [build for build in manifest.builds if build.plan_sha256 not in known]


def _archive_settings(old: Manifest, new: Manifest) -> Iterator[Setting]:
    for name in ("format", "findings", "nuisances", "size_px", "mode", "terms"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield Setting("archive", name, before, after)
    if list(old.splits.items()) != list(new.splits.items()):  # their order counts
        yield Setting("archive", "splits", old.splits, new.splits)


def _build_settings(old: Manifest, new: Manifest) -> Iterator[Setting]:
    """What differs in each build of `new` from the same build of `old`; a new one is held against one that went.

    Where none went it is held against the newest of `old`.
    """
    known = {build.plan_sha256: build for build in old.builds}
    gone = iter(_own_builds(old, new))
    for number, build in enumerate(new.builds):
        against = known.get(build.plan_sha256) or next(gone, old.builds[-1])
        before, after = _flat(against), _flat(build)
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                yield Setting(f"build {number}", name, before.get(name), after.get(name))


def _flat(build: BuildRecord) -> dict[str, Any]:
    return {
        "seed": build.seed,
        **{f"settings.{name}": value for name, value in build.settings.items()},
        **{f"weights.{role}": record.sha256 for role, record in build.weights.items()},
        **{f"versions.{name}": version for name, version in build.versions.items()},
        "terms": build.terms,
    }


def _label_shifts(old: Manifest, new: Manifest) -> tuple[LabelShift, ...]:
    names = dict.fromkeys([*old.findings, *new.findings])
    shifts = (LabelShift(name, old.counts.get(name, 0), new.counts.get(name, 0)) for name in names)
    return tuple(shift for shift in shifts if shift.before != shift.after)


def _score_shifts(
    before: _Rows, old_ids: Sequence[str], after: _Rows, new_ids: Sequence[str]
) -> tuple[ScoreShift, ...]:
    """Scores of rows that differ; a row that changed in its provenance alone was not read, its scores are the same."""
    shifts = []
    for column in dict.fromkeys([*before.scores, *after.scores]):
        first, second = _scores(before, column, old_ids), _scores(after, column, new_ids)
        if len(first) or len(second):
            ks = round(ks_distance(first, second), 6) if len(first) and len(second) else None
            shifts.append(ScoreShift(column, len(first), len(second), _mean(first), _mean(second), ks))
    return tuple(shifts)


def _scores(rows: _Rows, column: str, ids: Sequence[str]) -> NDArray[np.float32]:
    if column not in rows.scores:
        return np.empty(0, np.float32)
    values = rows.scores[column][[rows.places[name] for name in ids if name in rows.places]]
    return values[~np.isnan(values)]


def _mean(values: NDArray[np.float32]) -> float | None:
    return round(float(values.mean(dtype=np.float64)), 6) if len(values) else None


def ks_distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Largest difference of the two empirical distribution functions; both [N], N > 0, without NaN."""
    first, second = np.sort(first), np.sort(second)
    at = np.concatenate([first, second])
    shares = (np.searchsorted(values, at, side="right") / len(values) for values in (first, second))
    return float(np.abs(np.subtract(*shares)).max())


def _newly_withdrawn(old: Manifest, new: Manifest) -> tuple[Withdrawal, ...]:
    known = {item.image_id for item in old.withdrawn}
    return tuple(item for item in new.withdrawn if item.image_id not in known)


def _history_since(old: Manifest, new: Manifest) -> tuple[Change, ...]:
    """Steps of `new` from the first on that `old` has not."""
    shared = 0
    for one, other in zip(old.history, new.history, strict=False):
        if dataclasses.astuple(one) != dataclasses.astuple(other):
            break
        shared += 1
    return new.history[shared:]
