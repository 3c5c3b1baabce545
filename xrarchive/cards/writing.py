"""All that `card` writes into an archive: README.md and its companions, SHA256SUMS last."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xrarchive.archive.companions import find_companions
from xrarchive.archive.manifest import (
    CHANGELOG_NAME,
    CITATION_NAME,
    CROISSANT_NAME,
    README_NAME,
    SCORECARD_NAME,
    VALIDATION_NAME,
    Manifest,
    read_manifest,
)
from xrarchive.archive.readme import write_readme
from xrarchive.archive.sums import write_sums
from xrarchive.cards.citation import render_citation
from xrarchive.cards.contents import count_findings, draw_samples
from xrarchive.cards.croissant import render_croissant
from xrarchive.cards.dataset import render_dataset_card, render_scorecard
from xrarchive.cards.facts import Told, collect_facts
from xrarchive.files import read_json, sha256_file, write_bytes


def write_cards(
    archive_dir: Path, *, study: str = "", templates: Path | None = None, date: str | None = None
) -> dict[str, Any]:
    """Write README.md, SCORECARD.md, croissant.json, CITATION.cff and samples/ of an archive.

    Everything is rendered before anything is written.

    Args:
        archive_dir: Of the archive.
        study: Section on a reader study of this archive.
        templates: Folder of the publisher's own templates; one that is not there is ours.
        date: `YYYY-MM-DD` of the card; None = that of a card of this very manifest, else today, UTC.

    Returns:
        The facts the texts were filled from.

    Raises:
        InputDataError: If there is no archive or no validation, or a template cannot be filled.
        GateError: If the validation belongs to another manifest.
        DamageError: If a shard cannot be read.
    """
    manifest = read_manifest(archive_dir)
    report = read_json(
        archive_dir / VALIDATION_NAME, what="validation", fix=f"Run `xrarchive validate {archive_dir}` first."
    )
    told = Told(
        date=date or _date_of(archive_dir, manifest),
        validation_sha256=sha256_file(archive_dir / VALIDATION_NAME),
        counts=count_findings(archive_dir, manifest),
        study=study,
        changelog=(archive_dir / CHANGELOG_NAME).is_file(),
    )
    facts = collect_facts(manifest, report, told, archive_dir=archive_dir)
    text = render_dataset_card(facts, templates=templates)
    files = {
        SCORECARD_NAME: render_scorecard(facts, templates=templates).encode(),
        CROISSANT_NAME: render_croissant(manifest, facts, templates=templates),
        CITATION_NAME: render_citation(facts, templates=templates).encode(),
        **draw_samples(archive_dir, manifest),
    }
    _replace(archive_dir, files)
    write_readme(archive_dir, manifest, text)
    write_sums(archive_dir, manifest)
    return facts


def _replace(archive_dir: Path, files: Mapping[str, bytes]) -> None:
    """Write the companions, and remove those of findings that are no longer there."""
    for name in find_companions(archive_dir):
        if name not in files:
            (archive_dir / name).unlink()
    for name, content in files.items():
        write_bytes(archive_dir / name, content)


def _date_of(archive_dir: Path, manifest: Manifest) -> str:
    """The day of the card that is there, if it is one of this manifest: the same archive keeps the same bytes."""
    path = archive_dir / CROISSANT_NAME
    content = path.read_bytes() if path.is_file() and (archive_dir / README_NAME).is_file() else b""
    try:
        found = json.loads(content)["datePublished"] if manifest.sha256.encode() in content else ""
        return datetime.date.fromisoformat(found).isoformat()
    except (ValueError, KeyError, TypeError):  # none, or edited beyond reading
        return datetime.datetime.now(datetime.UTC).date().isoformat()
