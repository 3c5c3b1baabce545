"""Units to a finished archive: claimed by one plan, made in any order, kept through crashes, joined by `shards`.

.work/plan.json            the plan these units belong to, and the versions of the packages that make them
.work/data-00003.parquet, .work/provenance-00003.parquet, .work/unit-00003.json (last): one finished unit
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from xrarchive.archive.content import read_shard
from xrarchive.archive.manifest import (
    FIRST_VERSION,
    MANIFEST_NAME,
    BuildRecord,
    Change,
    Manifest,
    WeightsRecord,
    read_manifest,
    require_current,
)
from xrarchive.archive.plans import comparable, plan_changed, plan_of
from xrarchive.archive.schema import to_tables, write_shard
from xrarchive.archive.shards import WORK, claimed_plan, commit, drop_work, has_unfinished, settle, write_shards
from xrarchive.errors import InputDataError, LockedError, PlanChangedError, ShortfallError, StorageError
from xrarchive.files import is_locked, leased, read_json, write_json
from xrarchive.plan import Plan, plan_top_up
from xrarchive.records import ImageRequest, SyntheticImage, Tally

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
            raise plan_changed(folder, "a finished archive", plan_of(manifest.builds[0]), comparable(wanted))
        if not has_unfinished(folder, manifest):
            drop_work(folder)
        if plan.first_unit != manifest.units(plan.seed):
            raise PlanChangedError(
                f"{folder} was extended by another process meanwhile.", fix="Run the same command again.", path=folder
            )
    if claim.exists():
        begun = read_json(claim, what="plan", fix=f"Remove {claim.parent}.")
        if begun != wanted:
            raise plan_changed(folder, "an unfinished archive", comparable(begun), comparable(wanted))
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


def _is_claim(path: Path, plan: Plan) -> bool:
    return path.exists() and claimed_plan(path) == plan.sha256


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
