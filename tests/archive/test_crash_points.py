"""Commands that change an archive die at every step they take on disk: the same command again ends as if they had not.

In between README names shards that are there, so that `datasets` loads the archive as it was or as it will be.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from life_world import (
    DATE,
    assert_sound,
    dies_at,
    extend_made,
    files_below,
    is_archive,
    load,
    rows_by_readme,
    rows_of,
)
from made_archive import make_archive, make_plan, small_shards

from xrarchive.archive.changing import find_leftovers, remove_leftovers, split, withdraw
from xrarchive.archive.merging import merge
from xrarchive.errors import InputDataError

SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}
GONE = ["s3-Mass-000001", "s3-Effusion+Mass-000001"]


@dataclass(frozen=True)
class World:
    """`before` is copied to where the command works; `other` is a second archive to merge with."""

    before: Path
    other: Path


@pytest.fixture(scope="module", autouse=True)
def shards_of_six() -> Iterator[None]:
    with small_shards(6):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    return World(make_archive(folder / "before"), make_archive(folder / "other", make_plan(seed=4)))


def withdraw_ids(folder: Path, _: World) -> None:
    withdraw(folder, ids=GONE, reason="burned-in text", date=DATE)


def withdraw_where(folder: Path, _: World) -> None:
    with contextlib.suppress(InputDataError):  # they went before
        withdraw(folder, where="image_id.str.endswith('1')", reason="burned-in text", date=DATE)


COMMANDS: dict[str, Callable[[Path, World], object]] = {
    "withdraw ids": withdraw_ids,
    "withdraw where": withdraw_where,
    "split": lambda folder, _: split(folder, SHARES),
    "extend": lambda folder, _: extend_made(folder, 5),
    "merge": lambda folder, world: merge(world.before, world.other, folder),
}


def start(name: str, folder: Path, world: World) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if name != "merge":
        shutil.copytree(world.before, folder)


def each_death(name: str, folder: Path, world: World, every: int = 1) -> Iterator[int]:
    """The state a death at every step leaves, or at some, one after the other."""
    step = every // 2
    while True:
        start(name, folder, world)
        if not dies_at(step, folder, lambda: COMMANDS[name](folder, world)):
            assert step > 10, "the command took no steps"
            return
        yield step
        step += every


SOME_AND_ALL = [pytest.param(9, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]


@pytest.mark.parametrize("every", SOME_AND_ALL)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_again_ends_as_if_nothing_had_been(name, every, world, tmp_path):
    folder, straight = tmp_path / "archive", tmp_path / "straight"
    start(name, straight, world)
    COMMANDS[name](straight, world)
    wanted, after = files_below(straight), rows_of(straight)
    before = {} if name == "merge" else rows_of(world.before)
    for step in each_death(name, folder, world, every):
        if is_archive(folder):
            assert rows_of(folder) in (before, after), step
            assert rows_by_readme(folder) in (before, after), step
        COMMANDS[name](folder, world)
        assert files_below(folder) == wanted, step
    assert_sound(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_gc_takes_the_archive_back_or_on_and_nothing_is_left(name, world, tmp_path):
    folder, straight = tmp_path / "archive", tmp_path / "straight"
    start(name, straight, world)
    COMMANDS[name](straight, world)
    before, wanted = rows_of(world.before), files_below(straight)
    for step in each_death(name, folder, world):
        if not folder.exists():
            continue
        remove_leftovers(folder, unfinished=True)
        assert find_leftovers(folder, unfinished=True) == (), step
        if is_archive(folder):
            assert_sound(folder)
            assert rows_by_readme(folder) == rows_of(folder), step
            assert rows_of(folder) in (before, rows_of(straight)), step
        COMMANDS[name](folder, world)
        assert files_below(folder) == wanted, step


def test_gc_itself_may_die(world, tmp_path):
    folder, straight = tmp_path / "archive", tmp_path / "straight"
    start("extend", straight, world)
    extend_made(straight, 6)
    step = died = 0
    while True:
        start("extend", folder, world)
        extend_made(folder, 5, units=1)  # of another extension than the one below
        if not dies_at(step, folder, lambda: remove_leftovers(folder, unfinished=True)):
            break
        died += 1
        remove_leftovers(folder, unfinished=True)
        extend_made(folder, 6)
        assert files_below(folder) == files_below(straight), step
        step += 1
    assert died > 4


@pytest.mark.slow
def test_another_command_after_a_death(world, tmp_path):
    """Whatever a split left, a withdrawal takes out of every file; and the other way round."""
    folder = tmp_path / "archive"
    for first, then in (("split", "withdraw ids"), ("extend", "split"), ("withdraw ids", "split")):
        for step in each_death(first, folder, world):
            remove_leftovers(folder, unfinished=True) if first == "extend" else None
            COMMANDS[then](folder, world)
            assert_sound(folder)
            assert find_leftovers(folder, unfinished=True) == (), (first, step)
            assert rows_by_readme(folder) == rows_of(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "merge"])
def test_datasets_loads_it_at_every_moment(name, world, tmp_path):
    folder = tmp_path / "archive"
    start(name, folder, world)
    COMMANDS[name](folder, world)
    wanted = {frozenset(rows_of(world.before)), frozenset(rows_of(folder))}
    for step in each_death(name, folder, world):
        assert load(folder, tmp_path / f"cache-{step}") in wanted, step
