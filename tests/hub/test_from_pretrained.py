"""Weights and archives by name from a loopback Hub: what comes, from where, offline, and what every fault means."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from loopback import LoopbackHub
from made_archive import make_archive
from repositories import Repository, StoredFile

import xrarchive
from xrarchive.archive.changing import withdraw
from xrarchive.bundled import bundled_weights
from xrarchive.errors import AccessError, DamageError, InputDataError, RemoteError
from xrarchive.hub.locating import Remote, locate

REPO = "tester/chests"
ROLES = ("generator", "guide", "judge")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    return tmp_path / "cache"


def push(hub: LoopbackHub, kind: str, files: dict[str, bytes], tag: str = "v1.0.0") -> str:
    repository = hub.repositories.setdefault((kind, REPO), Repository(kind, REPO))
    large = (".safetensors", ".parquet")
    commit = repository.add_commit(
        {path: StoredFile(data, large=path.endswith(large)) for path, data in files.items()}, tag
    )
    repository.tags[tag] = commit
    return commit


def push_weights(hub: LoopbackHub, **more: bytes) -> str:
    weights = {f"{role}.safetensors": bundled_weights(role).read_bytes() for role in ROLES}
    return push(hub, "models", {"README.md": b"# Weights", **weights, **more})


def push_archive(hub: LoopbackHub, folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return push(hub, "datasets", {path.relative_to(folder).as_posix(): path.read_bytes() for path in files})


def test_weights_as_they_were_published(hub: LoopbackHub) -> None:
    commit = push_weights(hub)
    generator = xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0")
    assert np.array_equal(generator.generate(2), xrarchive.Generator.from_pretrained().generate(2))
    judge = xrarchive.Classifier.from_pretrained(f"{REPO}@{commit}")
    assert judge.sha256 == xrarchive.Classifier.from_pretrained("bundled").sha256
    assert not hub.calls("GET", "guide.safetensors")  # nothing is fetched that nobody asked for


def test_offline_from_the_cache(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    push_weights(hub)
    push_archive(hub, make_archive(tmp_path / "made"))
    xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0")
    assert len(xrarchive.load(REPO, revision="v1.0.0", split="train")) == 9
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.log.clear()
    assert xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0").size_px == 64
    assert len(xrarchive.load(REPO, revision="v1.0.0", split="train")) == 9
    assert hub.log == []
    with pytest.raises(RemoteError, match="not in the cache, and HF_HUB_OFFLINE is set") as caught:
        xrarchive.Classifier.from_pretrained(REPO, revision="v1.0.0")
    assert "with a network" in caught.value.fix
    with pytest.raises(RemoteError, match="HF_HUB_OFFLINE"):
        xrarchive.load(REPO, revision="v2.0.0")


def test_the_hub_is_down_and_the_cache_is_there(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit = push_weights(hub)
    xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0").size_px == 64
    assert f"Taken from the cache instead: commit {commit}" in caplog.text


def test_a_tag_that_moved_is_followed(hub: LoopbackHub) -> None:
    push_weights(hub)
    xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0")
    push(hub, "models", {"README.md": b"empty"})
    with pytest.raises(InputDataError, match=r"holds no weights: no generator\.safetensors"):
        xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0")


def test_a_dataset_is_no_model(hub: LoopbackHub, tmp_path: Path) -> None:
    push_archive(hub, make_archive(tmp_path / "made"))
    with pytest.raises(InputDataError, match="is a dataset") as caught:
        xrarchive.Generator.from_pretrained(REPO)
    assert f'xrarchive.load("{REPO}")' in caught.value.fix


def test_a_repository_or_revision_that_is_not_there(hub: LoopbackHub) -> None:
    with pytest.raises(AccessError, match="no such repository that we may read") as caught:
        xrarchive.Generator.from_pretrained("tester/nothing")
    assert "hf auth login" in caught.value.fix
    push_weights(hub)
    with pytest.raises(InputDataError, match="no such revision"):
        xrarchive.Generator.from_pretrained(REPO, revision="v9.0.0")


def test_bytes_that_changed_in_the_cache(hub: LoopbackHub, cache: Path) -> None:
    push_weights(hub)
    path = xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0").path.resolve()
    assert cache in path.parents
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamageError, match="in the cache, the Hub says") as caught:
        xrarchive.Generator.from_pretrained(REPO, revision="v1.0.0")
    assert str(path) in caught.value.fix


def test_the_life_of_an_archive_on_the_hub(hub: LoopbackHub, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "made")
    withdraw(archive, ids=["s3-Mass-000001"], reason="burned-in text", date="2026-01-02")
    push_archive(hub, archive)
    log = xrarchive.log(REPO, revision="v1.0.0")
    assert (log["archive"], log["version"]) == (REPO, "2.0.0")
    assert [item["image_id"] for item in log["withdrawn"]] == ["s3-Mass-000001"]
    assert not hub.calls("GET", ".parquet")


def test_an_archive_is_browsed_from_the_hub(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_archive(tmp_path / "made")
    push_archive(hub, archive)
    monkeypatch.chdir(tmp_path)
    report = xrarchive.browse(f"{REPO}@v1.0.0")
    assert report.out == Path("tester-chests-v1.0.0.html")
    assert f'"name":"{REPO}@v1.0.0"' in report.out.read_text()
    shutil.rmtree(archive)


@pytest.mark.parametrize(
    ("name", "revision", "repo", "found"),
    [("a/b", None, "a/b", "main"), ("a/b@v1.0.0", None, "a/b", "v1.0.0"), ("a/b", "v1.0.0", "a/b", "v1.0.0"),
     ("a/b@v1.0.0", "v1.0.0", "a/b", "v1.0.0")],
)  # fmt: skip
def test_names_of_repositories(name: str, revision: str | None, repo: str, found: str) -> None:
    assert locate(name, revision) == Remote(repo, found)


def test_two_revisions_are_one_too_many() -> None:
    with pytest.raises(InputDataError, match="Two revisions"):
        locate("a/b@v1.0.0", "v2.0.0")
