"""A report as table rows: what the command line prints and the card shows, without the notes.

A report of an older version lacks some parts; they have no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xrarchive.validation.fidelity import METRICS

_UTILITY = {
    "trtr": "AUROC, learned from real films",
    "tstr": "AUROC, learned from the images",
    "excess_retention": "excess retention",
}
_SPACE_MEASURES = {"coverage": "coverage", "recall": "recall", "vendi": "Vendi score"}
_SIDES = {"archive": "images", "draws": "random draws"}
_COUNTS = {
    "integrity": {
        "files": "problems of files",
        "exact_duplicates": "exact duplicates",
        "near_duplicates": "near duplicates",
    },
    "privacy": {"copies": "copies of radiographs"},
}


@dataclass(frozen=True)
class SummaryRow:
    """One measure of a report.

    Attributes:
        part: ``fidelity``, ``diversity``, ``labels``, ``labels_referee``, ``utility``, ``integrity`` or ``privacy``.
        subject: The feature space or the finding; empty for what is measured over all images.
        measure: What was measured, in words.
        value: None if it was not measured.
        low: Lower end of the interval, None if there is none.
        high: Upper end of the interval, None if there is none.
        beside: What to hold the value against: its floor, its ceiling, or a control.
        beside_text: Which of these `beside` is, with its N where it has one; empty if there is neither.
        n: Images measured, for labels those asked to show the finding; None if it was not measured.
        reason: Why it was not measured, empty if it was.
    """

    part: str
    subject: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    beside: float | None
    beside_text: str
    n: int | None
    reason: str


@dataclass(frozen=True)
class LabelRow:
    """What can be said of one finding in a line, as one rater has it; measures of the report, with None for a value.

    Attributes:
        finding: Asked for.
        by: ``judge`` or ``referee``.
        auroc: Agreement, with its `ceiling`.
        transfer: How far steering reaches the rater.
        excess: Exaggeration less that of real films the guide accepts.
        off_target: How far the other findings moved.
        purity: The soft label.
        reason: Why the agreement was not measured, empty if it was.
    """

    finding: str
    by: str
    auroc: Mapping[str, Any]
    transfer: Mapping[str, Any]
    excess: Mapping[str, Any]
    off_target: Mapping[str, Any]
    purity: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class PurityRow:
    """How many of the images asked to show a finding show it, as one rater has it.

    Attributes:
        finding: Asked for.
        by: ``judge`` or ``referee``.
        calls: Measure `rogan_gladen` of the report, and the others in turn.
        noisy: `with_10pct_label_noise`.
        scores: `score_mixture`.
        soft: `soft`.
        real: Share of the real radiographs with that label, None if nothing was measured.
        reason: Why `calls` was not measured, empty if it was.
    """

    finding: str
    by: str
    calls: Mapping[str, Any]
    noisy: Mapping[str, Any]
    scores: Mapping[str, Any]
    soft: Mapping[str, Any]
    real: float | None
    reason: str


def summary_rows(report: Mapping[str, Any]) -> list[SummaryRow]:
    """Fidelity, diversity, agreement, utility, duplicates and copies of a report made by `make_report`."""
    rows = [*_fidelity_rows(report.get("fidelity", {})), *_diversity_rows(report.get("diversity", {}))]
    for part, by, labels in _by_rater(report):
        rows += _label_rows(part, by, labels)
    rows += _utility_rows(report.get("utility", {}))
    rows += _mixed_up_rows(report.get("labels", {}))
    return [*rows, *_count_rows(report), *_privacy_rows(report.get("privacy", {}))]


def label_rows(report: Mapping[str, Any]) -> list[LabelRow]:
    """A row for every finding and rater."""
    return [_label_row(finding, by, found) for _, by, labels in _by_rater(report) for finding, found in labels.items()]


def purity_rows(report: Mapping[str, Any]) -> list[PurityRow]:
    """A row for every finding and rater."""
    return [
        _purity_row(finding, by, found["purity"])
        for _, by, labels in _by_rater(report)
        for finding, found in labels.items()
        if "purity" in found
    ]


def moved_rows(report: Mapping[str, Any]) -> dict[str, list[str]]:
    """By class label and for each nuisance the share called positive, "start → end"; empty without nuisances."""
    nuisances: Mapping[str, Mapping[str, Any]] = report.get("labels", {}).get("nuisances", {})
    labels = next(iter(nuisances.values()), {})
    return {label: [_from_to(by_label[label]) for by_label in nuisances.values()] for label in labels}


def _from_to(found: Mapping[str, Any]) -> str:
    start, end = (found[name]["value"] for name in ("positive_start", "positive_end"))
    return "–" if start is None or end is None else f"{start:.2f} → {end:.2f}"


def _purity_row(finding: str, by: str, purity: Mapping[str, Any]) -> PurityRow:
    names = ("rogan_gladen", "with_10pct_label_noise", "score_mixture", "soft")
    calls, noisy, scores, soft = (purity[name] for name in names)
    floors = [found.get("floor") or {} for found in (calls, scores)]
    real = next((floor["value"] for floor in floors if floor), None)
    return PurityRow(finding, by, calls, noisy, scores, soft, real, calls.get("reason", ""))


def _by_rater(report: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Part, rater and measures; where the referee measured `labels` because the judge may not, they come once."""
    labels = report.get("labels")
    if labels:
        yield "labels", labels["by"], labels["findings"]
        if "referee" in labels:
            yield "labels_referee", "referee", labels["referee"]


def _fidelity_rows(fidelity: Mapping[str, Any]) -> Iterator[SummaryRow]:
    titles = {metric.name: metric.title for metric in METRICS}
    for space, metrics in fidelity.items():
        for name, found in metrics.items():
            floor = found.get("floor") or {}
            beside = floor.get("value")
            text = ""
            if beside is not None:  # floor and value are at different N; what compares is the synthetic figure at its N
                text = f"real vs real at n = {floor['n']}, where synthetic vs real is {floor['synthetic']:.4g}"
            yield _row("fidelity", space, titles.get(name, name), found, beside, text)


def _label_rows(part: str, by: str, labels: Mapping[str, Any]) -> Iterator[SummaryRow]:
    for finding, found in labels.items():
        beside = (found.get("ceiling") or {}).get("value")
        text = "on real radiographs" if beside is not None else ""
        yield _row(part, finding, f"{by} AUROC", found, beside, text)


def _utility_rows(utility: Mapping[str, Any]) -> Iterator[SummaryRow]:
    """Macro figures; one row where nothing was measured, since the reason is the same for all."""
    macro = utility.get("macro", {})
    measured = {name: title for name, title in _UTILITY.items() if name in macro}
    if measured and all(macro[name]["value"] is None for name in measured):
        measured = {"excess_retention": _UTILITY["excess_retention"]}
    draws = macro.get("pseudo_draws", {}).get("value")
    for name, title in measured.items():
        beside, text = (draws, "learned from random draws that the guide labelled") if name == "tstr" else (None, "")
        yield _row("utility", "", title, macro[name], beside, text if beside is not None else "")


def _label_row(finding: str, by: str, found: Mapping[str, Any]) -> LabelRow:
    nothing: Mapping[str, Any] = {"value": None}
    return LabelRow(
        finding,
        by,
        found,
        found.get("transfer", nothing),
        found.get("exaggeration", nothing).get("excess", nothing),
        found.get("off_target", nothing),
        found.get("purity", {}).get("soft", nothing),
        found.get("reason", ""),
    )


def _diversity_rows(diversity: Mapping[str, Any]) -> Iterator[SummaryRow]:
    for space, measures in diversity.get("spaces", {}).items():
        for name, title in _SPACE_MEASURES.items():
            found = measures[name]
            beside = (found.get("ceiling") or {}).get("value")
            yield _row("diversity", space, title, found, beside, "" if beside is None else "of as many real films")
    for name, found in diversity.get("co_occurrence", {}).get("distance", {}).items():
        beside = (found.get("floor") or {}).get("value")
        text = "" if beside is None else "between real films"
        yield _row("diversity", "", f"co-occurrence distance, {_SIDES.get(name, name)}", found, beside, text)


def _mixed_up_rows(labels: Mapping[str, Any]) -> Iterator[SummaryRow]:
    names = {"reached": "images that reach their bar", "stored_scores": "stored scores of other pixels"}
    for kind, title in names.items():
        if kind in labels:
            yield _row("labels", "", title, labels[kind], None, "")


def _count_rows(report: Mapping[str, Any]) -> Iterator[SummaryRow]:
    for part, names in _COUNTS.items():
        for kind, found in report.get(part, {}).items():
            if kind in names:
                yield _row(part, "", names[kind], found, None, "")


def _privacy_rows(privacy: Mapping[str, Any]) -> Iterator[SummaryRow]:
    """Nearness by space, what is recognised, and both attacks; floors beside them. Nothing where nothing was asked."""
    named = [(space, "share nearer to training films", found) for space, found in _parts(privacy, "share_nearer")]
    if "reidentification" in privacy:
        named.append(("", "images in which a patient is recognised", privacy["reidentification"]))
    named += [("", f"attack on the weights ({kind}), AUROC", found) for kind, found in _parts(privacy, "membership")]
    for subject, title, found in named:
        beside = (found.get("floor") or {}).get("value")
        text = (
            "" if beside is None else "of held-out films" if "recognised" in title else "if nothing was learnt by heart"
        )
        yield _row("privacy", subject, title, found, beside, text)


def _parts(tree: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    return list(tree.get(name, {}).items())


def _row(
    part: str, subject: str, name: str, found: Mapping[str, Any], beside: float | None, beside_text: str
) -> SummaryRow:
    keys = ("value", "low", "high")
    value, low, high = (found.get(key) for key in keys)
    return SummaryRow(
        part, subject, name, value, low, high, beside, beside_text, found.get("n"), found.get("reason", "")
    )
