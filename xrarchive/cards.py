"""Cards: the text that goes with a dataset or with weights, from what was measured. Torch-free.

Templates live in `cards/`, beside the package in a checkout and inside it in a wheel, and may be copied and edited. An
unfilled slot is an error, never a gap in the card.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from xrarchive.archive.manifest import Manifest
from xrarchive.classifier.offering import list_offerings
from xrarchive.errors import GateError
from xrarchive.terms import licence_of, require_terms
from xrarchive.validation.summary import summary_rows

_PACKAGE = Path(__file__).parent


def templates_folder() -> Path:
    """Where the templates are: inside an installed wheel, or at the top of a checkout."""
    inside = _PACKAGE / "cards_templates"
    return inside if inside.is_dir() else _PACKAGE.parent / "cards"


def render_dataset_card(manifest: Manifest, report: Mapping[str, Any], *, archive_dir: Path) -> str:
    """The text of a dataset card, without its YAML head.

    Args:
        manifest: Of the archive.
        report: The content of validation.json.
        archive_dir: Named in the snippets by its last part only: a card holds no path of the publisher's machine.

    Raises:
        GateError: If the report belongs to another manifest.
    """
    if report.get("manifest_sha256") != manifest.sha256:
        raise GateError(
            f"The validation in {archive_dir} names the manifest {str(report.get('manifest_sha256'))[:12]}, "
            f"the archive's is {manifest.sha256[:12]}.",
            fix=f"Run `xrarchive validate {archive_dir}` again.",
            path=archive_dir,
        )
    return _render(
        "dataset.md",
        manifest=manifest,
        report=report,
        rows=summary_rows(report),
        folder=archive_dir.resolve().name,
        privacy=_privacy(report),
        search=", ".join(f"{name} {value}" for name, value in sorted(manifest.settings.items())),
        source_terms=require_terms(manifest.terms),
    )


def render_model_card(
    generator: Mapping[str, Any], guide: Mapping[str, Any], judge: Mapping[str, Any], *, dataset: str | None
) -> str:
    """The whole card of a model repository, YAML head included, from the metadata inside the weight files.

    Args:
        generator: Metadata of generator.safetensors.
        guide: Metadata of guide.safetensors.
        judge: Metadata of judge.safetensors.
        dataset: Repository of the archive made with them, if there is one.
    """
    terms = sorted({*generator["terms"], *guide["terms"], *judge["terms"]})
    head = {
        "license": licence_of(terms),
        "library_name": "xrarchive",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["synthetic", "medical", "radiology", "chest-x-ray", "progressive-gan", "xrarchive"],
        **({"datasets": [dataset]} if dataset else {}),
    }
    text = _render(
        "model.md",
        generator=generator,
        guide=guide,
        judge=judge,
        dataset=dataset,
        offerings=list_offerings(guide, judge),
        source_terms=require_terms(terms),
    )
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n{text}"


def _render(name: str, **slots: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = _number
    environment.filters["interval"] = _interval
    environment.filters["views"] = _views
    return environment.get_template(name).render(**slots)


def _number(value: float | int | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def _interval(found: Mapping[str, float] | None) -> str:
    return "–" if found is None else f"{found['value']:.2f} ({found['low']:.2f}–{found['high']:.2f})"


def _views(within: Mapping[str, Mapping[str, float] | None]) -> str:
    return ", ".join("–" if found is None else f"{found['value']:.2f}" for found in within.values()) or "–"


def _privacy(report: Mapping[str, Any]) -> str:
    copies = report["duplicates"]["copies"]
    searched = (
        f"exact and near copies of training radiographs were searched for and {copies['value']} were found"
        if copies["value"] is not None
        else "copies of training radiographs were not searched for, because the radiographs were not at hand"
    )
    return (
        f"{searched}. This is evidence per image, not per patient: some training films have unknown patients, and "
        "absence of evidence is not anonymity."
    )
