"""Cards: the text that goes with a dataset or with weights, from what was measured. Torch-free.

Templates live in `cards/`, beside the package in a checkout and inside it in a wheel, and may be copied and edited. An
unfilled slot is an error, never a gap in the card.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from xrarchive.archive.manifest import Manifest
from xrarchive.classifier.offering import list_offerings
from xrarchive.errors import GateError
from xrarchive.records import Tally
from xrarchive.terms import licence_of, require_terms
from xrarchive.validation import SCHEMA
from xrarchive.validation.summary import PurityRow, label_rows, moved_rows, purity_rows, summary_rows

_PACKAGE = Path(__file__).parent
# Findings to be absent are named in a table as long as they are few.
_NAMED_ABSENT = 3
_MOST = 0.5
_ARCHITECTURES = {
    "residual": "residual network",
    "plain": "plain convolutional network",
    "dense": "densely connected network",
    "xrv-densenet121": "DenseNet-121 of torchxrayvision",
}


def templates_folder() -> Path:
    """Where the templates are: inside an installed wheel, or at the top of a checkout."""
    inside = _PACKAGE / "cards_templates"
    return inside if inside.is_dir() else _PACKAGE.parent / "cards"


def render_dataset_card(manifest: Manifest, report: Mapping[str, Any], *, archive_dir: Path, study: str = "") -> str:
    """The text of a dataset card, without its YAML head.

    Args:
        manifest: Of the archive.
        report: The content of validation.json.
        archive_dir: Named in the snippets by its last part only: a card holds no path of the publisher's machine.
        study: Section on a reader study of this archive, if there was one.

    Raises:
        GateError: If the report belongs to another manifest or another version.
    """
    if report.get("schema") != SCHEMA:
        raise GateError(
            f"The validation in {archive_dir} was written by another version: its schema is {report.get('schema')}, "
            f"expected {SCHEMA}.",
            fix=f"Run `xrarchive validate {archive_dir}` again.",
            path=archive_dir,
        )
    if report.get("manifest_sha256") != manifest.sha256:
        raise GateError(
            f"The validation in {archive_dir} names the manifest {str(report.get('manifest_sha256'))[:12]}, "
            f"the archive's is {manifest.sha256[:12]}.",
            fix=f"Run `xrarchive validate {archive_dir}` again.",
            path=archive_dir,
        )
    shares = purity_rows(report)
    return _render(
        "dataset.md",
        manifest=manifest,
        report=report,
        labelled_by=report.get("labels", {}).get("by"),
        nuisances=report.get("labels", {}).get("nuisances", {}),
        rows=summary_rows(report),
        steering=[row for row in label_rows(report) if "transfer" in row.auroc],
        requests=[_request(tally) for tally in manifest.tallies],
        filtered=manifest.judge_filtered,
        standard=_standard(manifest.settings),
        matched=_matched(manifest),
        shares=shares,
        mostly_absent=_mostly_absent(shares),
        moved=moved_rows(report),
        passed=[gate["name"] for gate in report["gates"]["list"] if gate["status"] == "passed"],
        others=[gate for gate in report["gates"]["list"] if gate["status"] != "passed"],
        folder=archive_dir.resolve().name,
        privacy=_privacy(report),
        search=", ".join(f"{name} {value}" for name, value in sorted(manifest.settings.items())),
        source_terms=require_terms(manifest.terms),
        study=study,
    )


def render_model_card(
    generator: Mapping[str, Any],
    guide: Mapping[str, Any],
    judge: Mapping[str, Any],
    *,
    dataset: str | None,
    referee: Mapping[str, Any] | None = None,
) -> str:
    """The whole card of a model repository, YAML head included, from the metadata inside the weight files.

    Args:
        generator: Metadata of generator.safetensors.
        guide: Metadata of guide.safetensors.
        judge: Metadata of judge.safetensors.
        dataset: Repository of the archive made with them, if there is one.
        referee: Metadata of referee.safetensors, if there is one.
    """
    classifiers = {"guide": guide, "judge": judge} | ({} if referee is None else {"referee": referee})
    terms = sorted({name for meta in (generator, *classifiers.values()) for name in meta["terms"]})
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
        referee=referee,
        networks={role: _networks(meta) for role, meta in classifiers.items()},
        dataset=dataset,
        offerings=list_offerings(guide, judge),
        couples=[_couple(pair, classifiers) for pair in itertools.combinations(classifiers, 2)],
        beyond=[_beyond(finding, classifiers) for finding in guide["vocabulary"]],
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
    environment.filters["share"] = _share
    return environment.get_template(name).render(**slots)


def _number(value: float | int | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def _interval(found: Mapping[str, float] | None) -> str:
    return "–" if found is None else f"{found['value']:.2f} ({found['low']:.2f}–{found['high']:.2f})"


def _views(within: Mapping[str, Mapping[str, float] | None]) -> str:
    return ", ".join("–" if found is None else f"{found['value']:.2f}" for found in within.values()) or "–"


def _share(found: Mapping[str, Any]) -> str:
    """A measured share with its interval; "–" where it was not measured."""
    if found["value"] is None:
        return "–"
    return f"{found['value']:.2f}" + ("" if found["low"] is None else f" ({found['low']:.2f}–{found['high']:.2f})")


def _request(tally: Tally) -> dict[str, Any]:
    """One line of the table of requests."""
    words = " + ".join(tally.findings)
    if 0 < len(tally.absent) <= _NAMED_ABSENT:
        words += f", without {', '.join(tally.absent)}"
    elif tally.absent:
        words += f", without {len(tally.absent)} other findings"
    return {
        "words": words,
        "tally": tally,
        "yield": f"{100 * tally.accepted / tally.starts:.0f} %" if tally.starts else "–",
    }


def _standard(settings: Mapping[str, Any]) -> str:
    """What an image had to score to count as showing a finding, in words; empty for settings that do not say."""
    if "strictness" not in settings:
        return ""
    strictness = settings["strictness"]
    text = (
        f"A finding counts as shown where the guide scores the image like one of the {100 * strictness:g} % of real "
        f"radiographs that it scores highest for it (strictness {strictness:g}); "
    )
    if settings.get("targets"):
        return (
            f"{text}which of these an image had to match was drawn at random, so that there are cases of all degrees."
        )
    return f"{text}the score of the faintest of these was enough."


def _matched(manifest: Manifest) -> str:
    """Which nuisances were held still, in words; empty for settings that do not say."""
    settings = manifest.settings
    if "match" not in settings:
        return ""
    if settings["match"]:
        return (
            f"Every image was held to a random draw in {', '.join(settings['match'])}, to within "
            f"{settings['tolerance']:g} standard deviations of real radiographs, as the guide sees it."
        )
    return "No view, sex, age or source was held still: what goes along with a finding in real films goes along here."


def _mostly_absent(rows: Sequence[PurityRow]) -> list[str]:
    """Findings that less than half of the images asked for show: by the soft label, else by an upper bound."""
    found: dict[str, tuple[float, float | None]] = {}
    for row in rows:
        values = [measure["value"] for measure in (row.soft, row.calls, row.scores) if measure.get("value") is not None]
        if values:
            found.setdefault(row.finding, (values[0], row.real))
    return [
        finding if real is None else f"{finding} ({100 * real:.2g} % of real radiographs)"
        for finding, (value, real) in found.items()
        if value < _MOST
    ]


def _networks(meta: Mapping[str, Any]) -> str:
    settings = meta["settings"]
    return f"{settings['members']} {_ARCHITECTURES[settings['architecture']]}{'s' if settings['members'] > 1 else ''}"


def _couple(roles: tuple[str, str], classifiers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What two classifiers share, in words: one line of the card's table."""
    first, second = (classifiers[role] for role in roles)
    patients = len(set(first["patients"]) & set(second["patients"]))
    alike = first["settings"]["architecture"] == second["settings"]["architecture"]
    pair = second.get("pair") if roles[0] == "guide" else None
    found = sorted(value for value in pair["correlation"].values() if value is not None) if pair else []
    return {
        "roles": " and ".join(roles),
        "patients": f"{patients} of {len(second['patients'])}" if patients else "none",
        "architecture": "the same" if alike else "none",
        "correlation": f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})" if found else "–",
    }


def _beyond(finding: str, classifiers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What AUROC does not say of a finding, in words; "–" where it was not measured."""
    figures = {role: meta["figures"].get(finding, {}) for role, meta in classifiers.items()}
    measures = [found.get("more", {}).get("cross_fitted", {}).get("all") or {} for found in figures.values()]
    purity = figures["guide"].get("purity", {})
    pair = classifiers["judge"].get("pair") or {"control": {}, "correlation": {}}
    return {
        "finding": finding,
        **{name: _values([one.get(name) for one in measures]) for name in ("average_precision", "brier", "slope")},
        "purity": _values([purity.get(strictness) for strictness in ("0.1", "0.02")]),
        "control": _interval(pair["control"].get(finding, {}).get("0.1")),
        "correlation": _number(pair["correlation"].get(finding)),
        "referee": _interval(figures.get("referee", {}).get("cross_fitted")),
    }


def _values(found: Sequence[Mapping[str, float] | None]) -> str:
    return " / ".join("–" if one is None else f"{one['value']:.2f}" for one in found)


def _privacy(report: Mapping[str, Any]) -> str:
    copies = report.get("privacy", {}).get("copies", {"value": None})
    searched = (
        f"exact and near copies of training radiographs were searched for and {copies['value']} were found"
        if copies["value"] is not None
        else "copies of training radiographs were not searched for, because the radiographs were not at hand"
    )
    return (
        f"{searched}. This is evidence per image, not per patient: some training films have unknown patients, and "
        "absence of evidence is not anonymity."
    )
