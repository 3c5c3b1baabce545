"""CITATION.cff: how to cite the dataset, from `cards/citation.cff`, in the Citation File Format 1.2.0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from xrarchive.cards.templates import render
from xrarchive.errors import InputDataError


def render_citation(facts: Mapping[str, Any], *, templates: Path | None = None) -> str:
    """The content of CITATION.cff; `facts` is from `collect_facts`.

    Raises:
        InputDataError: If a publisher's template gives no YAML.
    """
    text = render("citation.cff", facts, templates=templates)
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise InputDataError(f"The filled citation.cff is no YAML: {err}.", fix="Mend the template.") from err
    if not isinstance(found, dict) or facts["manifest"]["sha256"] not in text:
        raise InputDataError(
            "The filled citation.cff does not name the manifest, by which `publish` knows what it is about.",
            fix="Keep {{ manifest.sha256 }} among its identifiers.",
        )
    return text
