"""Which findings do readers see? Their ticks beside what was asked of synthetic films, and the labels of real ones.

In: `Readings`. Out: measures. A synthetic film asked for a finding and a real one labelled with it are read in the
same way by the same readers, so that what they see less often in the one is not there, and not merely hard to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xrarchive.bootstrap import Floats
from xrarchive.findings import NO_FINDING
from xrarchive.study.concordance import fleiss_kappa
from xrarchive.study.intervals import pool_readers
from xrarchive.study.readings import Flags, Readings, reader_means
from xrarchive.study.realism import pooled_measure
from xrarchive.validation.measures import Measure, measure_estimate, not_measured

_NONE_READ = "No film of that kind was read."
_SIDES = ("synthetic", "real")


def measure_findings(readings: Readings, findings: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """How often readers see what was asked for.

    Returns:
        `confirmed`: of all films, the share in which the readers see the finding a film is in the study for (of
        `No Finding`: that they see none), by side; `by_finding`: by finding the share that is ticked where it was
        asked for or labelled, and elsewhere, by side; and Fleiss' kappa of the ticks.
    """
    own = _own_finding(readings, findings)
    return {
        "confirmed": {
            side: _share(own, _side(readings, side), readings, f"confirmed {side}", _CONFIRMED[side], seed)
            for side in _SIDES
        },
        "by_finding": {
            name: _of_finding(readings, readings.ticked[:, :, column], column, name, seed)
            for column, name in enumerate(findings)
            if (readings.labels[:, column] == 1).any()
        },
    }


_CONFIRMED = {
    "synthetic": "Share of synthetic films on which readers see the finding asked for.",
    "real": "Share of real films on which readers see the finding they are labelled with.",
}


def _of_finding(readings: Readings, ticks: Floats, column: int, name: str, seed: int) -> dict[str, Measure]:
    labels = readings.labels[:, column]
    found: dict[str, Measure] = {}
    for side in _SIDES:
        word = "asked for" if side == "synthetic" else "labelled"
        chosen = _side(readings, side)
        # Of a synthetic film nobody may have asked, which is not "absent" but was not aimed at either.
        elsewhere = chosen & (labels != 1) if side == "synthetic" else chosen & (labels == 0)
        for key, rows, where in (("there", chosen & (labels == 1), "where"), ("elsewhere", elsewhere, "where not")):
            note = f"Share of {side} films on which readers see {name}, {where} {word}."
            found[f"{side}_{key}"] = _share(ticks, rows, readings, f"{name} {side} {key}", note, seed)
    found["fleiss_kappa"] = measure_estimate(
        fleiss_kappa(ticks, seed=seed),
        n=len(ticks),
        note=f"Fleiss' kappa of the ticks of {name}.",
        otherwise="Needs two readers of the same cases who do not all say the same.",
    )
    return found


def _own_finding(readings: Readings, findings: Sequence[str]) -> Floats:
    """[C, R]: 1 where the reader saw what the film is there for."""
    nothing: Floats = np.where(np.isnan(readings.ticked[:, :, 0]), np.nan, (readings.ticked.sum(axis=2) == 0))
    columns = {name: number for number, name in enumerate(findings)}
    rows = [
        nothing[case] if name == NO_FINDING else readings.ticked[case, :, columns[name]]
        for case, name in enumerate(readings.finding.tolist())
    ]
    return np.array(rows, np.float64)


def _side(readings: Readings, side: str) -> Flags:
    return readings.synthetic if side == "synthetic" else ~readings.synthetic


def _share(values: Floats, rows: Flags, readings: Readings, name: str, note: str, seed: int) -> Measure:
    """The mean over readers of flags [C, R] on the cases in `rows`."""
    chosen = values[rows]
    strata = np.zeros(len(chosen), np.int64)
    if not len(chosen):
        return not_measured(_NONE_READ)
    found = pool_readers(lambda weights: reader_means(chosen, weights), strata, name=name, seed=seed)
    return pooled_measure(found, readings.readers, n=len(chosen), note=note, otherwise=_NONE_READ)
