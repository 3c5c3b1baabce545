"""How many readings a question takes: the planner `study make` prints. Closed formulas, normal approximation.

Readings by one reader of different cases are independent; several readers of the same cases are not, which the design
effect allows for: with a share `rho` of the variance going with the case, R readers of one case are worth
R / (1 + (R - 1) rho) readings.

Source: Fleiss, Levin & Paik, Statistical Methods for Rates and Proportions, 3rd ed., eq. 2.15 (one proportion); Chow,
Shao & Wang, Sample Size Calculations in Clinical Research, 2nd ed., section 4.1.3 (equivalence); Kish 1965 (effect).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

ALPHA, POWER = 0.05, 0.8
# An accuracy people planned for in the field: 60 % were told (Park 2021: 59.4 %).
DETECTABLE = 0.6
# Share of the variance of correct calls that goes with the case; low kappas among readers of such studies say little.
CASE_SHARE = 0.1

_NORMAL = NormalDist()
_CHANCE = 0.5


@dataclass(frozen=True)
class Power:
    """What a study of this size can show.

    Attributes:
        reads: Independent readings it amounts to: cases x readers over the design effect.
        detect: Power to tell an accuracy of `DETECTABLE` from guessing, two-sided at `ALPHA`: one reader alone, and
            all.
        equivalence: Power to show that readers who guess are within the margin, for one reader and all.
        detect_needs: Independent readings for `POWER` in the first question.
        equivalence_needs: The same for the second.
        smallest: The accuracy above 0.5 that all readings tell from guessing with `POWER`.
        margin: Of the equivalence test.
    """

    reads: float
    detect: tuple[float, float]
    equivalence: tuple[float, float]
    detect_needs: int
    equivalence_needs: int
    smallest: float
    margin: float


def plan_power(cases: int, readers: int, *, margin: float) -> Power:
    """What `cases` read by each of `readers` can show."""
    reads = cases * readers / (1 + (readers - 1) * CASE_SHARE)
    both = (float(cases), reads)
    detect = tuple(power_to_detect(n, DETECTABLE) for n in both)
    equivalence = tuple(power_of_equivalence(n, margin) for n in both)
    return Power(
        reads=reads,
        detect=(detect[0], detect[1]),
        equivalence=(equivalence[0], equivalence[1]),
        detect_needs=reads_to_detect(DETECTABLE),
        equivalence_needs=reads_for_equivalence(margin),
        smallest=smallest_detectable(reads),
        margin=margin,
    )


def reads_to_detect(accuracy: float, *, power: float = POWER) -> int:
    """Independent readings that tell `accuracy` from one half, two-sided at `ALPHA`: 194 for 0.6."""
    spread = _z(1 - ALPHA / 2) * _sd(_CHANCE) + _z(power) * _sd(accuracy)
    return math.ceil((spread / (accuracy - _CHANCE)) ** 2)


def reads_for_equivalence(margin: float, *, power: float = POWER) -> int:
    """Independent readings by which guessing is shown to be within +- `margin`: 215 for 0.1."""
    spread = (_z(1 - ALPHA) + _z(1 - (1 - power) / 2)) * _sd(_CHANCE)
    return math.ceil((spread / margin) ** 2)


def power_to_detect(reads: float, accuracy: float) -> float:
    """Chance that `reads` independent readings tell `accuracy` from one half."""
    reach = abs(accuracy - _CHANCE) * math.sqrt(reads) - _z(1 - ALPHA / 2) * _sd(_CHANCE)
    return _NORMAL.cdf(reach / _sd(accuracy))


def power_of_equivalence(reads: float, margin: float) -> float:
    """Chance that `reads` independent readings of a reader who guesses show equivalence within `margin`."""
    return max(0.0, 2 * _NORMAL.cdf(margin * math.sqrt(reads) / _sd(_CHANCE) - _z(1 - ALPHA)) - 1)


def smallest_detectable(reads: float) -> float:
    """The least accuracy above one half that `reads` independent readings tell from it with `POWER`; 1 if none."""
    low, high = _CHANCE, 1.0
    if power_to_detect(reads, high - 1e-9) < POWER:
        return high
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if power_to_detect(reads, middle) >= POWER else (middle, high)
    return high


def _z(share: float) -> float:
    return _NORMAL.inv_cdf(share)


def _sd(accuracy: float) -> float:
    return math.sqrt(accuracy * (1 - accuracy))
