"""An archive's life without weights: extensions of noise, commands that die at a chosen step, what is then on disk."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from made_archive import FINDINGS, REQUESTS, finish, make_image, make_plan, write_units

from xrarchive.archive import shards, writer
from xrarchive.archive.changing import find_leftovers, remove_leftovers
from xrarchive.archive.manifest import MANIFEST_NAME, Manifest, read_manifest, split_of
from xrarchive.archive.reader import check_archive
from xrarchive.archive.readme import read_head
from xrarchive.archive.schema import DATA, PROVENANCE, hash_pixels
from xrarchive.building.asking import still_wanted
from xrarchive.files import locked
from xrarchive.plan import Plan, SearchSettings
from xrarchive.records import ImageRequest

DIED = 77
DATE = "2026-01-02"
_TOUCHES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
Rows = dict[str, tuple[str, str, str]]


def plan_extension(folder: Path, total: int) -> Plan | None:
    """So many of every request of `made_archive`, as `building.extend` plans it; None = there are enough."""
    manifest = read_manifest(folder)
    record = manifest.builds[-1]
    wanted = [ImageRequest(request.findings, total, request.absent) for request in REQUESTS]
    asked = still_wanted(folder, manifest, wanted, record.seed)
    weights = {role: found.sha256 for role, found in record.weights.items()}
    first = manifest.units(record.seed)
    return Plan(asked, weights, record.seed, SearchSettings(**record.settings), first) if asked else None


def extend_made(folder: Path, total: int, *, units: int | None = None) -> None:
    """Extend, or make only so many units of the extension."""
    plan = plan_extension(folder, total)
    if plan is None:
        if find_leftovers(folder):
            remove_leftovers(folder)
        return
    with locked(folder):
        if writer.claim_folder(folder, plan, extending=True) is not None:
            return
        missing = writer.missing_units(folder, plan)
        write_units(folder, plan, missing[:units], build=len(read_manifest(folder).builds))
        if not writer.missing_units(folder, plan):
            finish(folder, plan)


def rows_of(folder: Path) -> Rows:
    """Split, label and pixel hash of every image, by id, as the manifest has it; both configs agree on the ids."""
    manifest = read_manifest(folder)
    return _rows(folder, manifest.shards(DATA), manifest.shards(PROVENANCE))


def rows_by_readme(folder: Path) -> Rows:
    """The same as README has it, which is what `datasets` believes."""
    head = read_head(folder)
    assert head is not None, "README has no head"
    named = {
        entry["config_name"]: tuple(path for files in entry["data_files"] for path in files["path"])
        for entry in head["configs"]
    }
    return _rows(folder, named["default"], named["provenance"])


def _rows(folder: Path, data: tuple[str, ...], provenance: tuple[str, ...]) -> Rows:
    rows: Rows = {}
    for name in data:
        table = writer.read_shard(folder / name, ["image_id", "label", "pixels_sha256"], fix="")
        for row in table.to_pylist():
            assert row["image_id"] not in rows, "an id occurs twice"
            rows[row["image_id"]] = (split_of(name), FINDINGS[row["label"]], row["pixels_sha256"])
    twins = [writer.read_shard(folder / name, ["image_id"], fix="")["image_id"].to_pylist() for name in provenance]
    assert [image_id for ids in twins for image_id in ids] == list(rows), "provenance is of other images"
    return rows


def rows_of_plan(plan: Plan) -> dict[str, tuple[str, str]]:
    """Label and pixel hash of what a plan makes."""
    images = [make_image(plan, planned) for index in range(plan.units) for planned in plan.unit(index)]
    return {image.image_id: (image.findings[0], hash_pixels(image.pixels)) for image in images}


def load(folder: Path, cache: Path) -> set[str]:
    """Ids of all splits, by `datasets` itself."""
    ids: set[str] = set()
    for config in ("default", "provenance"):
        found = datasets.load_dataset(str(folder), config, cache_dir=str(cache))
        ids = {image_id for split in found.values() for image_id in split["image_id"]}
    return ids


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file, hidden ones too, but the lock and the name of who held it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", ".lock-holder")
    }


def assert_sound(folder: Path) -> Manifest:
    report = check_archive(folder, read_data=True, decode=True)
    assert report.problems == ()
    assert not (folder / shards.WORK).exists() or shards.has_unfinished(folder, read_manifest(folder))
    return read_manifest(folder)


def dies_at(step: int, folder: Path, job: Callable[[], object]) -> bool:
    """Do `job` in a fork that dies, without any clean-up, before it touches `folder` for the `step`-th time.

    False if it ended before, and well. Touches are what Python reports to audit hooks; Parquet is written by Arrow,
    under a temporary name until it is renamed.
    """
    child = os.fork()
    if child == 0:
        left = [step]

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            if event not in _TOUCHES or str(folder) not in str(arguments[0]):
                return
            if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
            left[0] -= 1
            if left[0] < 0:
                os._exit(DIED)

        code = 1
        try:
            sys.addaudithook(count)
            job()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, DIED), f"the command failed with {code}"
    return code == DIED


def is_archive(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).exists()


def made_plan(seed: int = 3) -> Plan:
    return make_plan(seed=seed)
