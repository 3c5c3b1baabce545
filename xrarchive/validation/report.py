"""The content of validation.json: everything measured about one subject, and what it means for publishing.

Parts come in, one JSON-safe dict goes out; the same input and seed give the same bytes, so it holds no date and no
path. It names the sha256 of what was validated: a report belongs to those bytes and no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xrarchive.bootstrap import LEVEL, RESAMPLES
from xrarchive.estimates import RESAMPLES as LABEL_RESAMPLES
from xrarchive.validation import SCHEMA
from xrarchive.validation.fidelity import FLOOR_DRAWS
from xrarchive.validation.gates import Gate, gates_section
from xrarchive.validation.measures import Measure
from xrarchive.validation.problems import Problem, Severity
from xrarchive.validation.raters import LABEL_NOISE
from xrarchive.validation.reached import REACHED_BAR
from xrarchive.validation.reference import Reference
from xrarchive.validation.subject import Subject

_EVEN_ODDS = 0.5
_SEVERITIES: Mapping[str, Severity] = {
    "integrity.files": "error",
    "integrity.exact_duplicates": "error",
    "integrity.near_duplicates": "warning",
    "privacy.copies": "error",
}


def make_report(
    subject: Subject,
    reference: Reference,
    parts: Mapping[str, Mapping[str, Any]],
    gates: Sequence[Gate],
    *,
    quick: bool = False,
) -> dict[str, Any]:
    """The report of the parts that were measured.

    Args:
        subject: What was validated.
        reference: Features of the real radiographs it was measured against.
        parts: By name what each part found; a part that is not there was not asked for.
        gates: What came of them.
        quick: Whether parts took fewer resamples and trials.
    """
    return {
        "schema": SCHEMA,
        "manifest_sha256": subject.sha256,
        "subject": subject.describe(),
        "measured": list(parts),
        "settings": {
            "seed": subject.seed,
            "quick": quick,
            "resamples": RESAMPLES,
            "label_resamples": LABEL_RESAMPLES,
            "label_noise": LABEL_NOISE,
            "level": LEVEL,
            "floor_draws": FLOOR_DRAWS,
        },
        "reference": _describe(reference),
        **parts,
        "gates": gates_section(gates),
        "problems": [problem.as_dict() for problem in find_problems(parts)],
    }


def find_problems(parts: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """What a publisher must know of parts as they are in a report, worst first."""
    problems = []
    for part in ("integrity", "privacy"):
        for kind, found in parts.get(part, {}).items():
            problems += _count_problems(f"{part}.{kind}", found)
    labels = parts.get("labels", {})
    problems += _mixed_up(labels)
    for role, rated in ((labels.get("by"), labels.get("findings")), ("referee", labels.get("referee"))):
        problems += _label_problems(str(role), rated or {})
    for space, metrics in parts.get("fidelity", {}).items():
        for name, found in metrics.items():
            if found["value"] is None:
                problems.append(Problem(f"fidelity.{space}.{name}", "note", str(found["reason"])))
    rank = {"error": 0, "warning": 1, "note": 2}
    return sorted(problems, key=lambda problem: rank[problem.severity])


def _count_problems(kind: str, found: Mapping[str, Any]) -> list[Problem]:
    """Of a count that should be 0."""
    if kind not in _SEVERITIES:
        return []
    if found["value"] is None:
        return [Problem(kind, "note", str(found["reason"]))]
    if not found["value"]:
        return []
    first = [*found.get("image_ids", ()), *found.get("problems", ())][0]
    return [
        Problem(kind, _SEVERITIES[kind], f"{found['value']} of {found['n']}: {found['note']} The first is {first}.")
    ]


def _mixed_up(labels: Mapping[str, Any]) -> list[Problem]:
    """Labels or scores that do not belong to their pixels."""
    problems = []
    reached, stored = labels.get("reached", {}), labels.get("stored_scores", {})
    if reached.get("value") is not None and reached["value"] < REACHED_BAR:
        problems.append(
            Problem(
                "labels.reached",
                "error",
                f"The guide does not see what was asked for in {100 * (1 - reached['value']):.1f} % of {reached['n']} "
                f"images, though it had to when they were made: labels or images were mixed up. The first is "
                f"{reached['image_ids'][0]}.",
            )
        )
    if stored.get("value"):
        first = f"The first is {stored['image_ids'][0]}."
        problems.append(
            Problem("labels.stored_scores", "error", f"{stored['value']} of {stored['n']}: {stored['note']} {first}")
        )
    return problems


def _label_problems(role: str, labels: Mapping[str, Measure]) -> list[Problem]:
    kind = "labels.agreement" if role == "judge" else f"labels_{role}.agreement"
    problems = []
    for name, found in labels.items():
        value, low, high = (found.get(key) for key in ("value", "low", "high"))
        if value is None:
            problems.append(Problem(kind, "note", f"{name}: {found['reason']}"))
        elif isinstance(low, float) and low <= _EVEN_ODDS:
            problems.append(
                Problem(
                    kind,
                    "warning",
                    f"{name}: the {role} cannot tell the {found['n']} images asked to show it from the others "
                    f"(AUROC {value}, interval {low} to {high}).",
                )
            )
    return problems


def _describe(reference: Reference) -> dict[str, object]:
    patients = reference.patients
    return {
        "name": reference.name,
        "source": reference.source,
        "n": reference.rows,
        "patients": None if patients is None else int(np.unique(patients).size),
        "spaces": {
            space: {"dim": int(values.shape[1]), "fingerprint": reference.fingerprints[space]}
            for space, values in sorted(reference.spaces.items())
        },
    }
