"""Publishing killed at every call and at random, with a reader beside it: see `kill_publishes.py`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fault_world import (
    REPO,
    Transport,
    check_canary,
    check_never_half,
    check_released,
    fresh_hub,
    make_world,
)
from kill_publishes import (
    close_weights_gate,
    command,
    expected_digest,
    judge,
    kill_at_every_call,
    kill_polled,
    warm_publisher,
)
from loopback import TOKEN, serve
from repositories import StoredFile
from tiny_archive import make_archive
from wire import Fault
from xet_store import XetStore

from xrarchive.hub import publish


def require(transport: Transport, folder: Path) -> None:
    if transport == "xet" and not XetStore(folder / "probe").works():
        pytest.skip("hf_xet is not installed, or its local:// stores have changed")


def test_killed_at_some_calls(tmp_path: Path) -> None:
    told = kill_at_every_call(tmp_path, "lfs", every=13)
    assert told["kills"] > 3
    assert len(told["left"]) > 1


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["lfs", "xet"])
def test_killed_at_every_call(tmp_path: Path, transport: Transport) -> None:
    require(transport, tmp_path)
    told = kill_at_every_call(tmp_path, transport)
    assert told["kills"] >= 2 * told["calls"]
    # Kills fell before the first commit, between the repositories, between commit and tag, and after all.
    assert {
        "model as before, dataset as before",
        "model tagged, dataset as before",
        "model tagged, dataset committed",
    } < set(told["left"])


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("transport", "kills"), [("lfs", 200), ("xet", 40)])
def test_a_reader_sees_the_old_release_or_the_new(tmp_path: Path, transport: Transport, kills: int) -> None:
    require(transport, tmp_path)
    told = kill_polled(tmp_path, transport, kills, random.Random(0))
    assert told["bad"] == []
    assert told["kills"] == kills
    assert min(told["reads_of_main"], told["reads_of_tags"]) > kills / 5


@pytest.mark.slow
def test_the_command_ends_with_a_documented_code_and_then_finishes(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "made")
    close_weights_gate(archive)
    faults = [
        (Fault("GET", "/whoami", status=401), 8),
        (Fault("POST", "/preupload/", status=413), 7),
        (Fault("PUT", "/lfs/", status=403), 8),
        (Fault("POST", "/commit/", status=404), 7),
        (Fault("POST", "/commit/", applied=True), 0),
        (Fault("POST", "/tag/", status=503, applied=True), 0),
    ]
    for number, (fault, code) in enumerate(faults):
        home = tmp_path / f"{number}"
        with serve(home / "hub") as (hub, url), warm_publisher(home / "publisher", url, "lfs") as publisher:
            hub.faults.append(fault)
            assert publisher.run(command(archive, 1)) == code, publisher.said.read_text()[-2000:]
            assert publisher.run(command(archive, 1)) == 0, publisher.said.read_text()[-2000:]
            assert hub.faults == []
            assert hub.dataset(REPO).history == ["Publish v1.0.0", "initial commit"]
            assert hub.dataset(REPO).tags == {"v1.0.0": hub.dataset(REPO).branches["main"]}
    check_canary(tmp_path)


# --- what looks for faults finds them


def test_half_a_release_would_be_seen(tmp_path: Path) -> None:
    world = make_world(tmp_path, "lfs")
    with fresh_hub(world, "lfs") as (hub, waits):
        publish(world.plan, sleep=waits.append)
        check_released(hub, world)
        remote = hub.dataset(REPO)
        half = {path: file for path, file in remote.head.files.items() if path != "data/train-00001.parquet"}
        halved = remote.add_commit(half, "Publish v2.0.0")
        with pytest.raises(AssertionError, match="half a release"):
            check_never_half(hub, world)
        del remote.commits[halved]
        remote.branches["main"] = remote.tags["v2.0.0"]
        damaged = {**remote.head.files, "data/train-00000.parquet": StoredFile(b"damaged", large=True)}
        remote.tags["v2.0.0"] = remote.add_commit(damaged, "initial commit")
        with pytest.raises(AssertionError, match="not on what it names"):
            check_never_half(hub, world)


def test_a_token_in_a_file_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "said.txt").write_text(f"authorization: Bearer {TOKEN}")
    with pytest.raises(AssertionError, match=r"said\.txt holds a token"):
        check_canary(tmp_path)


def test_a_mixed_read_would_be_seen(tmp_path: Path) -> None:
    wanted = [expected_digest(make_archive(tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 1))]
    good = [{"revision": "main", "digest": wanted[1]}, {"revision": "v2.0.0", "digest": wanted[1]}]
    bad = [{"revision": "v1.0.0", "digest": wanted[1]}, {"revision": "main", "error": "OSError: gone"}]
    assert judge([*good, *bad], wanted) == {"reads_of_main": 2, "reads_of_tags": 2, "bad": bad}
