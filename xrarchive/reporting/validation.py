"""validation.json to one page: the verdict first, then each part, then what is needed to check and repeat it.

`xrarchive validate` writes the page beside validation.json. The page says nothing that is not in the report, but for
what each part is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast, get_args

from xrarchive.reporting import parts
from xrarchive.reporting.blocks import (
    Block,
    Cell,
    Facts,
    Figure,
    Figures,
    Page,
    Points,
    Section,
    State,
    Table,
    Text,
    Verdict,
)
from xrarchive.reporting.measures import group, heading, words
from xrarchive.reporting.numbers import number
from xrarchive.reporting.page import render_page
from xrarchive.reporting.plots import curve

# Parts in reading order, and the question that each answers.
PURPOSES = {
    "integrity": "Is the archive whole, every file as it was made and every image there once?",
    "fidelity": "Do the images look like radiographs to networks that had no part in making them?",
    "diversity": "Do they show as much variety as real films, or a few cases again and again?",
    "labels": "Does an image that was asked to show a finding show it?",
    "utility": "What does a classifier learn from these images, beside one that learned from real films?",
    "privacy": "Could an image give away a person whose films the generator learned from?",
}
_PARTS = {
    "integrity": parts.integrity,
    "fidelity": parts.fidelity,
    "diversity": parts.diversity,
    "utility": parts.utility,
    "privacy": parts.privacy,
}
_SHORT_HASH = 12
_WORST_FIRST = ("failed", "not measured", "waived", "passed")


def render_validation(
    report: Mapping[str, Any],
    *,
    sheets: Mapping[str, bytes] = MappingProxyType({}),
    title: str,
) -> str:
    """The report as one self-contained page of HTML.

    Args:
        report: The content of validation.json; parts may be missing.
        sheets: Contact sheets (PNG) by finding, shown in this order.
        title: Of the page: what was validated. No path of a machine should be in it.

    Returns:
        HTML, to be written as UTF-8; the same arguments give the same text.

    Raises:
        ValueError: If a sheet is no PNG, or the report's lists do not belong together.
    """
    sections = [_part(name, report, sheets) for name in PURPOSES]
    return render_page(
        Page(
            title=title,
            kicker="Validation report",
            abstract=_abstract(report),
            verdict=_verdict(report),
            sections=(*_gates(report), *sections, _appendix(report, str(report.get("schema", "")))),
            colophon=_colophon(report),
        )
    )


def _abstract(report: Mapping[str, Any]) -> str:
    subject, reference = group(report, "subject"), group(report, "reference")
    count = (
        f"{number(subject['images'])} synthetic chest radiographs" if "images" in subject else "Synthetic radiographs"
    )
    if not reference.get("source"):
        return f"{count}. They were computed; no person was imaged."
    films = f"{number(reference['n'])} real films" if isinstance(reference.get("n"), int) else "real films"
    patients = f" of {number(reference['patients'])} patients" if reference.get("patients") else ""
    return f"{count}, held against {films}{patients}. They were computed; no person was imaged."


def _verdict(report: Mapping[str, Any]) -> Verdict:
    gates = group(report, "gates")
    listed = [gate for gate in gates.get("list", ()) if isinstance(gate, Mapping)]
    problems = [item for item in report.get("problems", ()) if item.get("severity") in ("error", "warning")]
    known = Points(tuple((_state(item["severity"]), str(item.get("message", ""))) for item in problems))
    blocks: list[Block] = [known] if problems else []
    if "open" not in gates:
        why = "This report holds no gates: it is of an older version, or they were not asked for. What was found:"
        none = "This report holds no gates, and names no problem."
        return Verdict(None, "No verdict", (Text((why if problems else none,)), *blocks))
    held = [gate for gate in listed if gate.get("status") in ("failed", "not measured")]
    waived = [gate for gate in listed if gate.get("status") == "waived"]
    lines = tuple((_state(gate["status"]), _sentence(gate)) for gate in (*held, *waived))
    if gates["open"]:
        lines += _of_weights(gates)
    title = _decision(gates, len(listed), len(held), len(waived))
    return Verdict("open" if gates["open"] else "closed", title, (*([Points(lines)] if lines else []), *blocks))


def _decision(gates: Mapping[str, Any], count: int, held: int, waived: int) -> str:
    """The verdict in a sentence. Gates of the weights may be closed while those of the images are open."""
    if not gates["open"]:
        return f"Closed: {held} of {count} gates {'holds' if held == 1 else 'hold'} it back"
    if held:
        return f"Open for the images: {held} of {count} gates {'holds' if held == 1 else 'hold'} back the weights"
    if waived:
        return f"Open: {count - waived} of {count} gates passed, {waived} {'was' if waived == 1 else 'were'} waived"
    return f"Open: all {count} gates passed"


def _of_weights(gates: Mapping[str, Any]) -> tuple[tuple[State | None, str], ...]:
    if "weights_open" not in gates:
        return ()
    if gates["weights_open"]:
        return (("open", "The weights may be published too."),)
    return (("closed", "The weights may not be published; the images can be, without them."),)


def _sentence(gate: Mapping[str, Any]) -> str:
    """What a gate says and what would help."""
    reason = f"Waived: {gate['reason']}" if gate.get("status") == "waived" and gate.get("reason") else ""
    texts = (f"`{gate.get('name', '')}` {gate.get('message', '')}", reason, gate.get("help") or "")
    return " ".join(str(text) for text in texts if text)


def _gates(report: Mapping[str, Any]) -> list[Section]:
    listed = [gate for gate in group(report, "gates").get("list", ()) if isinstance(gate, Mapping)]
    if not listed:
        return []
    rows = tuple(
        (
            Cell(str(gate.get("name", "")), str(gate.get("message", ""))),
            Cell(str(gate.get("status", "")), state=_state(gate.get("status"))),
            Cell(parts.fact(gate.get("value")), number=True),
            Cell(parts.fact(gate.get("bar")), number=True),
            Cell(str(gate.get("reason") or gate.get("help") or "–")),
        )
        for gate in listed
    )
    table = Table(
        "Every gate with its bar", ("gate", "state", "value", "bar", "what would help, or why it was waived"), rows
    )
    purpose = "What must hold before anything is published. A gate that could not be measured is closed."
    return [Section("gates", "Gates", purpose, (table,))]


def _part(name: str, report: Mapping[str, Any], sheets: Mapping[str, bytes]) -> Section:
    part = group(report, name)
    title, purpose = name.capitalize(), PURPOSES[name]
    if "reason" in part and "value" not in part:
        return Section(name, title, purpose, (Text((str(part["reason"]),)),), "left out")
    if not part:
        return Section(name, title, purpose, (Text(("This part is not in the report.",)),), "left out")
    blocks = parts.labels(part, sheets) if name == "labels" else _PARTS[name](part)
    gates = [gate for gate in group(report, "gates").get("list", ()) if isinstance(gate, Mapping)]
    states = {gate.get("status") for gate in gates if gate.get("part") == name}
    worst = next((state for state in _WORST_FIRST if state in states), None)
    return Section(name, title, purpose, tuple(blocks), _state(worst))


def _appendix(report: Mapping[str, Any], schema: str) -> Section:
    notes = [item for item in report.get("problems", ()) if item.get("severity") == "note"]
    blocks: list[Block] = _instruments(group(report, "instruments"))
    blocks.append(Facts(_reference(group(report, "reference")), "What it was held against"))
    raters = group(report, "labels", "raters")
    rated = tuple((heading(role), str(group(found).get("sha256", "–"))) for role, found in raters.items())
    blocks += [Facts(rated, "Who measured the labels (sha256 of the weights)")] if rated else []
    blocks.append(Facts((*parts.facts_of(group(report, "settings")), ("report", schema)), "Settings"))
    blocks.append(Facts(_identity(report), "What was validated"))
    blocks += [Table("What could not be measured", ("measure", "why"), _reasons(notes))] if notes else []
    purpose = "What is needed to check these numbers and to measure them again."
    return Section("appendix", "Appendix", purpose, tuple(blocks))


def _instruments(instruments: Mapping[str, Any]) -> list[Block]:
    """How each metric answers to images that are made worse step by step, and to a generator that gets better."""
    blocks: list[Block] = []
    reading = "Distance to real films by step: films made worse and worse, and a generator in training."
    for space, metrics in instruments.items():
        for metric, found in group(instruments, space).items():
            panels = [
                _graded(str(item.get("name", "")), item) for item in group(metrics, metric).get("degradations", ())
            ]
            snapshots = group(found, "snapshots")
            panels += [_graded("training", snapshots)] if snapshots.get("values") else []
            title = f"Can the instrument tell better from worse? {words(metric)}, {space}"
            blocks += [Figures(title, reading, tuple(panels))] if panels else []
            reasons = [str(one["reason"]) for one in (group(metrics, metric), snapshots) if "reason" in one]
            blocks += [Text(tuple(reasons))] if reasons else []
    return blocks


def _graded(name: str, found: Mapping[str, Any]) -> Figure:
    values = [float(value) for value in found["values"]]
    labels = [f"{number(nimg)} thousand films shown" for nimg in found.get("nimg", ())]
    steps = labels if len(labels) == len(values) else [str(step) for step in range(len(values))]
    ends = f"From {number(values[0])} to {number(values[-1])}"
    agreement = f"{ends}; Spearman's ρ with the truth {number(group(found, 'spearman').get('value'))}."
    return curve(name.capitalize(), agreement, values, steps)


def _reference(reference: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    plain = [(key, value) for key, value in reference.items() if key != "spaces"]
    spaces = [
        (f"{space} features, {number(group(found).get('dim'))} dimensions", str(group(found).get("fingerprint", "–")))
        for space, found in group(reference, "spaces").items()
    ]
    return (*parts.facts_of(dict(plain)), *spaces)


def _identity(report: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return (*parts.facts_of(group(report, "subject")), ("manifest sha256", str(report.get("manifest_sha256", "–"))))


def _reasons(notes: list[Mapping[str, Any]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple((Cell(str(item.get("id", ""))), Cell(str(item.get("message", "")))) for item in notes)


def _colophon(report: Mapping[str, Any]) -> tuple[str, ...]:
    digest = str(report.get("manifest_sha256", ""))[:_SHORT_HASH]
    return (
        f"Made by xrarchive from validation.json, which belongs to the manifest `{digest}` and to no other.",
        "Intervals are central 95 % bootstrap intervals unless a note says otherwise. Not for clinical use.",
    )


def _state(word: object) -> State | None:
    return cast(State, word) if word in get_args(State) else None
