"""Do readers agree, with each other and with themselves? Fleiss' kappa and Krippendorff's alpha.

In: codes [C, R] of every case by every reader, NaN where one is missing. Out: an `Estimate` each. Written here because
each is a dozen lines of sums: the packages that have them bring pandas and formulas along, or a licence that ours
cannot carry.

Source: Fleiss 1971, Psychological Bulletin 76:378; Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xrarchive.bootstrap import Floats
from xrarchive.estimates import Estimate, Statistic, bootstrap_estimates, divide

_RESAMPLES = 1000


def fleiss_kappa(codes: Floats, *, seed: int = 0) -> Estimate:
    """Agreement beyond chance among readers who each gave one of some categories to every case.

    Cases that a reader left out are left out; NaN where every reading is the same, or nobody read a case twice.
    """
    counts = _counts(codes)[~np.isnan(codes).any(axis=1)]
    if not counts.size or counts.sum(axis=1).max(initial=0) < 2:
        return _undefined()
    readers = counts.sum(axis=1)[0]
    agreeing = (counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1))

    def statistic(times: Floats) -> Floats:
        cases = times.sum(axis=1)
        shares = divide(times @ counts, np.repeat((cases * readers)[:, None], counts.shape[1], axis=1))
        chance = (shares**2).sum(axis=1)
        return divide(divide(times @ agreeing, cases) - chance, 1 - chance)[None]

    return _estimate(statistic, len(counts), "fleiss", seed)


def krippendorff_alpha(codes: Floats, *, ordinal: bool = False, seed: int = 0) -> Estimate:
    """Agreement beyond chance; readings may be missing, and for ordinal codes near misses count less.

    NaN where every reading is the same, or no case was read twice.
    """
    counts = _counts(codes)
    counts = counts[counts.sum(axis=1) >= 2]
    if not counts.size:
        return _undefined()
    pairable = counts.sum(axis=1, keepdims=True)
    kinds = counts.shape[1]
    together = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(kinds)
    per_case = (together / (pairable - 1)[:, :, None]).reshape(len(counts), -1)

    def statistic(times: Floats) -> Floats:
        coincidences = (times @ per_case).reshape(-1, kinds, kinds)
        totals = coincidences.sum(axis=2)
        weights = _ordinal_weights(totals) if ordinal else np.broadcast_to(1 - np.eye(kinds), coincidences.shape)
        everything = totals.sum(axis=1)
        expected = (totals[:, :, None] * totals[:, None, :] * weights).sum(axis=(1, 2))
        observed = (coincidences * weights).sum(axis=(1, 2)) * (everything - 1)
        return (1 - divide(observed, expected))[None]

    return _estimate(statistic, len(counts), "krippendorff", seed)


def share_alike(first: Sequence[float], second: Sequence[float]) -> tuple[int, int]:
    """How many of N repeated readings came out the same, and N."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a == a and b == b]
    return sum(a == b for a, b in pairs), len(pairs)


def _counts(codes: Floats) -> Floats:
    """[C, K]: how many readers gave each category to each case."""
    kinds = np.unique(codes[~np.isnan(codes)])
    counts = [(codes == kind).sum(axis=1) for kind in kinds]
    return np.stack(counts, axis=1).astype(np.float64) if counts else np.zeros((len(codes), 0))


def _ordinal_weights(totals: Floats) -> Floats:
    """Squared distances [R, K, K] between ranks: how many readings lie between two categories."""
    upto = np.cumsum(totals, axis=1)
    middle = upto - totals / 2
    distances: Floats = (middle[:, :, None] - middle[:, None, :]) ** 2
    return distances


def _estimate(statistic: Statistic, cases: int, name: str, seed: int) -> Estimate:
    (found,) = bootstrap_estimates(statistic, [(cases, None)], name=name, seed=seed, resamples=_RESAMPLES)
    return found


def _undefined() -> Estimate:
    return Estimate(float("nan"), float("nan"), float("nan"))
