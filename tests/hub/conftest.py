from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from loopback import TOKEN, LoopbackHub, serve
from tiny_archive import TinyArchive, make_archive

from xrarchive.hub import Publication, Receipt, plan_publication, publish


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A loopback Hub that this process's huggingface_hub talks to over LFS, whoever imported it first."""
    with serve(tmp_path / "hub") as (loopback, url):
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield loopback
        huggingface_hub.close_session()


@pytest.fixture(scope="session")
def made_archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyArchive, TinyArchive]:
    """Made once, because durable writes take time; tests get copies."""
    folder = tmp_path_factory.mktemp("made")
    return make_archive(folder / "first"), make_archive(folder / "other", seed=1, shards=1)


@pytest.fixture
def archive(tmp_path: Path, made_archives: tuple[TinyArchive, TinyArchive]) -> TinyArchive:
    return made_archives[0].copy(tmp_path / "first")


@pytest.fixture
def other_archive(tmp_path: Path, made_archives: tuple[TinyArchive, TinyArchive]) -> TinyArchive:
    """Other images, and one shard where `archive` has two."""
    return made_archives[1].copy(tmp_path / "other")


@pytest.fixture
def plan(archive: TinyArchive) -> Publication:
    return plan_publication(archive.folder, "tester/xrays", "1.0.0")


@pytest.fixture
def waits() -> list[float]:
    """Seconds that `publish_now` was asked to wait."""
    return []


@pytest.fixture
def publish_now(waits: list[float]) -> Callable[..., Receipt]:
    """`publish` that notes its waits instead of waiting."""
    return functools.partial(publish, sleep=waits.append)
