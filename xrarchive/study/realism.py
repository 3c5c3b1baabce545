"""Real or synthetic? Accuracy, sensitivity, specificity, d', criterion, ROC and agreement, for each reader and all.

In: `Readings`. Out: measures (see `validation.measures`), each the mean over readers. Synthetic is the signal:
sensitivity is the share of synthetic films that were called synthetic, so that 1 - sensitivity is the figure of the
paper: synthetic films taken for real.

Source: Green & Swets 1966; Hautus 1995 (log-linear correction of d'); Macmillan & Creelman 2005, eq. 7.2 (pairs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.statistics import weighted_auroc
from xrarchive.study.concordance import fleiss_kappa, krippendorff_alpha, share_alike
from xrarchive.study.intervals import (
    Pooled,
    ReaderStatistic,
    measure_equivalence,
    pool_readers,
    wilson,
)
from xrarchive.study.protocol import FIRST_SYNTHETIC_RATING, RATINGS
from xrarchive.study.readings import Flags, Readings, reader_means
from xrarchive.validation.measures import Measure, measure, measure_estimate, not_measured, rounded

ACCURACY, SENSITIVITY, SPECIFICITY = "accuracy", "sensitivity", "specificity"
CALLED_REAL, DPRIME, CRITERION, AUC = "synthetic_called_real", "d_prime", "criterion", "auc"
TITLES = {
    ACCURACY: "Share of cases told correctly",
    SENSITIVITY: "Synthetic films called synthetic",
    SPECIFICITY: "Real films called real",
    CALLED_REAL: "Synthetic films called real",
    DPRIME: "d′",
    CRITERION: "Criterion",
    AUC: "Area under the ROC curve",
}
_SHARES = (ACCURACY, SENSITIVITY, SPECIFICITY, CALLED_REAL)
_NOT_BOTH = "Needs readings of both real and synthetic films."
_TOO_FEW = "There are no such readings."
_NO_AGREEMENT = "Needs two readers of the same cases who do not all say the same."


def measure_realism(readings: Readings, *, pairs: bool, margin: float, seed: int = 0) -> dict[str, Any]:
    """All figures of the question "real or synthetic?".

    Args:
        readings: Of at least one reader.
        pairs: Whether cases are pairs: then there are accuracy and d' alone.
        margin: Of the equivalence test.
        seed: Same seed, same intervals.
    """
    pooled = pool_all(readings, pairs=pairs, seed=seed)
    result: dict[str, Any] = {name: _entry(found, readings, name, _n(readings, name)) for name, found in pooled.items()}
    result["equivalence"] = _equivalence(pooled[ACCURACY], margin)
    result["agreement"] = measure_agreement(readings, pairs=pairs, seed=seed)
    result["readers"] = {reader: _reader(readings, column, pooled) for column, reader in enumerate(readings.readers)}
    result["by_finding"] = _by_group(readings, readings.finding, pairs=pairs, seed=seed)
    result["by_size_px"] = _by_group(readings, readings.size_px.astype(np.str_), pairs=pairs, seed=seed)
    if not pairs:
        result["roc"] = _roc_points(readings)
    return result


def pool_all(readings: Readings, *, pairs: bool, seed: int = 0) -> dict[str, Pooled]:
    """Every figure with its intervals, before it is put into words."""
    statistics = pair_statistics(readings) if pairs else film_statistics(readings)
    strata = readings.synthetic.astype(np.int64)
    return {
        name: pool_readers(statistic, strata, name=name, seed=seed, share=name not in (DPRIME, CRITERION))
        for name, statistic in statistics.items()
    }


def film_statistics(readings: Readings) -> dict[str, ReaderStatistic]:
    """By name the figures of films rated one by one, as functions of how often each case is drawn."""
    synthetic = readings.synthetic[:, None]
    calls = np.where(np.isnan(readings.ratings), np.nan, readings.ratings >= FIRST_SYNTHETIC_RATING)
    hits, false = np.where(synthetic, calls, np.nan), np.where(synthetic, np.nan, calls)

    def rates(weights: Floats) -> tuple[Floats, Floats]:
        return _corrected(hits, weights), _corrected(false, weights)

    def dprime(weights: Floats) -> Floats:
        hit, alarm = rates(weights)
        return _z(hit) - _z(alarm)

    def criterion(weights: Floats) -> Floats:
        hit, alarm = rates(weights)
        return -(_z(hit) + _z(alarm)) / 2

    def auc(weights: Floats) -> Floats:
        return np.stack([_auc(readings.ratings[:, r], readings.synthetic, weights) for r in range(calls.shape[1])])

    return {
        ACCURACY: lambda weights: reader_means(readings.correct, weights),
        SENSITIVITY: lambda weights: reader_means(hits, weights),
        SPECIFICITY: lambda weights: reader_means(1 - false, weights),
        CALLED_REAL: lambda weights: reader_means(1 - hits, weights),
        DPRIME: dprime,
        CRITERION: criterion,
        AUC: auc,
    }


def pair_statistics(readings: Readings) -> dict[str, ReaderStatistic]:
    """By name the figures of pairs."""
    return {
        ACCURACY: lambda weights: reader_means(readings.correct, weights),
        DPRIME: lambda weights: math.sqrt(2) * _z(_corrected(readings.correct, weights)),
    }


def measure_agreement(readings: Readings, *, pairs: bool, seed: int = 0) -> dict[str, Any]:
    """Agreement among readers (kappa of calls, alpha of ratings) and of readers with themselves."""
    calls = readings.correct if pairs else _calls(readings)
    kappa = fleiss_kappa(calls, seed=seed)
    alpha = krippendorff_alpha(calls if pairs else readings.ratings, ordinal=not pairs, seed=seed)
    n = len(readings.cases)
    return {
        "fleiss_kappa": measure_estimate(
            kappa, n=n, note="Fleiss' kappa of the calls; cases all readers read.", otherwise=_NO_AGREEMENT
        ),
        "krippendorff_alpha": measure_estimate(
            alpha,
            n=n,
            note=f"Krippendorff's alpha of the {'choices' if pairs else 'six-point ratings, ordinal'}.",
            otherwise=_NO_AGREEMENT,
        ),
        "with_themselves": with_themselves(readings, pairs=pairs),
    }


def with_themselves(readings: Readings, *, pairs: bool) -> Measure:
    """Share of repeated cases that a reader called alike both times, with Wilson's interval over all repeats."""
    counted = [_alike(readings, column, pairs=pairs) for column in range(len(readings.readers))]
    same, n = sum(each[0] for each in counted), sum(each[1] for each in counted)
    if not n:
        return not_measured("No case was read twice.")
    low, high = wilson(same, n)
    return measure(same / n, low=low, high=high, n=n, note="Share of repeated cases called alike both times.")


def _alike(readings: Readings, column: int, *, pairs: bool) -> tuple[int, int]:
    def call(answer: Any) -> float:
        if pairs:
            return float(answer.synthetic in readings.cases)
        return math.nan if answer.rating is None else float(answer.rating >= FIRST_SYNTHETIC_RATING)

    repeated = readings.repeated[column]
    return share_alike([call(first) for _, first, _ in repeated], [call(second) for _, _, second in repeated])


def pooled_measure(found: Pooled, readers: Sequence[str], *, n: int, note: str, otherwise: str) -> Measure:
    """A `Pooled` as a measure; `cases` is the interval for these very readers, `bootstrap` the two-way one."""
    if not found.defined:
        return not_measured(otherwise)
    ends = [None if math.isnan(end) else end for end in (found.low, found.high)]
    by_reader = {reader: _number(value) for reader, value in zip(readers, found.readers, strict=True)}
    extra = {"cases": _span(found.cases), "bootstrap": _span(found.bootstrap), "readers": by_reader}
    return measure(found.value, low=ends[0], high=ends[1], n=n, note=note, extra=extra)


def _entry(found: Pooled, readings: Readings, name: str, n: int) -> Measure:
    note = (
        f"{TITLES[name]}: mean over {len(readings.readers)} reader{'s' * (len(readings.readers) != 1)}; low and high "
        "for other readers and cases, `cases` for these readers and other cases."
    )
    return pooled_measure(found, readings.readers, n=n, note=note, otherwise=_NOT_BOTH)


def _n(readings: Readings, name: str) -> int:
    own = {SENSITIVITY: readings.synthetic, CALLED_REAL: readings.synthetic, SPECIFICITY: ~readings.synthetic}
    return int(own.get(name, np.ones(len(readings.cases), np.bool_)).sum())


def _equivalence(found: Pooled, margin: float) -> dict[str, Any]:
    if not found.defined:
        return not_measured(_TOO_FEW)
    test = measure_equivalence(found, margin)
    return {
        "margin": rounded(margin),
        "p": rounded(test.p),
        "low": rounded(test.low),
        "high": rounded(test.high),
        "shown": test.p < 0.05,
        "note": "Two one-sided tests of accuracy against 0.5 ± margin; low and high are the 90 % interval. Shown = "
        "readers are guessing, up to the margin. Not shown is not the opposite.",
    }


def _reader(readings: Readings, column: int, pooled: Mapping[str, Pooled]) -> dict[str, Any]:
    """Figures of one reader: shares with Wilson's interval, others over resampled cases."""
    seconds, rows = readings.seconds[:, column], {}
    for name, found in pooled.items():
        value, (low, high), n = found.readers[column], found.reader_intervals[column], _n(readings, name)
        if name in _SHARES:
            read = ~np.isnan(readings.correct[:, column])
            if name != ACCURACY:
                read &= ~readings.synthetic if name == SPECIFICITY else readings.synthetic
            n = int(read.sum())
            low, high = wilson(value * n, n) if math.isfinite(value) else (math.nan, math.nan)
        rows[name] = {"value": _number(value), "low": _number(low), "high": _number(high), "n": n}
    same, n = _alike(readings, column, pairs=AUC not in pooled)
    known = seconds[~np.isnan(seconds)]
    return {
        **rows,
        "alike": {"value": _number(same / n if n else math.nan), "n": n},
        "median_s": _number(float(np.median(known)) if known.size else math.nan),
    }


def _by_group(
    readings: Readings, groups: npt.NDArray[np.str_], *, pairs: bool, seed: int
) -> dict[str, dict[str, Measure]]:
    """Accuracy and, of films, the share of synthetic ones called real, in each group of cases."""
    names = (ACCURACY,) if pairs else (ACCURACY, CALLED_REAL)
    found: dict[str, dict[str, Measure]] = {}
    for group in sorted(set(groups.tolist())):
        part = select_cases(readings, groups == group)
        statistics = pair_statistics(part) if pairs else film_statistics(part)
        strata = part.synthetic.astype(np.int64)
        found[group] = {
            name: _entry(
                pool_readers(statistics[name], strata, name=f"{name} {group}", seed=seed), part, name, _n(part, name)
            )
            for name in names
        }
    return found


def select_cases(readings: Readings, chosen: Flags) -> Readings:
    """The readings of some cases; repeats are left out."""
    return Readings(
        readers=readings.readers,
        cases=tuple(case for case, has in zip(readings.cases, chosen.tolist(), strict=True) if has),
        **{
            name: getattr(readings, name)[chosen]
            for name in (
                "synthetic", "finding", "size_px", "labels", "ratings", "correct", "ticked", "items", "seconds"
            )
        },
        repeated=((),) * len(readings.readers),
    )  # fmt: skip


def _roc_points(readings: Readings) -> dict[str, list[list[float]]]:
    """Operating points [false alarms, hits] from strict to lax: of the mean reader, and of each."""
    synthetic = readings.synthetic
    points: dict[str, list[list[float]]] = {}
    for column, reader in enumerate(readings.readers):
        ratings = readings.ratings[:, column]
        real, made = ratings[~synthetic & ~np.isnan(ratings)], ratings[synthetic & ~np.isnan(ratings)]
        if real.size and made.size:
            points[reader] = [
                [rounded(float((real >= bar).mean())), rounded(float((made >= bar).mean()))]
                for bar in range(RATINGS + 1, 0, -1)
            ]
    if points:
        mean = np.mean(list(points.values()), axis=0)
        points["mean"] = [[rounded(float(x)), rounded(float(y))] for x, y in mean]
    return points


def _calls(readings: Readings) -> Floats:
    calls: Floats = np.where(np.isnan(readings.ratings), np.nan, readings.ratings >= FIRST_SYNTHETIC_RATING)
    return calls


def _corrected(flags: Floats, weights: Floats) -> Floats:
    """Share [R, B] of flags [C, R] that hold, with half a case added on each side: never 0 or 1."""
    known = ~np.isnan(flags)
    held, count = np.where(known, flags, 0).T @ weights.T, known.T.astype(np.float64) @ weights.T
    return np.where(count > 0, (held + 0.5) / (count + 1), np.nan)


def _auc(ratings: Floats, synthetic: Flags, weights: Floats) -> Floats:
    known = ~np.isnan(ratings)
    return weighted_auroc(ratings[known], synthetic[known], weights[:, known])


def _z(shares: Floats) -> Floats:
    from scipy.special import ndtri

    values: Floats = ndtri(shares)
    return values


def _number(value: float) -> float | int | None:
    return rounded(value) if math.isfinite(value) else None


def _span(ends: tuple[float, float]) -> list[float | int | None]:
    return [_number(end) for end in ends]
