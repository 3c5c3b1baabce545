"""The card of a model repository: what the weight files say of themselves, and what was measured of their images."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from xrarchive.archive.readme import licence_fields
from xrarchive.cards.templates import interval, number, render
from xrarchive.classifier.offering import list_offerings
from xrarchive.terms import require_terms

_ARCHITECTURES = {
    "residual": "residual network",
    "plain": "plain convolutional network",
    "dense": "densely connected network",
    "xrv-densenet121": "DenseNet-121 of torchxrayvision",
}
_TITLE = "Generator and classifiers of a synthetic chest X-ray archive"
# Not "fid": that is the distance in the features of one Inception network.
_METRICS = {"frechet": "frechet-distance"}
# `type` of a dataset that is no repository: the Hub asks for a word.
_OWN_FILMS = {"type": "private", "name": "Held-out radiographs, cross-fitted by patient"}


def render_model_card(
    generator: Mapping[str, Any],
    guide: Mapping[str, Any],
    judge: Mapping[str, Any],
    *,
    dataset: str | None,
    referee: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
    templates: Path | None = None,
) -> str:
    """The whole card of a model repository, YAML head included, from the metadata inside the weight files.

    Args:
        generator: Metadata of generator.safetensors.
        guide: Metadata of guide.safetensors.
        judge: Metadata of judge.safetensors.
        dataset: Repository of the archive made with them, if there is one.
        referee: Metadata of referee.safetensors, if there is one.
        report: validation.json of that archive, for the generator's results.
        templates: Folder of a publisher's own templates.
    """
    classifiers = {"guide": guide, "judge": judge} | ({} if referee is None else {"referee": referee})
    terms = sorted({name for meta in (generator, *classifiers.values()) for name in meta["terms"]})
    results = [*_generator_results(dataset, report or {}), *_classifier_results(classifiers)]
    head = {
        **licence_fields(terms),
        "language": ["en"],
        "library_name": "xrarchive",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["synthetic", "medical", "radiology", "chest-x-ray", "progressive-gan", "xrarchive"],
        **({"datasets": [dataset]} if dataset else {}),
        "model-index": [{"name": _TITLE, "results": results}],
    }
    slots = {
        "generator": generator,
        "guide": guide,
        "judge": judge,
        "referee": referee,
        "networks": {role: _networks(meta) for role, meta in classifiers.items()},
        "dataset": dataset,
        "offerings": list_offerings(guide, judge),
        "couples": [_couple(pair, classifiers) for pair in itertools.combinations(classifiers, 2)],
        "beyond": [_beyond(finding, classifiers) for finding in guide["vocabulary"]],
        "made": list(_made(report or {})),
        "source_terms": require_terms(terms),
    }
    text = render("model.md", slots, templates=templates)
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n{text}"


def _generator_results(dataset: str | None, report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """`model-index` entries of the archive's images: each distance that was measured."""
    metrics = [
        {"type": _METRICS.get(name, name), "name": f"{name}, {space} features", "value": found["value"]}
        for space, measures in report.get("fidelity", {}).items()
        for name, found in measures.items()
        if found["value"] is not None
    ]
    if metrics:
        yield {
            "task": {"type": "unconditional-image-generation", "name": "Image generation"},
            "dataset": {
                "type": dataset or "private",
                "name": "Archive made with these weights, against held-out radiographs",
            },
            "metrics": metrics,
        }


def _classifier_results(classifiers: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """`model-index` entries of guide, judge and referee: cross-fitted AUROC of each finding that has one."""
    for role, meta in classifiers.items():
        metrics = [
            {"type": "roc_auc", "name": f"{role} AUROC, {finding}", "value": found["cross_fitted"]["value"]}
            for finding, found in meta["figures"].items()
            if found["cross_fitted"] is not None
        ]
        if metrics:
            task = {"type": "image-classification", "name": f"Findings, {role}"}
            yield {"task": task, "dataset": dict(_OWN_FILMS), "metrics": metrics}


def _made(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Lines of the table of distances of the archive's images."""
    for space, measures in report.get("fidelity", {}).items():
        for name, found in measures.items():
            yield {"name": name, "space": space, **{key: found.get(key) for key in ("value", "low", "high", "n")}}


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
        "control": interval(pair["control"].get(finding, {}).get("0.1")),
        "correlation": number(pair["correlation"].get(finding)),
        "referee": interval(figures.get("referee", {}).get("cross_fitted")),
    }


def _values(found: Sequence[Mapping[str, float] | None]) -> str:
    return " / ".join("–" if one is None else f"{one['value']:.2f}" for one in found)
