"""The review in depth: signs, complications, devices, burned-in text, artefacts, and what goes along with a finding.

In: `Readings` of a study with `task="review"`, whose blocks are films of one finding each, half of them real, and the
reader told which finding but not which film. Out: by finding how often each item is absent, present or odd, and the
lift of every other finding: how much more often it is seen on films of this finding than on all. Both for synthetic
and for real films, and the lift among the labels of the whole real set beside them.

Source: Segal et al. 2020 (arXiv 2010.03975), who had a radiologist review generates finding by finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xrarchive.bootstrap import Floats
from xrarchive.estimates import Estimate, bootstrap_estimates, divide
from xrarchive.study.intervals import pool_readers
from xrarchive.study.protocol import REVIEW_ANSWERS, REVIEW_ITEMS
from xrarchive.study.readings import Flags, Readings, reader_means
from xrarchive.study.realism import pooled_measure
from xrarchive.validation.measures import Measure, measure_estimate, not_measured

_SIDES = ("synthetic", "real")
_NONE_READ = "No film of that kind was read."


def measure_review(
    readings: Readings, findings: Sequence[str], lifts: Mapping[str, Mapping[str, float]], *, seed: int = 0
) -> dict[str, Any]:
    """Items and lifts by finding.

    Args:
        readings: Of the review.
        findings: What could be ticked.
        lifts: Among the labels of the real set (see `selecting.label_lifts`).
        seed: Same seed, same intervals.

    Returns:
        By finding `items`: by item and side a measure for each answer; `lifts`: by other finding a measure for each
        side with the labels' lift as `floor`.
    """
    return {
        name: {"items": _items(readings, name, seed), "lifts": _lifts(readings, name, findings, lifts, seed)}
        for name in sorted(set(readings.finding.tolist()))
    }


def _rows(readings: Readings, side: str, finding: str | None = None) -> Flags:
    rows = readings.synthetic if side == "synthetic" else ~readings.synthetic
    return rows if finding is None else rows & (readings.finding == finding)


def _items(readings: Readings, finding: str, seed: int) -> dict[str, dict[str, dict[str, Measure]]]:
    return {
        item: {
            side: {
                answer: _answer_share(readings, finding, side, number, code, seed)
                for code, answer in enumerate(REVIEW_ANSWERS)
            }
            for side in _SIDES
        }
        for number, item in enumerate(REVIEW_ITEMS)
    }


def _answer_share(readings: Readings, finding: str, side: str, item: int, code: int, seed: int) -> Measure:
    given = readings.items[_rows(readings, side, finding), :, item]
    if not len(given):
        return not_measured(_NONE_READ)
    flags: Floats = np.where(np.isnan(given), np.nan, given == code)
    found = pool_readers(
        lambda weights: reader_means(flags, weights),
        np.zeros(len(flags), np.int64),
        name=f"review {finding} {side} {item} {code}",
        seed=seed,
    )
    note = f"Share of {side} films of {finding} with {REVIEW_ITEMS[item].lower()} {REVIEW_ANSWERS[code]}."
    return pooled_measure(found, readings.readers, n=len(flags), note=note, otherwise=_NONE_READ)


def _lifts(
    readings: Readings, finding: str, findings: Sequence[str], lifts: Mapping[str, Mapping[str, float]], seed: int
) -> dict[str, dict[str, Measure]]:
    """By other finding and side P(seen | films of this finding) / P(seen | all films), readers' mean on each film."""
    seen = _mean_over_readers(readings.ticked)
    found: dict[str, dict[str, Measure]] = {}
    for column, other in enumerate(findings):
        if other != finding:
            label = lifts.get(finding, {}).get(other)
            found[other] = {
                side: _lift(readings, seen[:, column], finding, other, side, label, seed) for side in _SIDES
            }
    return found


def _lift(
    readings: Readings, seen: Floats, finding: str, other: str, side: str, label: float | None, seed: int
) -> Measure:
    rows = _rows(readings, side) & ~np.isnan(seen)
    values, own = seen[rows], readings.finding[rows] == finding

    def statistic(times: Floats) -> Floats:
        here = divide(times @ (values * own), times @ own.astype(np.float64))
        return divide(here, divide(times @ values, times.sum(axis=1)))[None]

    if not own.any():
        return not_measured(_NONE_READ)
    (estimate,) = bootstrap_estimates(
        statistic, [(len(values), None)], name=f"lift {finding} {other} {side}", seed=seed
    )
    if estimate.value == 0:  # seen on no film of this finding: resampling these films cannot tell how rare that is
        estimate = Estimate(0.0, float("nan"), float("nan"))
    return measure_estimate(
        estimate,
        n=int(own.sum()),
        note=f"How many times as often {other} is seen on {side} films of {finding} as on all {side} films.",
        otherwise=f"{other} was seen on no {side} film.",
        floor=None if label is None else {"value": label, "note": "Among the labels of the real set."},
    )


def _mean_over_readers(ticked: Floats) -> Floats:
    known = ~np.isnan(ticked)
    count = known.sum(axis=1)
    total = np.where(known, ticked, 0).sum(axis=1)
    means: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means
