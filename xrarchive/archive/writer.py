"""Units to a finished archive. Units arrive in any order and survive crashes; shards and manifest follow from them.

.work/plan.json            the plan these units belong to, and the versions of the packages that make them
.work/data-00003.parquet, .work/provenance-00003.parquet, .work/unit-00003.json (last): one finished unit
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.archive.content import read_content, read_shard
from xrarchive.archive.manifest import (
    FIRST_VERSION,
    MANIFEST_NAME,
    REPORT_NAME,
    VALIDATION_NAME,
    BuildRecord,
    Change,
    FileRecord,
    Manifest,
    WeightsRecord,
    index_of,
    is_shard,
    read_manifest,
    require_current,
    write_manifest,
)
from xrarchive.archive.reader import find_surplus
from xrarchive.archive.readme import restore_head, schema_of, write_readme
from xrarchive.archive.schema import (
    BYTES_PER_PIXEL,
    CONFIGS,
    SHARD_BYTES,
    SHARD_ROWS,
    capped,
    shard_name,
    to_tables,
    write_shard,
)
from xrarchive.archive.splits import rows_of_split
from xrarchive.archive.sums import sums_problems, write_sums
from xrarchive.errors import InputDataError, LockedError, PlanChangedError, ShortfallError, StorageError
from xrarchive.files import dump_json, is_locked, leased, read_json, sha256_bytes, sha256_file, write_json
from xrarchive.plan import Plan, plan_top_up
from xrarchive.records import ImageRequest, SyntheticImage, Tally

WORK = ".work"
# How long a process of a torchrun waits for the others: a unit at 1024 px takes minutes.
AWAIT_S = 1800.0
_AWAIT_STEP_S = 0.2


def claim_folder(
    folder: Path, plan: Plan, *, versions: Mapping[str, str] | None = None, extending: bool = False
) -> Manifest | None:
    """Prepare `folder` for this plan. Returns the manifest if the plan's images are already in the archive there.

    Args:
        folder: Of the archive, there or to be.
        plan: What is to be made.
        versions: Of the packages that decide bytes: units of two versions are not mixed.
        extending: Whether the plan adds to a finished archive.

    Raises:
        PlanChangedError: If the folder holds an archive, finished or begun, of another plan or other versions.
        InputDataError: If the folder holds something that is no archive, or an archive of format 1.
    """
    claim = folder / WORK / "plan.json"
    wanted = _plain({**plan.as_dict(), "versions": dict(versions or {})})
    if (folder / MANIFEST_NAME).exists():
        manifest = read_manifest(folder)
        require_current(folder, manifest)
        if any(build.plan_sha256 == plan.sha256 for build in manifest.builds):
            settle(folder, manifest)  # we may have been killed after the manifest was written
            return manifest
        if not extending:
            raise _changed(folder, "a finished archive", _plan_of(manifest.builds[0]), _comparable(wanted))
        if not has_unfinished(folder, manifest):
            drop_work(folder)
        if plan.first_unit != manifest.units(plan.seed):
            raise PlanChangedError(
                f"{folder} was extended by another process meanwhile.", fix="Run the same command again.", path=folder
            )
    if claim.exists():
        begun = read_json(claim, what="plan", fix=f"Remove {claim.parent}.")
        if begun != wanted:
            raise _changed(folder, "an unfinished archive", _comparable(begun), _comparable(wanted))
        return None
    if not extending and (strangers := find_strangers(folder)):
        raise InputDataError(
            f"{folder} is not empty and holds no archive: {', '.join(strangers[:5])}.",
            fix="Choose an empty or new output folder.",
            path=folder,
        )
    drop_work(folder)  # units without a claim are of nobody knows what
    write_json(claim, wanted)
    return None


def find_strangers(folder: Path) -> list[str]:
    """What stands in the way of a new archive: all that is neither hidden nor an empty folder."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path.is_file() or any(path.iterdir()))
    )


def has_unfinished(folder: Path, manifest: Manifest) -> bool:
    """Whether units wait that no build of the manifest has joined."""
    claim = folder / WORK / "plan.json"
    return claim.exists() and _claimed(claim) not in {build.plan_sha256 for build in manifest.builds}


def drop_work(folder: Path) -> None:
    """Remove all units. The claim goes first: stopped in between, what is left counts for nothing."""
    (folder / WORK / "plan.json").unlink(missing_ok=True)
    if (folder / WORK).exists():
        shutil.rmtree(folder / WORK)


def settle(folder: Path, manifest: Manifest) -> None:
    """Bring a folder back to what its manifest says, after changes that were stopped or refused halfway.

    README comes first, so that it never names a shard that is gone. Units already joined and a validation that lists
    withdrawn images go too: they would keep what was withdrawn.
    """
    restore_head(folder, manifest)
    for path in surplus_shards(folder, manifest):
        path.unlink()
    if not has_unfinished(folder, manifest):
        drop_work(folder)
    validation = folder / VALIDATION_NAME
    if validation.is_file() and manifest.withdrawn:
        text = validation.read_text(encoding="utf-8", errors="replace")
        if any(dump_json(item.image_id).decode().strip() in text for item in manifest.withdrawn):
            validation.unlink()
    if not speaks_of(validation, manifest):  # the report shows images
        (folder / REPORT_NAME).unlink(missing_ok=True)
    _restore_sums(folder, manifest)


def speaks_of(validation: Path, manifest: Manifest) -> bool:
    """Whether a validation.json is there and names this manifest."""
    return validation.is_file() and manifest.sha256.encode() in validation.read_bytes()


def restore_texts(folder: Path, manifest: Manifest) -> None:
    """Make README's head and SHA256SUMS what the manifest demands, where they are not."""
    restore_head(folder, manifest)
    _restore_sums(folder, manifest)


def _restore_sums(folder: Path, manifest: Manifest) -> None:
    if sums_problems(folder, manifest):
        write_sums(folder, manifest)


def surplus_shards(folder: Path, manifest: Manifest) -> list[Path]:
    """Files named as shards are that the manifest does not name."""
    return [path for path in find_surplus(folder, manifest) if is_shard(path.relative_to(folder).as_posix())]


def await_claim(folder: Path, plan: Plan, *, timeout_s: float = AWAIT_S) -> Manifest | None:
    """Wait until another process has claimed the folder for this plan; its manifest if that was finished already.

    Raises:
        StorageError: If nobody does.
    """
    claim = folder / WORK / "plan.json"

    def holds() -> bool:
        # A claim alone may be left of an earlier run: the first process, once it locks, removes files half written.
        return _is_finished(folder, plan) or (is_locked(folder) and _is_claim(claim, plan))

    _await(holds, f"{claim} of the first process", timeout_s)
    return read_manifest(folder) if _is_finished(folder, plan) else None


def finished(folder: Path, plan: Plan) -> Manifest | None:
    """The manifest, if the plan's images are in the archive."""
    return read_manifest(folder) if _is_finished(folder, plan) else None


def unit_lease(folder: Path, plan: Plan, index: int) -> Path:
    """The file whose lock says that a unit is being made."""
    return folder / WORK / f"unit-{plan.first_unit + index:05d}.lock"


def require_unleased(folder: Path) -> None:
    """Refuse to go on alone while processes that share the units are at work.

    Raises:
        LockedError: If one is.
    """
    for path in sorted((folder / WORK).glob("unit-*.lock")):
        with leased(path) as free:
            if not free:
                raise LockedError(
                    f"{folder} is in use: a process started with --units makes {path.stem}.",
                    fix="Wait for it to end, or join in with --units yourself.",
                    path=folder,
                )


def await_units(folder: Path, plan: Plan, *, first: Plan | None = None, timeout_s: float = AWAIT_S) -> None:
    """Wait for units that other processes make; a unit that comes begins the waiting anew.

    Units that another process has joined meanwhile are waited for no more: `first` is the build's first round.

    Raises:
        StorageError: If none comes any more.
    """

    def joined() -> bool:
        return _is_finished(folder, first or plan)

    while (missing := missing_units(folder, plan)) and not joined():
        _await(
            lambda: len(missing_units(folder, plan)) < len(missing) or joined(),
            f"unit {missing[0]} of {folder}",
            timeout_s,
        )


def await_manifest(folder: Path, plan: Plan, *, timeout_s: float = AWAIT_S) -> Manifest:
    """Wait until the first process has joined the units.

    Raises:
        StorageError: If it does not.
    """
    _await(lambda: _is_finished(folder, plan), f"the manifest of {folder}", timeout_s)
    return read_manifest(folder)


def missing_units(folder: Path, plan: Plan) -> list[int]:
    """Indices of the units not yet finished."""
    return [index for index in range(plan.units) if not _unit_record(folder, plan.first_unit + index).exists()]


def write_unit(
    folder: Path,
    number: int,
    images: Sequence[SyntheticImage],
    tallies: Sequence[Tally],
    vocabulary: Sequence[str],
    *,
    build: int = 0,
) -> None:
    """Keep a finished unit, numbered through all rounds of a build; its record comes last and makes it count."""
    for config, table in to_tables(images, vocabulary, build=build).items():
        write_shard(_unit_table(folder, config, number), [table], table.schema)
    write_json(_unit_record(folder, number), {"tallies": [_with_ways(tally, images) for tally in tallies]})


def next_round(folder: Path, rounds: Sequence[Plan]) -> Plan | None:
    """What to make after the rounds that are done, decided by their records alone; None = the build is done."""
    if len(rounds) > rounds[0].search.top_ups:
        return None
    tallies = _sum_tallies(folder, rounds[-1:])
    return plan_top_up(rounds[-1], [tally.accepted for tally in tallies])


def finish_archive(
    folder: Path,
    rounds: Sequence[Plan],
    *,
    vocabulary: Sequence[str],
    nuisances: Sequence[str],
    size_px: int,
    weights: Mapping[str, WeightsRecord],
    versions: Mapping[str, str],
    terms: Sequence[str],
) -> Manifest:
    """Join all units into new shards, write README's YAML and then the manifest, and remove the units.

    What is there already keeps its shards; new ones come after.

    Raises:
        ShortfallError: If not one image was accepted.
        DamageError: If a unit cannot be read back.
    """
    plan, before = rounds[0], read_manifest(folder) if (folder / MANIFEST_NAME).exists() else None
    tallies = _sum_tallies(folder, rounds)
    added = sum(tally.accepted for tally in tallies)
    if not added:
        _refuse_empty(folder, tallies, extended=before is not None)
    numbers = [round_.first_unit + index for round_ in rounds for index in range(round_.units)]
    record = BuildRecord(
        plan_sha256=plan.sha256,
        units=len(numbers),
        seed=plan.seed,
        settings=_plain(dataclasses.asdict(plan.search)),
        weights=dict(weights),
        versions=dict(versions),
        terms=tuple(terms),
        tallies=tallies,
    )
    if before is None:
        manifest = Manifest(
            findings=tuple(vocabulary),
            nuisances=tuple(nuisances),
            size_px=size_px,
            rows=0,
            counts={},
            content_sha256="",
            files={},
            builds=(record,),
            history=(Change(FIRST_VERSION, "build", added, 0),),
        )
    else:
        history = (*before.history, before.follow("extend", added=added))
        manifest = dataclasses.replace(before, builds=(*before.builds, record), history=history)
    shards = write_shards(folder, manifest, lambda config: (_read_unit(folder, config, number) for number in numbers))
    return commit(folder, dataclasses.replace(manifest, files={**manifest.files, **shards}))


def _refuse_empty(folder: Path, tallies: Sequence[Tally], *, extended: bool) -> NoReturn:
    asked, starts = (sum(getattr(tally, name) for tally in tallies) for name in ("asked", "starts"))
    reached = f"Not one of {asked} images was reached from {starts} starts"
    if extended:
        drop_work(folder)  # it would bar the way to every other change
        raise ShortfallError(
            f"{reached}; {folder} is as it was.", fix="Ask for other sets of findings with --requests.", path=folder
        )
    raise ShortfallError(
        f"{reached}, so {folder} holds no archive.",
        fix="Ask for other findings with another --out, or train a generator and a guide that know these.",
        path=folder,
    )


def write_shards(
    folder: Path, manifest: Manifest, tables: Callable[[str], Iterable[pa.Table]], *, change: int = 0
) -> dict[str, FileRecord]:
    """Write rows into new shards, numbered after those of the manifest.

    Args:
        folder: Of the archive.
        manifest: What is there, with the splits the rows are dealt to.
        tables: Gives the new rows of a config, in order; called once for each config and split.
        change: Number of the change that moves rows to new shards; 0 = the rows are new.
    """
    files: dict[str, FileRecord] = {}
    image_bytes = bytes_per_image(manifest)
    most = capped(SHARD_ROWS, SHARD_BYTES, image_bytes)
    for config in CONFIGS:
        schema = schema_of(config, manifest).arrow_schema
        for split in manifest.splits:
            first = max((index_of(name) + 1 for name in manifest.shards(config, split)), default=0)
            own = (rows_of_split(table, split, manifest.splits) for table in tables(config))
            for index, parts in enumerate(_cut(own, most), first):
                name = shard_name(config, index, split=split, change=change)
                write_shard(folder / name, parts, schema, image_bytes=image_bytes)
                files[name] = record_file(folder / name)
                parts.clear()  # before the next shard is read: one in memory at a time
    return files


def bytes_per_image(manifest: Manifest) -> int:
    """Bytes of the pixels of one image, before compression: what decides the size of shards and row groups."""
    return manifest.size_px**2 * BYTES_PER_PIXEL[manifest.mode]


def record_file(path: Path) -> FileRecord:
    """Hash, size and rows of a shard on disk."""
    return FileRecord(sha256_file(path), path.stat().st_size, pq.read_metadata(path).num_rows)


def commit(folder: Path, manifest: Manifest) -> Manifest:
    """Make an archive what its new shards say: count and hash the rows, write README, SHA256SUMS, then the manifest.

    From then on the change holds; shards and units that no longer belong to the archive go last.
    """
    content_sha256, counts = read_content(folder, manifest)
    manifest = dataclasses.replace(manifest, rows=counts.total(), counts=dict(counts), content_sha256=content_sha256)
    write_readme(folder, manifest)
    write_sums(folder, manifest)
    write_manifest(folder, manifest)
    settle(folder, manifest)
    return manifest


def _is_claim(path: Path, plan: Plan) -> bool:
    return path.exists() and _claimed(path) == plan.sha256


def _claimed(path: Path) -> str:
    """The sha256 of the plan in a claim."""
    claim = read_json(path, what="plan", fix=f"Remove {path.parent}.")
    return sha256_bytes(dump_json({name: value for name, value in claim.items() if name != "versions"}))


def _is_finished(folder: Path, plan: Plan) -> bool:
    if not (folder / MANIFEST_NAME).exists():
        return False
    return any(build.plan_sha256 == plan.sha256 for build in read_manifest(folder).builds)


def _await(holds: Callable[[], bool], what: str, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end_s:
            raise StorageError(
                f"Waited {timeout_s:.0f} s for {what}; it did not come.",
                fix="Look at the messages of the other processes, then run the same command again.",
            )
        time.sleep(_AWAIT_STEP_S)


def _read_unit(folder: Path, config: str, number: int) -> pa.Table:
    return read_shard(
        _unit_table(folder, config, number), fix=f"Remove {folder / WORK} and run the same command again."
    )


def _cut(tables: Iterable[pa.Table], most: int) -> Iterator[list[pa.Table]]:
    """Tables of each shard: rows in order, cut every `most` rows."""
    waiting: list[pa.Table] = []
    rows = 0
    for part in tables:
        table = part
        while rows + table.num_rows >= most:
            taken = most - rows
            yield [*waiting, table.slice(0, taken)]
            table, waiting, rows = table.slice(taken), [], 0
        if table.num_rows:
            waiting.append(table)
            rows += table.num_rows
    if rows:
        yield waiting


def _with_ways(tally: Tally, images: Sequence[SyntheticImage]) -> dict[str, Any]:
    """A unit's tally with the steps and the travel of each of its images: medians do not add up."""
    own = [image for image in images if (image.findings, image.absent) == (tally.findings, tally.absent)]
    ways = {"steps": [image.steps for image in own], "travel_deg": [image.travel_deg for image in own]}
    return {**dataclasses.asdict(tally), **ways}


def _sum_tallies(folder: Path, rounds: Sequence[Plan]) -> tuple[Tally, ...]:
    """What became of each request of the first round, in all rounds."""
    parts: dict[tuple[tuple[str, ...], tuple[str, ...]], list[dict[str, Any]]] = {
        (request.findings, request.absent): [] for request in rounds[0].requests
    }
    for plan in rounds:
        for index in range(plan.units):
            path = _unit_record(folder, plan.first_unit + index)
            for tally in read_json(path, what="unit record", fix=f"Remove {folder / WORK}.")["tallies"]:
                parts[tuple(tally["findings"]), tuple(tally["absent"])].append(tally)
    return tuple(_sum_tally(request, parts[request.findings, request.absent]) for request in rounds[0].requests)


def _sum_tally(request: ImageRequest, parts: Sequence[Mapping[str, Any]]) -> Tally:
    counts = {name: sum(part[name] for part in parts) for name in ("accepted", "starts", "filtered")}
    missed_by = [part["missed_by"] for part in parts if part["missed_by"] is not None]
    return Tally(
        request.findings,
        request.absent,
        asked=request.count,
        **counts,
        missed_by=min(missed_by) if missed_by and counts["accepted"] < request.count else None,
        median_steps=_median([value for part in parts for value in part["steps"]]),
        median_travel_deg=_median([value for part in parts for value in part["travel_deg"]]),
    )


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 3) if values else None


def _unit_table(folder: Path, config: str, index: int) -> Path:
    return folder / WORK / f"{config}-{index:05d}.parquet"


def _unit_record(folder: Path, index: int) -> Path:
    return folder / WORK / f"unit-{index:05d}.json"


def _plain(value: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(value))


def _plan_of(build: BuildRecord) -> dict[str, object]:
    return {
        "requests": _in_words((tally.findings, tally.absent, tally.asked) for tally in build.tallies),
        "seed": build.seed,
        **{role: record.sha256[:12] for role, record in build.weights.items()},
        **build.settings,
    }


def _comparable(plan: Mapping[str, Any]) -> dict[str, object]:
    return {
        "requests": _in_words((item["findings"], item["absent"], item["count"]) for item in plan["requests"]),
        "seed": plan["seed"],
        **{role: sha256[:12] for role, sha256 in plan["weights"].items()},
        **plan["search"],
        **plan.get("versions", {}),
    }


def _in_words(requests: Iterable[tuple[Sequence[str], Sequence[str], int]]) -> str:
    """The order counts too: it decides the order of the rows."""
    return ", ".join(
        f"{count} {'|'.join(findings)}" + (f" without {'|'.join(absent)}" if absent else "")
        for findings, absent, count in requests
    )


def _changed(folder: Path, what: str, before: Mapping[str, object], after: Mapping[str, object]) -> PlanChangedError:
    changes = [
        f"{key}: {before[key]} there, {after[key]} now" for key in after if key in before and before[key] != after[key]
    ]
    return PlanChangedError(
        f"{folder} holds {what} of another plan: {'; '.join(changes) or 'of another version of xrarchive'}.",
        fix="Give the same arguments to continue it, or another --out for a new archive.",
        path=folder,
    )
