"""The scorecard of synthetic medical data: seven criteria, each with what was measured of it and what was not.

In: facts. Out: a line for each criterion. No grade is given: a number says more beside what stands next to it.

Source: G. Zamzmi, A. Subbaswamy, E. Sizikova, E. Margerrison, J. G. Delfino, A. Badano. Scorecard for synthetic medical
data evaluation. Communications Engineering 4:130, 2025, doi:10.1038/s44172-025-00450-1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

# Measures with a row for each finding stand in one line, from least to most.
_PER_FINDING = " AUROC"
# `part` of a row of the summary -> the criterion it is evidence for.
_PARTS = {
    "fidelity": "Congruence",
    "labels": "Congruence",
    "labels_referee": "Congruence",
    "utility": "Congruence",
    "diversity": "Coverage",
    "privacy": "Compliance",
}
_ELSEWHERE = {
    "images that reach their bar": "Constraint",
    "stored scores of other pixels": "Consistency",
    "problems of files": "Completeness",
    "exact duplicates": "Consistency",
    "near duplicates": "Consistency",
    "copies of radiographs": "Compliance",
}


@dataclass(frozen=True)
class Criterion:
    """One of the seven.

    Attributes:
        name: Of the criterion.
        question: What it asks.
        found: What was measured, a sentence each.
        missing: What was not, a sentence each.
    """

    name: str
    question: str
    found: tuple[str, ...]
    missing: tuple[str, ...]


def list_criteria(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All seven, in the order of the source, as plain values."""
    measured = {name: [row for row in facts["rows"] if _criterion_of(row) == name] for name in _QUESTIONS}
    found = {name: list(_sentences(rows)) for name, rows in measured.items()}
    missing = {name: list(_reasons(rows)) for name, rows in measured.items()}
    for name, (more, less) in _more(facts).items():
        found[name] += more
        missing[name] += less
    return [
        asdict(Criterion(name, question, tuple(found[name]), tuple(missing[name])))
        for name, question in _QUESTIONS.items()
    ]


_QUESTIONS = {
    "Congruence": "Do the images follow the distribution of real radiographs, and the labels what is in them?",
    "Coverage": "Are they as varied as real radiographs, without gaps?",
    "Constraint": "Do they keep to what anatomy, physics and the request allow?",
    "Completeness": "Is everything there that a user needs: images, labels, metadata?",
    "Compliance": "Do they meet demands of privacy, licence and marking?",
    "Comprehension": "Can a user understand how they came about, and what they are fit for?",
    "Consistency": "Do they hold the same quality across groups, files and time?",
}


def _criterion_of(row: Mapping[str, Any]) -> str:
    return _ELSEWHERE.get(row["measure"]) or _PARTS.get(row["part"], "Completeness")


def _sentences(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each measured row; rows of one measure over findings are drawn together."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["value"] is not None:
            by_finding = row["measure"].endswith(_PER_FINDING) and row["subject"]
            grouped.setdefault(row["measure"] if by_finding else f"{row['measure']}, {row['subject']}", []).append(row)
    for name, found in grouped.items():
        yield _range(name, found) if len(found) > 1 else _sentence(found[0])


def _sentence(row: Mapping[str, Any]) -> str:
    name = f"{row['measure']}, {row['subject']}" if row["subject"] else row["measure"]
    interval = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
    beside = "" if row["beside"] is None else f"; {row['beside']:.3g} {row['beside_text']}"
    return f"{name}: {row['value']:.3g}{interval}{beside}"


def _range(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    values = [row["value"] for row in rows]
    beside = [row["beside"] for row in rows if row["beside"] is not None]
    real = f"; {min(beside):.2f} to {max(beside):.2f} {rows[0]['beside_text']}" if beside else ""
    return f"{name}, {len(rows)} findings: {min(values):.2f} to {max(values):.2f}{real}"


def _reasons(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What was not measured, by reason."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row["value"] is None:
            name = f"{row['measure']}, {row['subject']}" if row["subject"] else row["measure"]
            names.setdefault(row["reason"] or "No reason was recorded.", []).append(name)
    yield from (f"{'; '.join(found)}: {reason}" for reason, found in names.items())


def _more(facts: Mapping[str, Any]) -> dict[str, tuple[list[str], list[str]]]:
    """Beyond the summary's rows: what the manifest shows, and what no measure here can."""
    manifest, study = facts["manifest"], bool(facts["study"])
    asked = sum(request["tally"]["asked"] for request in facts["requests"])
    short = sum(request["tally"]["missing"] for request in facts["requests"])
    nobody = [] if study else ["No radiologist has read this archive."]
    readers = ["A reader study of this archive stands in the card."] if study else []
    depth = {"L": "8-bit grey", "I;16": "16-bit grey", "RGB": "three channels of 8 bits"}[manifest["mode"]]
    terms = ", ".join(terms["title"] for terms in facts["source_terms"])
    return {
        "Congruence": (
            readers,
            [*nobody, "Agreement with labels read by experts: the labels behind every figure were mined from reports."],
        ),
        "Coverage": (
            [f"images made of those asked for: {asked - short:,} of {asked:,}"],
            ["Persons, hospitals and devices that the radiographs lack, and this archive with them."],
        ),
        "Constraint": (
            [f"every image is {manifest['size_px']} × {manifest['size_px']} px, {depth}, as the manifest says"],
            [
                *nobody,
                "Anatomy and physics (ribs, side of the heart, devices, projection) are checked by no program here.",
            ],
        ),
        "Completeness": (
            [f"label, scores, soft label, hash and provenance: there for all {manifest['rows']:,} images"],
            ["Age, sex, origin and history of a person: no image is of anybody, and none is given."],
        ),
        "Compliance": (
            [
                "marked as synthetic: a column, and a text inside every PNG",
                f"terms of the radiographs behind the weights: {terms or 'none are recorded'}",
            ],
            ["No formal guarantee of privacy was trained in; what was searched for is evidence, not proof."],
        ),
        "Comprehension": (
            [
                *readers,
                "weights, settings, seed, start and latent of every image are recorded; code and measures are open",
                "what each figure means stands beside it in validation.json and report.html",
            ],
            [] if study else ["Whether readers understand or trust the images was not asked of anybody."],
        ),
        "Consistency": (_groups(facts["report"]), _not_across(manifest)),
    }


def _not_across(manifest: Mapping[str, Any]) -> list[str]:
    splits = [] if len(manifest["splits"]) > 1 else ["There is one split, so that none can differ from another."]
    return [*splits, "Consistency across hospitals, scanners and time was not measured."]


def _groups(report: Mapping[str, Any]) -> list[str]:
    """Coverage of real films of a finding within groups: the least and the middle one."""
    findings: Mapping[str, Any] = report.get("labels", {}).get("findings", {})
    found = [
        (group["value"], f"{finding}, {nuisance} {name}")
        for finding, measures in findings.items()
        for nuisance, groups in measures.get("coverage_by", {}).items()
        for name, group in groups.items()
        if group["value"] is not None
    ]
    if not found:
        return []
    value, where = min(found)
    middle = median(value for value, _ in found)
    return [
        f"coverage of real films of a finding within a view, sex, age or source, {len(found)} groups as the guide sees "
        f"them: median {middle:.2f}, least {value:.2f} ({where})"
    ]
