"""Kills, damage, full disks and second writers, done to an archive that changes."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from life_world import DATE, assert_sound, extend_made, files_below, rows_by_readme, rows_of
from made_archive import make_archive, make_plan, small_shards
from tiny_build import file_size_limit

from xrarchive.archive.changing import remove_leftovers, split, withdraw
from xrarchive.archive.manifest import MANIFEST_NAME, README_NAME, SUMS_NAME, VALIDATION_NAME, read_manifest
from xrarchive.archive.merging import merge
from xrarchive.archive.reader import check_archive
from xrarchive.archive.sums import write_sums
from xrarchive.errors import DamageError, LockedError, StorageError
from xrarchive.files import TEMPORARY_PREFIX, locked

SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}
KILLS, FLIPS, LEVELS, RACES = 200, 2_000, 30, 200
_NEW_MOUNTS, _PRIVATE = 0x0002_0000, 0x0004_4000
_TMPFS_BYTES = 1 << 20


@pytest.fixture(autouse=True)
def shards_of_six() -> Iterator[None]:
    with small_shards(6):
        yield


def take_out(folder: Path) -> None:
    withdraw(folder, ids=["s3-Mass-000001", "s3-Effusion+Mass-000001"], reason="burned-in text", date=DATE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_changes_killed_at_random_moments_end_in_the_same_archive():
    script = Path(__file__).parents[1] / "kill_changes.py"
    told = subprocess.run(
        [sys.executable, script, "--kills", str(KILLS)], capture_output=True, text=True, timeout=880, check=False
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["kills"] == KILLS
    assert len(found["states"]) > 4, f"the kills did not fall on different moments: {found['states']}"


def flip(path: Path, rng: random.Random) -> bytes:
    """Flip one bit, and give the bytes of before."""
    before = path.read_bytes()
    changed = bytearray(before)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    path.write_bytes(changed)
    return before


def is_found(archive: Path) -> bool:
    try:
        return not check_archive(archive, read_data=True).sound
    except DamageError:
        return True


def flips(archive: Path, count: int) -> tuple[Counter[str], Counter[str]]:
    """So many flips, spread over all files by their sizes, and as many again over the small ones: done and missed."""
    rng, tried, missed = random.Random(5), Counter[str](), Counter[str]()
    paths = [archive / name for name in files_below(archive)]
    sizes = [path.stat().st_size for path in paths]
    for number in range(count):
        path = rng.choices(paths, sizes if number % 2 else None)[0]
        name = path.relative_to(archive).as_posix()
        before = flip(path, rng)
        tried[name] += 1
        missed[name] += not is_found(archive)
        path.write_bytes(before)
    assert check_archive(archive, read_data=True).sound
    return tried, +missed


@pytest.mark.parametrize("count", [40, pytest.param(FLIPS, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_flipped_bit_is_found_in_every_file(archive, count):
    extend_made(archive, 5)
    take_out(archive)
    (archive / VALIDATION_NAME).write_text('{"metrics": {}}\n')
    write_sums(archive, read_manifest(archive))
    tried, missed = flips(archive, count)
    assert set(tried) >= {MANIFEST_NAME, README_NAME, SUMS_NAME, VALIDATION_NAME, "data/train-00000-r2.parquet"}
    assert not missed


def test_shards_swapped_lost_added_and_cut_are_found(archive):
    first, second, twin = (archive / name for name in ("data/train-00000.parquet", "data/train-00001.parquet", "x"))

    def swap() -> None:
        first.rename(twin), second.rename(first), twin.rename(second)

    def cut() -> None:
        first.write_bytes(first.read_bytes()[:-1])

    def grow() -> None:
        first.write_bytes(first.read_bytes() + b"\0")

    kinds = {
        swap: {"wrong-size"},
        first.unlink: {"missing-file"},
        lambda: shutil.copy(first, archive / "data/train-00002.parquet"): {"surplus-file"},
        cut: {"wrong-size"},
        grow: {"wrong-size"},
    }
    whole = shutil.copytree(archive, archive.parent / "whole")
    for damage, expected in kinds.items():
        damage()
        assert {problem.id for problem in check_archive(archive, read_data=True).problems} == expected
        shutil.rmtree(archive)
        shutil.copytree(whole, archive)


COMMANDS = {
    "withdraw": lambda folder, _: take_out(folder),
    "split": lambda folder, _: split(folder, SHARES),
    "merge": lambda folder, other: merge(folder, other, folder.with_name("merged")),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_may_not_grow_costs_nothing(name, archive, tmp_path):
    other = make_archive(tmp_path / "other", make_plan(seed=4))
    straight = shutil.copytree(archive, tmp_path / "straight" / "archive")
    COMMANDS[name](straight, other)
    target = "merged" if name == "merge" else "archive"
    before, sizes = files_below(archive), sorted({len(data) for data in files_below(archive).values()})
    refused, told = 0, set[str]()
    for limit in (0, *(size - 1 for size in sizes)):
        try:
            with file_size_limit(limit):
                COMMANDS[name](archive, other)
        except StorageError as err:
            refused += 1
            told.add(err.message.partition(": ")[2] or err.message)
            assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))
            assert rows_of(archive) == rows_by_readme(archive)
            if name != "merge":
                remove_leftovers(archive)
                assert files_below(archive) == before
    assert refused > 2
    assert all("size limit" in words for words in told)
    COMMANDS[name](archive, other)
    assert files_below(tmp_path / target) == files_below(straight.with_name(target))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_costs_nothing(name, made, tmp_path):
    """In a fork: the tmpfs is of its own name space."""
    disk = tmp_path / "disk"
    disk.mkdir()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told = "the loop failed"
        try:
            told = _fill(name, made, disk)
        except BaseException as err:
            told = f"failed: {err!r}"
        finally:
            os.write(writing, told.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        told = stream.read().decode()
    os.waitpid(child, 0)
    if told.startswith("no tmpfs"):
        pytest.skip(told)
    assert told.startswith(f"{LEVELS} levels"), told


def _fill(name: str, made: Path, disk: Path) -> str:
    other = make_archive(disk.parent / "other", make_plan(seed=4))
    straight = shutil.copytree(made, disk.parent / "straight" / "archive")
    COMMANDS[name](straight, other)
    target = "merged" if name == "merge" else "archive"
    wanted = files_below(straight.with_name(target))
    libc = ctypes.CDLL(None, use_errno=True)
    for do in (
        lambda: libc.unshare(_NEW_MOUNTS),
        lambda: libc.mount(b"none", b"/", None, _PRIVATE, None),
        lambda: libc.mount(b"none", bytes(disk), b"tmpfs", 0, f"size={_TMPFS_BYTES}".encode()),
    ):
        if do():
            return f"no tmpfs of our own here ({os.strerror(ctypes.get_errno())})"
    rng, refused, told = random.Random(7), 0, set[str]()
    needed = sum(map(len, wanted.values())) + 40_000
    for level in range(LEVELS):
        folder = shutil.copytree(made, disk / "archive")
        before = rows_of(folder)
        found = os.statvfs(disk)
        free = found.f_bavail * found.f_bsize
        (disk / "ballast").write_bytes(bytes(max(0, free - int(needed * (level + rng.random()) / LEVELS))))
        try:
            COMMANDS[name](folder, other)
        except StorageError as err:
            refused += 1
            told.add(err.message)
            assert not list(disk.rglob(f"{TEMPORARY_PREFIX}*")), f"level {level}: temporary files"
            assert rows_of(folder) == before, f"level {level}: other rows"
            rows_by_readme(folder)
        (disk / "ballast").unlink()
        COMMANDS[name](folder, other)
        assert files_below(disk / target) == wanted, f"level {level}: another archive"
        assert_sound(disk / target)
        for path in disk.iterdir():
            shutil.rmtree(path)
    assert all("the disk is full" in words for words in told), told
    return f"{LEVELS} levels, {refused} refused"


def test_a_second_writer_is_told_who_holds_it(archive):
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with locked(archive):
            os.write(ready[1], b"x")
            os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    before = rows_of(archive)
    try:
        for change in (take_out, lambda folder: split(folder, SHARES), lambda folder: extend_made(folder, 5)):
            with pytest.raises(LockedError, match=f"in use by process {child} on"):
                change(archive)
        with pytest.raises(LockedError, match=f"process {child}"):
            remove_leftovers(archive)
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)
    assert rows_of(archive) == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_two_writers_at_once_one_is_refused_or_comes_after(made, tmp_path):
    """Each race: two withdrawals of other images begin together; the archive is sound and holds what was reported."""
    ids, codes = ("s3-Mass-000001", "s3-Mass-000002"), Counter[tuple[int, ...]]()
    for number in range(RACES):
        folder = shutil.copytree(made, tmp_path / f"archive-{number}")
        start = os.pipe()
        children = []
        for image_id in ids:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    os.close(start[1])
                    os.read(start[0], 1)  # ends when the parent closes its side
                    withdraw(folder, ids=[image_id], reason="x", date=DATE)
                    code = 0
                except LockedError as err:
                    code = err.code if "in use by" in err.message else 1
                finally:
                    os._exit(code)
            children.append(child)
        os.close(start[1]), os.close(start[0])
        ended = tuple(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        codes[tuple(sorted(ended))] += 1
        manifest = assert_sound(folder)
        assert {item.image_id for item in manifest.withdrawn} == {
            image_id for image_id, code in zip(ids, ended, strict=True) if code == 0
        }
        shutil.rmtree(folder)
    assert set(codes) <= {(0, 0), (0, 5)}, codes
    assert codes[0, 5] > RACES // 2, codes
