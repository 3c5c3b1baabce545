"""Units to a finished archive. Units arrive in any order and survive crashes; shards and manifest follow from them.

.work/plan.json            the plan these units belong to
.work/data-00003.parquet, .work/provenance-00003.parquet, .work/unit-00003.json (last): one finished unit
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xrarchive.archive.manifest import MANIFEST_NAME, FileRecord, Manifest, WeightsRecord, read_manifest, write_manifest
from xrarchive.archive.reader import read_shard
from xrarchive.archive.readme import write_readme
from xrarchive.archive.schema import CONFIGS, DATA, SHARD_ROWS, features_of, shard_name, to_tables, write_shard
from xrarchive.errors import InputDataError, PlanChangedError, ShortfallError, StorageError
from xrarchive.files import is_locked, read_json, sha256_file, write_json
from xrarchive.plan import Plan
from xrarchive.records import SyntheticImage, Tally

WORK = ".work"
# How long a process of a torchrun waits for the others: a unit at 1024 px takes minutes.
AWAIT_S = 1800.0
_AWAIT_STEP_S = 0.2


def claim_folder(folder: Path, plan: Plan) -> Manifest | None:
    """Prepare `folder` for this plan. Returns the manifest if the plan's archive is already finished there.

    Raises:
        PlanChangedError: If the folder holds an archive, finished or begun, of another plan.
        InputDataError: If the folder holds something that is no archive.
    """
    if (folder / MANIFEST_NAME).exists():
        manifest = read_manifest(folder)
        if manifest.plan_sha256 != plan.sha256:
            raise _changed(folder, "a finished archive", _plan_of(manifest), _comparable(plan.as_dict()))
        shutil.rmtree(folder / WORK, ignore_errors=True)  # left if we were killed after the manifest was written
        return manifest
    work = folder / WORK
    if (work / "plan.json").exists():
        begun = read_json(work / "plan.json", what="plan", fix=f"Remove {work}.")
        if begun != _plain(plan):
            raise _changed(folder, "an unfinished archive", _comparable(begun), _comparable(plan.as_dict()))
        return None
    strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strangers:
        raise InputDataError(
            f"{folder} is not empty and holds no archive: {', '.join(strangers[:5])}.",
            fix="Choose an empty or new output folder.",
            path=folder,
        )
    work.mkdir(exist_ok=True)
    write_json(work / "plan.json", plan.as_dict())
    return None


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


def await_units(folder: Path, plan: Plan, *, timeout_s: float = AWAIT_S) -> None:
    """Wait for units that other processes make; a unit that comes begins the waiting anew.

    Raises:
        StorageError: If none comes any more.
    """
    while missing := missing_units(folder, plan):
        _await(lambda: len(missing_units(folder, plan)) < len(missing), f"unit {missing[0]} of {folder}", timeout_s)


def await_manifest(folder: Path, plan: Plan, *, timeout_s: float = AWAIT_S) -> Manifest:
    """Wait until the first process has joined the units.

    Raises:
        StorageError: If it does not.
    """
    _await(lambda: _is_finished(folder, plan), f"the manifest of {folder}", timeout_s)
    return read_manifest(folder)


def missing_units(folder: Path, plan: Plan) -> list[int]:
    """Indices of the units not yet finished."""
    return [index for index in range(plan.units) if not _unit_record(folder, index).exists()]


def write_unit(
    folder: Path, index: int, images: Sequence[SyntheticImage], tallies: Sequence[Tally], vocabulary: Sequence[str]
) -> None:
    """Keep a finished unit; its record comes last and makes it count."""
    for config, table in to_tables(images, vocabulary).items():
        write_shard(_unit_table(folder, config, index), [table], table.schema)
    write_json(_unit_record(folder, index), {"tallies": [_with_ways(tally, images) for tally in tallies]})


def finish_archive(
    folder: Path,
    plan: Plan,
    *,
    vocabulary: Sequence[str],
    nuisances: Sequence[str],
    size_px: int,
    weights: Mapping[str, WeightsRecord],
    versions: Mapping[str, str],
    terms: Sequence[str],
) -> Manifest:
    """Join all units into shards, write README's YAML and then the manifest, and remove the units.

    Raises:
        ShortfallError: If not one image was accepted.
        DamageError: If a unit cannot be read back.
    """
    files: dict[str, FileRecord] = {}
    counts: Counter[str] = Counter()
    for config in CONFIGS:
        schema = features_of(config, vocabulary).arrow_schema
        for index, tables in enumerate(_shards(folder, plan, config)):
            name = shard_name(config, index)
            rows = write_shard(folder / name, tables, schema)
            files[name] = FileRecord(sha256_file(folder / name), (folder / name).stat().st_size, rows)
            if config == DATA:
                counts.update(vocabulary[label] for table in tables for label in table["label"].to_pylist())
            tables.clear()  # before the next shard is read: one in memory at a time
    tallies = _sum_tallies(folder, plan)
    if not counts:
        asked, starts = (sum(getattr(tally, name) for tally in tallies) for name in ("asked", "starts"))
        raise ShortfallError(
            f"Not one of {asked} images was reached from {starts} starts, so {folder} holds no archive.",
            fix="Ask for other findings with another --out, or train a generator and a guide that know these.",
            path=folder,
        )
    manifest = Manifest(
        findings=tuple(vocabulary),
        nuisances=tuple(nuisances),
        size_px=size_px,
        rows=sum(counts.values()),
        counts=dict(counts),
        tallies=tallies,
        files=files,
        weights=dict(weights),
        seed=plan.seed,
        settings=dataclasses.asdict(plan.search),
        plan_sha256=plan.sha256,
        versions=dict(versions),
        terms=tuple(terms),
    )
    write_readme(folder, manifest)
    write_manifest(folder, manifest)
    shutil.rmtree(folder / WORK)
    return manifest


def _is_claim(path: Path, plan: Plan) -> bool:
    return path.exists() and read_json(path, what="plan", fix=f"Remove {path.parent}.") == _plain(plan)


def _is_finished(folder: Path, plan: Plan) -> bool:
    return (folder / MANIFEST_NAME).exists() and read_manifest(folder).plan_sha256 == plan.sha256


def _await(holds: Callable[[], bool], what: str, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end_s:
            raise StorageError(
                f"Waited {timeout_s:.0f} s for {what}; it did not come.",
                fix="Look at the messages of the other processes, then run the same command again.",
            )
        time.sleep(_AWAIT_STEP_S)


def _shards(folder: Path, plan: Plan, config: str) -> Iterator[list[pa.Table]]:
    """Tables of each shard: units in order, cut every `SHARD_ROWS` rows."""
    waiting: list[pa.Table] = []
    rows = 0
    for index in range(plan.units):
        fix = f"Remove {folder / WORK} and run the same command again."
        table = read_shard(_unit_table(folder, config, index), fix=fix)
        while rows + table.num_rows >= SHARD_ROWS:
            taken = SHARD_ROWS - rows
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


def _sum_tallies(folder: Path, plan: Plan) -> tuple[Tally, ...]:
    parts: dict[tuple[tuple[str, ...], tuple[str, ...]], list[dict[str, Any]]] = {
        (request.findings, request.absent): [] for request in plan.requests
    }
    for index in range(plan.units):
        record = read_json(_unit_record(folder, index), what="unit record", fix=f"Remove {folder / WORK}.")
        for tally in record["tallies"]:
            parts[tuple(tally["findings"]), tuple(tally["absent"])].append(tally)
    return tuple(_sum_tally(*request, tallies) for request, tallies in parts.items())


def _sum_tally(findings: tuple[str, ...], absent: tuple[str, ...], parts: Sequence[Mapping[str, Any]]) -> Tally:
    counts = {name: sum(part[name] for part in parts) for name in ("asked", "accepted", "starts", "filtered")}
    return Tally(
        findings,
        absent,
        **counts,
        missed_by=min((part["missed_by"] for part in parts if part["missed_by"] is not None), default=None),
        median_steps=_median([value for part in parts for value in part["steps"]]),
        median_travel_deg=_median([value for part in parts for value in part["travel_deg"]]),
    )


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 3) if values else None


def _unit_table(folder: Path, config: str, index: int) -> Path:
    return folder / WORK / f"{config}-{index:05d}.parquet"


def _unit_record(folder: Path, index: int) -> Path:
    return folder / WORK / f"unit-{index:05d}.json"


def _plain(plan: Plan) -> Any:
    return json.loads(json.dumps(plan.as_dict()))


def _plan_of(manifest: Manifest) -> dict[str, object]:
    return {
        "requests": _in_words((tally.findings, tally.absent, tally.asked) for tally in manifest.tallies),
        "seed": manifest.seed,
        **{role: record.sha256[:12] for role, record in manifest.weights.items()},
        **manifest.settings,
    }


def _comparable(plan: Mapping[str, Any]) -> dict[str, object]:
    return {
        "requests": _in_words((item["findings"], item["absent"], item["count"]) for item in plan["requests"]),
        "seed": plan["seed"],
        **{role: sha256[:12] for role, sha256 in plan["weights"].items()},
        **plan["search"],
    }


def _in_words(requests: Iterable[tuple[Sequence[str], Sequence[str], int]]) -> str:
    """The order counts too: it decides the order of the rows."""
    return ", ".join(
        f"{count} {'|'.join(findings)}" + (f" without {'|'.join(absent)}" if absent else "")
        for findings, absent, count in requests
    )


def _changed(folder: Path, what: str, before: Mapping[str, object], after: Mapping[str, object]) -> PlanChangedError:
    changes = [
        f"{key}: {before.get(key)} there, {value} now" for key, value in after.items() if before.get(key) != value
    ]
    return PlanChangedError(
        f"{folder} holds {what} of another plan: {'; '.join(changes)}.",
        fix="Give the same arguments to continue it, or another --out for a new archive.",
        path=folder,
    )
