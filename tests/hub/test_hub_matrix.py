"""The fault matrix; `fault_matrix.py` prints it as a table. A sample is in the quick run, all of it in the slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from fault_matrix import ENDPOINTS, KINDS, Cell, all_cells, count_calls, run_cell
from fault_world import Transport, World, make_world

# One of each endpoint with one of each kind, as the diagonals of the table.
SAMPLE = {
    f"lfs-{endpoint.name}-{KINDS[(5 * at) % len(KINDS)].name}-first"
    for at, endpoint in enumerate(ENDPOINTS)
    if "lfs" in endpoint.transports
} | {"lfs-commit-reset-after-last", "lfs-tag-503-lasting", "xet-xet-write-token-403-lasting", "xet-commit-503-last"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="module")
def calls_of(world: World) -> Callable[[Transport], Counter[str]]:
    known: dict[Transport, Counter[str]] = {}

    def calls(transport: Transport) -> Counter[str]:
        if transport not in world.before:
            pytest.skip("hf_xet is not installed, or its local:// stores have changed")
        if transport not in known:
            known[transport] = count_calls(world, transport)
        return known[transport]

    return calls


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=cell.name, marks=[] if cell.name in SAMPLE else [pytest.mark.slow]) for cell in all_cells()],
)
def test_every_fault_ends_in_one_right_release(
    world: World, calls_of: Callable[[Transport], Counter[str]], cell: Cell
) -> None:
    run_cell(world, cell, calls_of(cell.transport)[cell.endpoint.name])


def test_the_sample_is_part_of_the_table() -> None:
    assert {cell.name for cell in all_cells()} >= SAMPLE


def test_every_call_of_a_release_is_in_the_table(calls_of: Callable[[Transport], Counter[str]]) -> None:
    counted = calls_of("lfs")
    assert {endpoint.name for endpoint in ENDPOINTS if "lfs" in endpoint.transports} == set(counted)
