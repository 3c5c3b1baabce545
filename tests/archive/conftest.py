from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_archive import make_archive


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` caches what it loads; each test gets its own, empty one."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("made") / "archive")


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    """A finished archive of two shards a config that the test may damage."""
    return Path(shutil.copytree(made, tmp_path / "archive"))
