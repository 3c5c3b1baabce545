from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from datasets import load_dataset
from tiny_archive import TinyArchive, sha256

import xrarchive
from xrarchive.archive.manifest import RECEIPT_NAME
from xrarchive.archive.reader import check_archive
from xrarchive.errors import InputDataError, LockedError, PlanChangedError, SettingsError
from xrarchive.files import locked
from xrarchive.hub import (
    Access,
    Publication,
    look_at_folder,
    plan_publication,
    publish_to_folder,
    retract_in_folder,
    shelf,
)
from xrarchive.pretrained import find_weights

REPO = "ward/xrays"
INSIDE = Access(inside=True)


def plan_of(archive: TinyArchive, version: str | None = None, *, weights: bool = False) -> Publication:
    given = {"model_repo": REPO, "weights": archive.weights, "model_card": f"# Weights of {REPO}"} if weights else {}
    return plan_publication(archive.folder, REPO, version, access=INSIDE, **given)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


def tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_version_is_a_whole_archive_that_datasets_reads(root: Path, archive: TinyArchive, tmp_path: Path) -> None:
    receipt = publish_to_folder(plan_of(archive), root)
    place = root / "ward" / "xrays" / "v1.0.0"
    assert receipt is not None
    assert receipt.load_line == f'load_dataset("{place}")'
    assert check_archive(place, read_data=True, decode=True).sound
    rows = load_dataset(str(place), split="train", cache_dir=str(tmp_path / "cache"))
    assert (rows.num_rows, receipt.already_published) == (6, False)
    assert json.loads((archive.folder / RECEIPT_NAME).read_text())["folder"] == str(place)
    assert not any(path.stat().st_mode & 0o222 for path in place.rglob("*.parquet"))
    again = publish_to_folder(plan_of(archive), root)
    assert again is not None
    assert again.already_published


def test_weights_lie_beside_under_the_same_name(root: Path, archive: TinyArchive) -> None:
    publish_to_folder(plan_of(archive, weights=True), root)
    model = root / "models" / "ward" / "xrays" / "v1.0.0"
    assert set(tree(model)) == {"README.md", "generator.safetensors", "guide.safetensors", "judge.safetensors"}
    assert f"`{REPO}`, `v1.0.0`" in (root / REPO / "v1.0.0" / "README.md").read_text()


def test_a_version_never_changes(root: Path, archive: TinyArchive, other_archive: TinyArchive) -> None:
    publish_to_folder(plan_of(archive), root)
    before = tree(root / REPO / "v1.0.0")
    with pytest.raises(PlanChangedError, match="3 images removed") as caught:
        publish_to_folder(plan_of(other_archive, "1.0.0"), root)
    assert caught.value.code == 9
    with pytest.raises(SettingsError, match="That makes it a MAJOR version"):
        publish_to_folder(plan_of(other_archive, "1.0.1"), root)
    assert look_at_folder(plan_of(other_archive), root).version == "2.0.0"
    publish_to_folder(plan_of(other_archive), root)
    assert tree(root / REPO / "v1.0.0") == before
    index = json.loads((root / REPO / "index.json").read_text())
    assert list(index["versions"]) == ["v1.0.0", "v2.0.0"]
    assert {name: item["sha256"] for name, item in index["versions"]["v1.0.0"]["files"].items()} == before


def test_unchanged_shards_are_stored_once(root: Path, archive: TinyArchive) -> None:
    publish_to_folder(plan_of(archive), root)
    archive.write_card(f"New words on {archive.manifest_sha256}.")
    publish_to_folder(plan_of(archive), root)
    first, second = root / REPO / "v1.0.0", root / REPO / "v1.0.1"
    shards = [path.relative_to(first) for path in first.rglob("*.parquet")]
    assert len(shards) == 4
    assert all((first / path).samefile(second / path) for path in shards)
    assert not (first / "README.md").samefile(second / "README.md")


def test_a_rotten_shard_is_not_passed_on(root: Path, archive: TinyArchive) -> None:
    publish_to_folder(plan_of(archive), root)
    shard = root / REPO / "v1.0.0" / "data" / "train-00000.parquet"
    shard.chmod(0o644)
    shard.write_bytes(b"rotten")
    publish_to_folder(plan_of(archive, "1.0.1"), root)
    assert sha256(root / REPO / "v1.0.1" / "data" / "train-00000.parquet") == sha256(
        archive.folder / "data" / "train-00000.parquet"
    )


def test_a_file_system_without_hard_links_gets_copies(
    root: Path, archive: TinyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    publish_to_folder(plan_of(archive), root)
    monkeypatch.setattr(shelf.os, "link", refuse)
    publish_to_folder(plan_of(archive, "1.0.1"), root)
    assert check_archive(root / REPO / "v1.0.1", read_data=True).sound


def test_a_share_that_is_not_mounted_is_not_made(tmp_path: Path, archive: TinyArchive) -> None:
    with pytest.raises(InputDataError, match="There is no folder"):
        publish_to_folder(plan_of(archive), tmp_path / "unmounted")
    assert not (tmp_path / "unmounted").exists()


def test_nothing_is_written_without_a_yes(root: Path, archive: TinyArchive) -> None:
    asked: list[Publication] = []

    def no(plan: Publication) -> bool:
        asked.append(plan)
        return False

    assert publish_to_folder(plan_of(archive), root, confirm=no) is None
    assert asked[0].version == "1.0.0"
    assert list(root.iterdir()) == []


def test_two_at_once_are_told(root: Path, archive: TinyArchive) -> None:
    plan = plan_of(archive)
    with locked(root / REPO):
        code = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
from xrarchive.errors import LockedError
from xrarchive.hub import Access, plan_publication, publish_to_folder
plan = plan_publication(Path({str(archive.folder)!r}), {REPO!r}, access=Access(inside=True))
try:
    publish_to_folder(plan, Path({str(root)!r}))
except LockedError as err:
    print(err.code)
"""
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(LockedError.code)
    assert publish_to_folder(plan, root) is not None


def test_an_index_that_was_not_written_is_made_good(root: Path, archive: TinyArchive) -> None:
    publish_to_folder(plan_of(archive), root)
    index = root / REPO / "index.json"
    before = index.read_text()
    index.unlink()
    publish_to_folder(plan_of(archive), root)
    assert index.read_text() == before


def publish_and_die(plan: Publication, root: Path, at: int) -> bool:
    """Publish in a child that is killed at call number `at` of ours; whether it came that far."""
    child = os.fork()
    if child == 0:
        calls = 0

        def count(frame: types.FrameType, event: str, _: object) -> None:
            nonlocal calls
            calls += event == "call" and frame.f_code.co_filename.endswith(("hub/shelf.py", "xrarchive/files.py"))
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        publish_to_folder(plan, root)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_killed_anywhere_leaves_the_old_version_or_the_new_one(
    root: Path, archive: TinyArchive, other_archive: TinyArchive
) -> None:
    """SIGKILL at every call of ours, the same command again and again until it ends."""
    publish_to_folder(plan_of(archive), root)
    place, plan = root / REPO, plan_of(other_archive, "2.0.0")
    old, killed = tree(place / "v1.0.0"), 0
    while publish_and_die(plan, root, killed + 1):
        killed += 1
        assert tree(place / "v1.0.0") == old
        if (place / "v2.0.0").exists():
            assert check_archive(place / "v2.0.0", read_data=True).sound
            shutil.rmtree(place / "v2.0.0")
    assert killed > 50
    assert check_archive(place / "v2.0.0", read_data=True).sound
    left = sorted(path.name for path in place.iterdir() if not path.name.startswith(".lock"))
    assert left == ["index.json", "v1.0.0", "v2.0.0"]
    assert list(shelf.read_index(place)) == ["v1.0.0", "v2.0.0"]


def test_xrarchive_loads_a_version_and_says_if_it_was_retracted(
    root: Path, archive: TinyArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    publish_to_folder(plan_of(archive, weights=True), root)
    assert len(xrarchive.load(root / REPO, revision="v1.0.0", split="train")) == 6
    assert find_weights(root / REPO, "judge", "v1.0.0") == root / "models" / REPO / "v1.0.0" / "judge.safetensors"
    assert caplog.messages == []
    retract_in_folder(root, REPO, "v1.0.0", reason="Labels were swapped.", date="2026-11-23")
    assert len(xrarchive.load(root / REPO, revision="v1.0.0", split="train")) == 6
    assert [line.partition(" was ")[2] for line in caplog.messages] == ["retracted on 2026-11-23: Labels were swapped."]
