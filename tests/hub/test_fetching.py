"""Archives compared over a loopback Hub: what is asked for, and what every fault means."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from huggingface_hub import constants
from loopback import LoopbackHub
from repositories import Repository, StoredFile
from wire import Fault

from xrarchive import pipeline
from xrarchive.archive.changing import withdraw
from xrarchive.errors import AccessError, DamageError, InputDataError, RemoteError
from xrarchive.hub.fetching import open_source

REPO, GONE = "tester/chests", "s3-Mass-000001"


def made_archive() -> ModuleType:
    """The maker of archives beside the tests of archives."""
    path = Path(__file__).parent.parent / "archive" / "made_archive.py"
    spec = importlib.util.spec_from_file_location("made_archive_for_hub", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An archive of four shards, and the same after a withdrawal that wrote two of them anew."""
    folder = tmp_path_factory.mktemp("compared")
    before = made_archive().make_archive(folder / "before")
    after = Path(shutil.copytree(before, folder / "after"))
    withdraw(after, ids=[GONE], reason="blurred", date="2026-01-02")
    return before, after


def push(hub: LoopbackHub, folder: Path, tag: str | None = None, **more: bytes | None) -> str:
    """Commit an archive as a publication would; `more` replaces or, with None, drops files by name."""
    repository = hub.repositories.setdefault(("datasets", REPO), Repository("datasets", REPO))
    files = {
        path.relative_to(folder).as_posix(): StoredFile(path.read_bytes(), large=path.suffix == ".parquet")
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    for name, content in more.items():
        (path,) = [path for path in files if name in path]
        del files[path]
        if content is not None:
            files[path] = StoredFile(content, large=path.endswith(".parquet"))
    commit = repository.add_commit(files, tag or "more")
    if tag:
        repository.tags[tag] = commit
    return commit


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fetched(hub: LoopbackHub) -> list[str]:
    """Files whose content was asked for, each as often as it was."""
    found = [re.fullmatch(rf"/datasets/{REPO}/resolve/[0-9a-f]{{40}}/(.+)", path) for _, path, _ in hub.log]
    asked = [(method, match[1]) for (method, _, _), match in zip(hub.log, found, strict=True) if match]
    return sorted(path for method, path in asked if method == "GET")


def test_only_the_manifest_and_the_differing_shards_are_fetched(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    push(hub, made[0], "v1.0.0")
    push(hub, made[1], "v2.0.0")
    found = pipeline.diff(f"{REPO}@v1.0.0", f"{REPO}@v2.0.0")
    assert found.removed == (GONE,)
    assert (found.shards_read, found.shards_shared) == (4, 2)
    assert fetched(hub) == [
        "data/train-00000-r1.parquet",
        "data/train-00000.parquet",
        "manifest.json",
        "manifest.json",
        "provenance/train-00000-r1.parquet",
        "provenance/train-00000.parquet",
    ]


def test_a_folder_against_the_hub_and_again_from_the_cache(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    push(hub, made[0], "v1.0.0")
    local = pipeline.diff(made[0], made[1])
    remote = pipeline.diff(f"{REPO}@v1.0.0", made[1])
    assert (remote.removed, remote.scores, remote.a.manifest_sha256) == (
        local.removed,
        local.scores,
        local.a.manifest_sha256,
    )
    assert fetched(hub) == ["data/train-00000.parquet", "manifest.json", "provenance/train-00000.parquet"]
    hub.log.clear()
    assert pipeline.diff(f"{REPO}@v1.0.0", made[1]) == remote
    assert fetched(hub) == []


def test_identical_archives_cost_two_manifests(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    commit = push(hub, made[0], "v1.0.0")
    assert pipeline.diff(f"{REPO}@{commit}", f"{REPO}@v1.0.0").same_rows
    assert set(fetched(hub)) == {"manifest.json"}


def test_without_a_revision_it_is_main_as_it_stood(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    push(hub, made[0])
    with open_source(REPO) as source:
        push(hub, made[1])
        assert source.manifest.version == "1.0.0"
        assert source.open_shard("data/train-00000.parquet").is_file()  # which the new main does not have


def test_no_token_is_needed(hub: LoopbackHub, made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    push(hub, made[0])
    with open_source(REPO) as source:
        assert source.manifest.rows == 9


def test_a_folder_wins_over_a_repository(
    hub: LoopbackHub, made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made[0], tmp_path / REPO)
    monkeypatch.chdir(tmp_path)
    with open_source(REPO) as source:
        assert source.manifest.rows == 9
    assert hub.log == []


@pytest.mark.parametrize("name", ["nowhere", "/no/where", "a/b/c", "a/b@", "a/b@x y", "", "a/b@x@y", "./a/b", "a/é"])
def test_neither_a_folder_nor_a_repository(hub: LoopbackHub, name: str) -> None:
    with pytest.raises(InputDataError, match="neither a folder nor"), open_source(name):
        pass
    assert hub.log == []


@pytest.mark.parametrize("name", ["a--b/c", "a/b.git", "a/b..c"])
def test_names_the_hub_knows_not(hub: LoopbackHub, name: str) -> None:
    with pytest.raises(InputDataError, match="neither a folder nor"), open_source(name):
        pass
    assert hub.log == []


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_not_there() -> None:
    with pytest.raises(AccessError, match="no folder tester/nothing") as caught, open_source("tester/nothing"):
        pass
    assert "hf auth login" in caught.value.fix
    assert "CANARY" not in caught.value.message


def test_a_revision_that_is_not_there(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    push(hub, made[0])
    with pytest.raises(InputDataError, match="no such revision"), open_source(f"{REPO}@v9.9.9"):
        pass


def test_a_repository_without_an_archive(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    push(hub, made[0], manifest=None)
    with pytest.raises(InputDataError, match="holds no archive"), open_source(REPO):
        pass


def test_a_manifest_that_was_altered(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    content = (made[0] / "manifest.json").read_bytes()
    push(hub, made[0], manifest=content.replace(b'"rows": 9', b'"rows": 8'))
    with pytest.raises(DamageError, match="checksum"), open_source(REPO):
        pass


def test_a_shard_that_is_missing_or_another(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    push(hub, made[0], "lacks", **{"data/train-00000": None})
    push(hub, made[0], "other", **{"data/train-00000": b"PAR1"})
    with pytest.raises(DamageError, match=r"lacks data/train-00000\.parquet"):
        pipeline.diff(f"{REPO}@lacks", made[1])
    with pytest.raises(DamageError, match="its manifest says"):
        pipeline.diff(f"{REPO}@other", made[1])


@pytest.mark.parametrize("status", [503, None])
@pytest.mark.parametrize(
    ("method", "part"), [("GET", "/revision/"), ("HEAD", "manifest.json"), ("GET", "manifest.json")]
)
def test_faults_that_pass_are_waited_for(
    hub: LoopbackHub,
    made: tuple[Path, Path],
    method: str,
    part: str,
    status: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push(hub, made[0])
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # the library's own waits
    hub.faults.append(Fault(method, part, status=status))
    with open_source(REPO, sleep=lambda _seconds: None) as source:
        assert source.manifest.rows == 9
    assert hub.faults == []


def test_faults_that_stay_are_remote_errors(hub: LoopbackHub, made: tuple[Path, Path]) -> None:
    push(hub, made[0])
    waits: list[float] = []
    hub.faults += [Fault("GET", "/revision/", status=503)] * 20
    with pytest.raises(RemoteError, match="503") as caught, open_source(REPO, sleep=waits.append):
        pass
    assert "downloaded" in caught.value.fix
    assert len(waits) == 5


def test_a_download_that_always_fails_is_a_remote_error(
    hub: LoopbackHub, made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    push(hub, made[0])
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # the library's own waits
    hub.faults += [Fault("HEAD", "manifest.json", status=503)] * 100
    with (
        pytest.raises(RemoteError, match=r"Downloading manifest\.json.*503") as caught,
        open_source(REPO, sleep=waits.append),
    ):
        pass
    assert "downloaded" in caught.value.fix
    assert len(waits) == 5


def test_a_hub_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    waits: list[float] = []
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:9"), open_source(REPO, sleep=waits.append):
        pass
    huggingface_hub.close_session()
