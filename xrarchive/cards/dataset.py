"""README.md and SCORECARD.md of a dataset, below the YAML head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xrarchive.cards.templates import render


def render_dataset_card(facts: Mapping[str, Any], *, templates: Path | None = None) -> str:
    """The text of a dataset card, without its YAML head; `facts` is from `collect_facts`."""
    return render("dataset.md", facts, templates=templates)


def render_scorecard(facts: Mapping[str, Any], *, templates: Path | None = None) -> str:
    """The whole of SCORECARD.md."""
    return render("scorecard.md", facts, templates=templates)
