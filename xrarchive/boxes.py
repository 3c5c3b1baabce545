"""Requests to boxes in the guide's logits: what an image has to score to count as what was asked for. Torch-free.

A finding asked for must reach the image's own target: the bar of the build's strictness, or, by default, the score of a
real radiograph drawn from all those above that bar. Images that all stop at the bar would be look-alikes of the
faintest real case; images pushed as far as they go would be caricatures. A finding to be absent must stay below its
operating threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xrarchive.errors import InputDataError
from xrarchive.plan import Plan, PlannedImage, SearchSettings
from xrarchive.statistics import to_logit

Floats = npt.NDArray[np.float32]
# Normal distribution: the distance between these two quantiles is two standard deviations.
_MINUS_SD, _PLUS_SD = 0.1587, 0.8413
# Optimised images overshoot what they aim at, so that nothing is aimed as far as the more marked half of the
# radiographs above the bar: with .1 the judge saw up to 20 points more extremes than among real films, with .5 10.
_SPARED = 0.5


class Scale(Protocol):
    """What boxes need of a guide: names of its outputs, and how real radiographs score."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Findings, in the order of the outputs."""

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Nuisances, the outputs after the findings."""

    @property
    def thresholds(self) -> Floats:
        """Operating threshold of each finding, as a probability."""

    def bar(self, name: str, strictness: float, *, where: tuple[str, bool] | None = None) -> float:
        """The logit that this share of real radiographs reaches, of all or of those in which a nuisance is seen."""

    def prevalence(self, finding: str) -> float:
        """Share of the labelled radiographs that bear a finding."""


def make_boxes(plan: Plan, images: Sequence[PlannedImage], guide: Scale) -> tuple[Floats, Floats]:
    """Lower and upper edges float32 [N, K + J] of the images' boxes, infinite where nothing is asked."""
    outputs = len(guide.vocabulary) + len(guide.nuisances)
    low, high = (
        np.full((len(images), outputs), -np.inf, np.float32),
        np.full((len(images), outputs), np.inf, np.float32),
    )
    for row, image in enumerate(images):
        request = plan.requests[image.request]
        for name, target in zip(request.findings, draw_targets(image, plan, guide), strict=True):
            low[row, guide.vocabulary.index(name)] = target
        for name in request.absent:
            column = guide.vocabulary.index(name)
            high[row, column] = to_logit(guide.thresholds[column])
    return low, high


def draw_targets(image: PlannedImage, plan: Plan, guide: Scale) -> tuple[float, ...]:
    """The logit aimed at for each finding the image is to show, if no nuisance is matched."""
    findings = plan.requests[image.request].findings
    shares = _target_shares(image, findings, plan.search, guide)
    return tuple(guide.bar(name, share) for name, share in zip(findings, shares, strict=True))


def stratum_shifts(plan: Plan, images: Sequence[PlannedImage], guide: Scale) -> Floats:
    """How much the lower edges move where a matched nuisance is not seen, or is: float32 [J, 2, N, K + J].

    A finding that goes with a view is rare in the other, and so is its bar of all radiographs: within a stratum the
    build's strictness is a share of the radiographs of that stratum. Shifts of several nuisances add up.
    """
    shifts = np.zeros((len(guide.nuisances), 2, len(images), len(guide.vocabulary) + len(guide.nuisances)), np.float32)
    for name in plan.search.match:
        for row, image in enumerate(images):
            findings = plan.requests[image.request].findings
            shares = _target_shares(image, findings, plan.search, guide)
            for finding, share in zip(findings, shares, strict=True):
                column = guide.vocabulary.index(finding)
                for seen in (False, True):
                    shift = guide.bar(finding, share, where=(name, seen)) - guide.bar(finding, share)
                    shifts[guide.nuisances.index(name), int(seen), row, column] = shift
    return shifts


def lowest_bars(findings: Sequence[str], search: SearchSettings, guide: Scale) -> npt.NDArray[np.float64]:
    """The least logit of an image that was made to show each finding, whatever its stratum: [K]; NaN = never asked."""
    found = np.full(len(findings), np.nan)
    for place, finding in enumerate(findings):
        if (share := _share(finding, search, guide)) is None:
            continue
        everywhere = guide.bar(finding, share)
        strata = [[guide.bar(finding, share, where=(name, seen)) for seen in (False, True)] for name in search.match]
        found[place] = everywhere + sum(min(pair) - everywhere for pair in strata)
    return found


def bars_by_stratum(
    findings: Sequence[str], search: SearchSettings, guide: Scale, seen: Mapping[str, npt.NDArray[np.bool_]], count: int
) -> npt.NDArray[np.float64]:
    """The least logit of each of N images made to show each finding, by the strata it is in: [N, K]; NaN as above.

    Args:
        findings: [K].
        search: Of the build.
        guide: Who steered.
        seen: By nuisance bool [N], whether it is seen in an image; those that were matched are needed.
        count: N.
    """
    found = np.full((count, len(findings)), np.nan)
    for place, finding in enumerate(findings):
        if (share := _share(finding, search, guide)) is None:
            continue
        everywhere = guide.bar(finding, share)
        found[:, place] = everywhere
        for name in search.match:
            absent, present = (guide.bar(finding, share, where=(name, side)) for side in (False, True))
            found[:, place] += np.where(seen[name], present, absent) - everywhere
    return found


def _share(finding: str, search: SearchSettings, guide: Scale) -> float | None:
    """Share of real radiographs that reach a finding's bar; None where the guide knows no bar."""
    if finding not in guide.vocabulary:
        return None
    if not search.natural:
        return search.strictness
    return None if np.isnan(guide.thresholds[guide.vocabulary.index(finding)]) else guide.prevalence(finding)


def _target_shares(image: PlannedImage, findings: Sequence[str], search: SearchSettings, guide: Scale) -> list[float]:
    """For each finding, the share of real radiographs that reach what is aimed at."""
    rng = np.random.default_rng(image.seed)
    bars = [guide.prevalence(name) if search.natural else search.strictness for name in findings]
    return [bar * float(rng.uniform(_SPARED, 1)) if search.targets else bar for bar in bars]


def nuisance_tolerance(search: SearchSettings, guide: Scale) -> Floats:
    """How far each output may be off a random draw, float32 [K + J]: finite for the nuisances to be matched.

    Raises:
        InputDataError: If the guide does not know one of them.
    """
    unknown = [name for name in search.match if name not in guide.nuisances]
    if unknown:
        raise InputDataError(
            f"The guide knows no {unknown[0]!r}; it knows {', '.join(guide.nuisances) or 'no nuisance'}.",
            fix="Leave it out of --match, or train the guide on radiographs with that column.",
        )
    tolerance = np.full(len(guide.vocabulary) + len(guide.nuisances), np.inf, np.float32)
    for name in search.match:
        spread = (guide.bar(name, _MINUS_SD) - guide.bar(name, _PLUS_SD)) / 2
        tolerance[len(guide.vocabulary) + guide.nuisances.index(name)] = search.tolerance * spread
    return tolerance
