"""FID and KID as instruments: do they rise with known defects, and fall while a generator learns?

Features of real radiographs made worse step by step, or of images of one generator at stages of its training, come in;
Spearman's rank correlation with the truth goes out. A measure of fidelity that does not follow a truth is no evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Codes, disjoint_halves, group_codes, make_rng
from xrarchive.validation.fidelity import METRICS, Features, Metric, why_not
from xrarchive.validation.measures import Measure, measure, not_measured, rounded

# Radiographs made worse, one of each patient, and at most how many of other patients they are compared with.
FILMS = 500
COMPARED = 2000
BAR = 0.9
NOTE = "Rank correlation of the measure with the strength of a defect, over no defect and five levels of it."
SNAPSHOT_NOTE = "Rank correlation of the measure with the radiographs shown in training, its sign turned: 1 = it falls."


def draw_sides(patients: npt.ArrayLike | None, films: int, *, seed: int) -> tuple[Codes, Codes]:
    """Rows of the radiographs to make worse and of those to compare them with: they share no patient.

    One film of each patient is made worse: a patient with fifty films would move all figures by what is his alone.

    Args:
        patients: [films]; None = unknown.
        films: How many there are.
        seed: Of the draw.
    """
    codes, rng = group_codes(patients, films), make_rng(seed, "instruments")
    first, second = disjoint_halves(codes, films, rng)
    shuffled = rng.permutation(first)
    alone = shuffled[np.unique(codes[shuffled], return_index=True)[1]]
    return np.sort(rng.permutation(alone)[:FILMS]), np.sort(rng.permutation(second)[:COMPARED])


def measure_instruments(
    clean: Features, real: Features, degraded: Mapping[str, Sequence[Features]]
) -> dict[str, dict[str, object]]:
    """Both measures in one feature space under every degradation.

    Args:
        clean: float [N, D] of radiographs as they are.
        real: float [M, D] of radiographs of other patients.
        degraded: By name of a degradation, `clean` at each of its levels, weakest first.

    Returns:
        By metric ``{"degradations": [{"name", "spearman": measure, "values": [...]}]}``, or why not.
    """
    found: dict[str, dict[str, object]] = {}
    for metric in METRICS:
        reason = why_not(metric, clean, real)
        rows = [] if reason else [_follow(metric, name, [clean, *levels], real) for name, levels in degraded.items()]
        found[metric.name] = not_measured(reason) if reason else {"degradations": rows}
    return found


def measure_snapshots(snapshots: Mapping[int, Features], real: Features) -> dict[str, Measure]:
    """Both measures in one feature space along a training.

    Args:
        snapshots: Radiographs shown -> float [N, D] of images drawn then.
        real: float [M, D] of radiographs the generator did not see.

    Returns:
        By metric the measure, with `nimg` and `values`.
    """
    found: dict[str, Measure] = {}
    order = sorted(snapshots)
    for metric in METRICS:
        reasons = [why_not(metric, snapshots[nimg], real) for nimg in order]
        reason = next(filter(None, reasons), None)
        if len(order) < 3:
            reason = f"A rank correlation needs three snapshots, there are {len(order)}."
        if reason:
            found[metric.name] = not_measured(reason)
            continue
        values = [metric.distance(snapshots[nimg], real) for nimg in order]
        extra = {"nimg": order, "values": [rounded(value) for value in values]}
        value = -spearman(order, values)
        found[metric.name] = measure(value, n=len(real), note=SNAPSHOT_NOTE, extra=extra)
    return found


def spearman(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Rank correlation of two series [N], ties sharing their mean rank; 0 if one is constant."""
    from scipy.stats import rankdata

    left, right = (rankdata(series) - (len(np.asarray(series)) + 1) / 2 for series in (first, second))
    scale = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / scale) if scale > 0 else 0.0


def _follow(metric: Metric, name: str, levels: Sequence[Features], real: Features) -> dict[str, object]:
    values = [metric.distance(features, real) for features in levels]
    return {
        "name": name,
        "spearman": measure(spearman(range(len(values)), values), n=len(real), note=NOTE),
        "values": [rounded(value) for value in values],
    }
