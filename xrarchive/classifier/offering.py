"""Which findings an archive may offer by default: a rule on figures that guide and judge carry. Torch-free.

A finding is offered if, for guide *and* judge, the cross-fitted AUROC is at least .65 with a patient-bootstrap lower
bound of at least .55, and at least .60 within AP and within PA views (89 % of Edema films are AP, so that a classifier
can look good by reading the view); if the judge, where it was paired with a guide, ranks the films that the guide
accepts above films at large (else an archive would hold what the guide sees and the judge does not); if enough
radiographs show it to set a threshold; and if it is not withheld.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_AUROC = 0.65
MIN_AUROC_LOW = 0.55
MIN_AUROC_WITHIN_VIEW = 0.60
# The judge's AUROC for the tenth of films that the guide accepts must lie above this, by its lower bound.
MIN_CONTROL_LOW = 0.55
CONTROL_STRICTNESS = "0.1"


@dataclass(frozen=True)
class Offering:
    """Whether a finding is offered, and every reason why not."""

    finding: str
    offered: bool
    reasons: tuple[str, ...]


def list_offerings(guide: Mapping[str, Any], judge: Mapping[str, Any]) -> tuple[Offering, ...]:
    """Apply the rule to the metadata of a guide and a judge, in the guide's vocabulary order."""
    return tuple(_offering(finding, guide, judge) for finding in guide["vocabulary"])


def _offering(finding: str, guide: Mapping[str, Any], judge: Mapping[str, Any]) -> Offering:
    reasons: list[str] = []
    if finding in (*guide["settings"]["withheld"], *judge["settings"]["withheld"]):
        reasons.append("withheld by the publisher")
    for role, meta in (("guide", guide), ("judge", judge)):
        figures = meta["figures"].get(finding)
        reasons += [f"{role}: {reason}" for reason in _shortcomings(figures, meta["settings"]["min_positives"])]
    if "pair" in judge:
        reasons += _strangers(judge["pair"]["control"].get(finding))
    return Offering(finding, not reasons, tuple(reasons))


def _strangers(control: Mapping[str, Any] | None) -> list[str]:
    found = control and control[CONTROL_STRICTNESS]
    if not found:
        return ["too few radiographs to tell whether guide and judge look at the same thing"]
    if found["low"] > MIN_CONTROL_LOW:
        return []
    return [
        f"guide and judge look at different things: on films the guide accepts the judge's AUROC is "
        f"{found['value']:.2f}, its lower bound {found['low']:.2f} not above {MIN_CONTROL_LOW:.2f}"
    ]


def _shortcomings(figures: Mapping[str, Any] | None, min_positives: int) -> list[str]:
    # Below `min_positives` a classifier has no operating threshold, so that a guide could not be asked for the finding.
    if not figures or not figures["cross_fitted"] or figures["positives"] < min_positives:
        return ["too few labelled radiographs"]
    overall = figures["cross_fitted"]
    found = []
    if overall["value"] < MIN_AUROC:
        found.append(f"AUROC {overall['value']:.2f} is below {MIN_AUROC:.2f}")
    if overall["low"] < MIN_AUROC_LOW:
        found.append(f"its lower bound {overall['low']:.2f} is below {MIN_AUROC_LOW:.2f}")
    for view, within in figures["within"].items():
        if within is None:
            found.append(f"too few radiographs within {view}")
        elif within["value"] < MIN_AUROC_WITHIN_VIEW:
            found.append(f"AUROC within {view} {within['value']:.2f} is below {MIN_AUROC_WITHIN_VIEW:.2f}")
    return found
