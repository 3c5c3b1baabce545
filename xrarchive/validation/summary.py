"""A report as table rows: what the command line prints and the card shows, without the notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xrarchive.validation.fidelity import METRICS

_DUPLICATES = {"exact": "exact duplicates", "near": "near duplicates", "copies": "copies of radiographs"}


@dataclass(frozen=True)
class SummaryRow:
    """One measure of a report.

    Attributes:
        part: ``fidelity``, ``labels`` or ``duplicates``.
        subject: The feature space or the finding; empty for duplicates.
        measure: What was measured, in words.
        value: None if it was not measured.
        low: Lower end of the interval, None if there is none.
        high: Upper end of the interval, None if there is none.
        beside: What to hold the value against: the real-versus-real floor, or the judge's AUROC on real radiographs.
        beside_text: Which of the two `beside` is, with its N where it has one; empty if there is neither.
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


def summary_rows(report: Mapping[str, Any]) -> list[SummaryRow]:
    """Every measure of a report made by `make_report`: fidelity, labels, duplicates, in the report's order."""
    return [*_fidelity_rows(report["fidelity"]), *_label_rows(report["labels"]), *_duplicate_rows(report["duplicates"])]


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


def _label_rows(labels: Mapping[str, Any]) -> Iterator[SummaryRow]:
    for finding, found in labels.items():
        beside = (found.get("real") or {}).get("value")
        yield _row("labels", finding, "judge AUROC", found, beside, "on real radiographs" if beside is not None else "")


def _duplicate_rows(duplicates: Mapping[str, Any]) -> Iterator[SummaryRow]:
    for kind, found in duplicates.items():
        yield _row("duplicates", "", _DUPLICATES.get(kind, kind), found, None, "")


def _row(
    part: str, subject: str, name: str, found: Mapping[str, Any], beside: float | None, beside_text: str
) -> SummaryRow:
    keys = ("value", "low", "high")
    value, low, high = (found.get(key) for key in keys)
    return SummaryRow(
        part, subject, name, value, low, high, beside, beside_text, found.get("n"), found.get("reason", "")
    )
