from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_source import COLUMNS, MakeSource, four_rows, write_source


@pytest.fixture
def make_source(tmp_path: Path) -> MakeSource:
    """Writes a source in the labels.csv layout; four rows unless told."""

    def make(
        rows: Sequence[dict[str, str]] | None = None, columns: Sequence[str] = COLUMNS, name: str = "source"
    ) -> Path:
        return write_source(tmp_path / name, four_rows() if rows is None else rows, columns)

    return make
