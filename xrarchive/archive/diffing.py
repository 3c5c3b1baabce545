"""Two archives compared: rows that came, went or changed, and what was made or set differently.

In: two sources, each a manifest and a way to get one of its files. Out: an `ArchiveDiff`, whose lists stand in order.

*What is read*: a shard that both archives have, in the same split, holds the same rows: they neither came, went nor
changed, and it is never opened. Counts of labels come from the manifests. Scores are compared over the rows that
differ, so that no further shard is needed. In memory are one row group, 16 bytes for each row read, and the rows that
differ (`archive.rows`).

*What is the same*: a label and the findings by name, a build by its plan or else its number, pixels by `pixels_sha256`
(worked out for archives of format 1, which have no such column: PNGs of the same pixels differ with zlib). Of columns
that only one of the two has, that alone is said.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrarchive.archive.manifest import BuildRecord, Change, Manifest, Withdrawal, split_of
from xrarchive.archive.readme import column_names
from xrarchive.archive.rows import Rows, Shards, differing_rows
from xrarchive.archive.schema import CONFIGS
from xrarchive.archive.source import Source


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


def diff_archives(a: Source, b: Source) -> ArchiveDiff:
    """Compare two archives.

    Raises:
        DamageError: If a shard that must be read cannot be.
    """
    old, new = a.manifest, b.manifest
    to_read = {config: _unshared(config, old, new) for config in CONFIGS}
    data, provenance = (
        [_shards(source, config, names, old) for source, names in zip((a, b), to_read[config], strict=True)]
        for config in CONFIGS
    )
    before, after = differing_rows(*data)
    changes: dict[str, list[str]] = {}
    _note_changes(changes, before, after)
    before, after = (dataclasses.replace(rows, columns={}) for rows in (before, after))  # the scores are still wanted
    _note_changes(changes, *differing_rows(*provenance, shared=True))
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


def _shards(source: Source, config: str, names: Sequence[str], first: Manifest) -> Shards:
    paths = {name: source.open_shard(name) for name in names}
    return Shards(source, config, paths, _numbered(source.manifest, first))


def _note_changes(changes: dict[str, list[str]], before: Rows, after: Rows) -> None:
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
        {f"{config}/{name}" for config in CONFIGS for name in column_names(config, m)} for m in (manifest, other)
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


def _score_shifts(before: Rows, old_ids: Sequence[str], after: Rows, new_ids: Sequence[str]) -> tuple[ScoreShift, ...]:
    """Scores of rows that differ; a row that changed in its provenance alone was not read, its scores are the same."""
    shifts = []
    for column in dict.fromkeys([*before.scores, *after.scores]):
        first, second = _scores(before, column, old_ids), _scores(after, column, new_ids)
        if len(first) or len(second):
            ks = round(ks_distance(first, second), 6) if len(first) and len(second) else None
            shifts.append(ScoreShift(column, len(first), len(second), _mean(first), _mean(second), ks))
    return tuple(shifts)


def _scores(rows: Rows, column: str, ids: Sequence[str]) -> NDArray[np.float32]:
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
