from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def weights(tiny_weights: dict[str, Path]) -> dict[str, Path]:
    return tiny_weights


@pytest.fixture(scope="session")
def archive(tiny_carded: Path) -> Path:
    """Built, validated, with its card; to be read only."""
    return tiny_carded


@pytest.fixture
def mine(archive: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(archive, tmp_path / "chests"))
