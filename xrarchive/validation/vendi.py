"""How many images are there in effect? Features in, the Vendi score out: 1 if all are one image, N if none are alike.

The score is the exponential of the entropy of the eigenvalues of K / N, where K holds the cosines of all pairs of rows.
Those are the eigenvalues of the second-moment matrix of the rows scaled to length 1, whichever of the two is smaller is
decomposed. It needs no reference, but it grows with N and depends on the space: hold it against real films at equal N.

The interval is that of the nonparametric delta method (infinitesimal jackknife), by patients where they are known: a
bootstrap would repeat rows, and repeats are what the score counts against a set.

Sources: Friedman & Dieng 2022, arXiv 2210.02410, definition 3.1 and section 3.4; Efron 1982, The Jackknife, chapter 6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats, group_codes
from xrarchive.estimates import Estimate

# Eigenvalues below this share of the whole are rounding: real ones of 10,000 rows are not below 1e-9.
_SMALLEST = 1e-12
# Of the normal distribution, for the central 95 %.
_QUANTILE = 1.959964


def vendi(features: npt.ArrayLike, *, groups: npt.ArrayLike | None = None) -> Estimate:
    """The Vendi score with cosine kernel, 1..N, and its interval.

    Args:
        features: float [N, D], finite, no row all 0.
        groups: [N] patients: rows of one are not independent; blank, or None for all, is a patient of its own.

    Raises:
        ValueError: For other shapes, or rows without a direction.
    """
    rows = np.asarray(features, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True) if rows.ndim == 2 else np.zeros(1)
    if rows.ndim != 2 or not len(rows) or not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"features must be finite [N, D], no row all 0; got shape {rows.shape}")
    units = rows / lengths
    values, entropies = _spectrum(units)
    entropy = float(-(values * np.log(values)).sum())
    sums = np.bincount(group_codes(groups, len(units)), weights=entropies - entropy)
    spread = _QUANTILE * float(np.sqrt((sums**2).sum())) / len(units)
    low, high = (float(np.clip(np.exp(entropy + step), 1, len(units))) for step in (-spread, spread))
    return Estimate(float(np.exp(entropy)), low, high)


def _spectrum(units: Floats) -> tuple[Floats, Floats]:
    """Positive eigenvalues of the kernel over N, and of each row its -x' log(C) x, whose mean is the entropy: [N].

    C is the second-moment matrix of the rows; that value less the entropy is a row's influence on the entropy.
    """
    count, dim = units.shape
    if dim <= count:
        values, vectors = np.linalg.eigh(units.T @ units / count)
        along = (units @ vectors) ** 2
    else:
        values, vectors = np.linalg.eigh(units @ units.T / count)
        along = count * vectors**2 * values  # (x_n . v_i)^2, where v_i is the direction of the i-th eigenvalue
    kept = values > _SMALLEST
    values = values[kept] / values[kept].sum()
    return values, -(along[:, kept] @ np.log(values))
