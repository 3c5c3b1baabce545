"""One finding as one rater sees it, and the arrays that belong to it: what the measures of steering are taken from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.estimates import Estimate, bootstrap_estimates, weighted_mean
from xrarchive.statistics import Interval, bootstrap_auroc
from xrarchive.validation.measures import Measure, measure_estimate
from xrarchive.validation.raters import Rater
from xrarchive.validation.scored import Films, Flags, Logits, Scored

# Images, draws and accepted films that a comparison with the control, or a view of its own, needs.
MINIMUM_COMPARED = 20
VIEWS = ("AP", "PA")
CHANCE = {"value": 0.5, "note": "What a rater that guesses scores."}
# What the control is, in notes.
ACCEPTED = "the films the guide puts into the same box"


@dataclass(frozen=True)
class Evidence:
    """What the labels of N images are held against; a sentence stands where something is not at hand.

    Attributes:
        asked: bool [N, K], whether image n was asked to show finding k.
        images: Their scores.
        draws: Random draws of the generator: images of which nothing was asked.
        control: Films that neither guide nor rater was trained on, with what the guide accepts of them.
        labelled: Films with labels that the rater was not trained on.
    """

    asked: Flags
    images: Scored
    draws: Scored | str
    control: Films | str
    labelled: Films | str


@dataclass(frozen=True)
class Sides:
    """One finding, one rater.

    Attributes:
        name: Of the finding.
        column: Its place among the findings.
        findings: The vocabulary [K].
        evidence: Images, draws and films.
        rater: Who measures.
        seed: Same seed, same intervals.
        resamples: Of every interval.
    """

    name: str
    column: int
    findings: tuple[str, ...]
    evidence: Evidence
    rater: Rater
    seed: int
    resamples: int

    @property
    def asked(self) -> Flags:
        """Which images were asked to show the finding: bool [N]."""
        flags: Flags = self.evidence.asked[:, self.column]
        return flags

    @property
    def images(self) -> Scored:
        """All N images."""
        return self.evidence.images

    @property
    def role(self) -> str:
        """Of the rater."""
        return self.rater.role

    def scores(self, images: Scored) -> Logits:
        """The rater's logits of all findings: float32 [N, K]."""
        return images.by[self.role].findings

    def logits(self, images: Scored) -> Logits:
        """The rater's logits of this finding: float32 [N]."""
        return self.scores(images)[:, self.column]

    def accepted(self) -> Films | None:
        """Of the control, the films that the guide puts into the box; None without a control or a film."""
        control = self.evidence.control
        if isinstance(control, str) or not control.accepted[:, self.column].any():
            return None
        return control.rows(control.accepted[:, self.column])

    def in_view(self, images: Scored, view: str) -> Flags:
        """Which images the rater sees in a view: bool [N]; none if it does not know views."""
        seen = images.by[self.role].nuisances.get("view")
        if seen is None:
            return np.zeros(len(images.pixels), np.bool_)
        flags: Flags = (seen > 0) == (view == VIEWS[0])
        return flags


def auroc_between(one: npt.ArrayLike, other: npt.ArrayLike, *, seed: int, resamples: int) -> Interval:
    """AUROC of telling rows [N] from others [M] by one number each: .5 = not at all."""
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    labels = np.repeat([1, 0], [len(first), len(second)])
    return bootstrap_auroc(np.concatenate([first, second]), labels, resamples=resamples, seed=seed)


def auroc_measure(
    found: Interval, note: str, *, floor: Mapping[str, object], ceiling: Mapping[str, object] | None = None
) -> Measure:
    """An AUROC as a measure; n = rows on the first side."""
    estimate = Estimate(found.value, found.low, found.high)
    extra = {"ceiling": dict(ceiling)} if ceiling else None
    return measure_estimate(estimate, n=found.n_positive, note=note, otherwise="", floor=floor, extra=extra)


def mean_measure(
    one: Sides,
    values: npt.ArrayLike,
    note: str,
    *,
    floor: Mapping[str, object] | None = None,
    ceiling: Mapping[str, object] | None = None,
) -> Measure:
    """The mean of numbers or flags [N], one an image, as a measure."""
    rows = np.asarray(values, np.float64)

    def statistic(times: Floats) -> Floats:
        return weighted_mean(rows, times)[None]

    sides = [(rows.size, None)]
    found = bootstrap_estimates(statistic, sides, name="steering", seed=one.seed, resamples=one.resamples)[0]
    extra = {"ceiling": dict(ceiling)} if ceiling else None
    return measure_estimate(found, n=rows.size, note=note, otherwise="", floor=floor, extra=extra)
