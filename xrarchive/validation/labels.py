"""What steering did to the labels, seen by the judge: does it carry over, how strong is it, is it too strong?

Logits of the judge come in, one finding at a time; estimates with intervals go out. The control is what the guide does
to real radiographs: of those it accepts (puts into the box that was asked for), the judge sees a certain share of
findings, and no steered image can be held to more.

    transfer     (AUROC asked against random draws - 1/2) / (AUROC accepted against all radiographs - 1/2)
    dose         0 at the mean of real negatives, 1 at the mean of real positives
    exaggeration share above all but 5 % of the real positives

Real sides are resampled by whole patients, and all real sides of one number together; synthetic images are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.estimates import RESAMPLES, Estimate, bootstrap_estimates, divide, weighted_mean

# A steered image above this quantile of the real positives counts as exaggerated: 5 % of those do so by definition.
EXAGGERATED_ABOVE = 0.95

# A share times a count may miss a whole number by rounding; counts are far below 1e9.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Transfer:
    """How much of what the guide can tell reaches the judge, relative to what reaches it on real radiographs.

    Attributes:
        transfer: Ratio of the excess over 1/2 of the two below; 1 = steering is worth as much as accepting real films.
        synthetic: AUROC of images asked for against random draws.
        control: AUROC of radiographs the guide accepts against all radiographs, accepted ones included.
    """

    transfer: Estimate
    synthetic: Estimate
    control: Estimate


def transfer(
    asked: npt.ArrayLike,
    random: npt.ArrayLike,
    real: npt.ArrayLike,
    accepted: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    seed: int,
    resamples: int = RESAMPLES,
) -> Transfer:
    """AUROC above chance of steered images over that of accepted radiographs, with both AUROCs, resampled together.

    Accepted radiographs stay among `real`, as a random draw may lie in the box too; a film against itself is a tie.
    Resamples whose control is at or below 1/2 have no ratio: they are left out of its interval and counted.

    Args:
        asked: Judge logits [A] of images asked to show the finding; only their order matters, here and below.
        random: Judge logits [B] of images of random latents.
        real: Judge logits [M] of radiographs.
        accepted: bool [M], whether the guide's logits of a radiograph lie in the box that was asked for.
        groups: [M] patients of the radiographs; blank, or None for all, is a patient of its own.
        seed: Same seed, same intervals.
        resamples: How many times each side is drawn.

    Raises:
        ValueError: For a side that is empty, not one-dimensional or not finite, or if nothing was accepted.
    """
    steered, drawn, films = _logits("asked", asked), _logits("random", random), _logits("real", real)
    chosen = np.asarray(accepted, np.bool_)
    if chosen.shape != films.shape or not chosen.any():
        raise ValueError(f"accepted must be [{films.size}] with one film at least, got {chosen.shape}")

    def statistic(steered_times: Floats, drawn_times: Floats, film_times: Floats) -> Floats:
        synthetic = _auroc(steered, steered_times, drawn, drawn_times)
        control = _auroc(films[chosen], film_times[:, chosen], films, film_times)
        return np.stack([divide(synthetic - 0.5, control - 0.5), synthetic, control])

    sides = (steered.size, None), (drawn.size, None), (films.size, groups)
    return Transfer(*bootstrap_estimates(statistic, sides, name="transfer", seed=seed, resamples=resamples))


def dose(
    asked: npt.ArrayLike,
    real_positive: npt.ArrayLike,
    real_negative: npt.ArrayLike,
    *,
    asked_groups: npt.ArrayLike | None = None,
    positive_groups: npt.ArrayLike | None = None,
    negative_groups: npt.ArrayLike | None = None,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean judge logit of images asked for, on the scale where real negatives have 0 and real positives 1.

    For the control, call it again with the accepted radiographs as `asked` and their patients as `asked_groups`.
    Undefined, and left out of the interval, where real positives do not lie above real negatives.

    Args:
        asked: Judge logits [A].
        real_positive: Judge logits [P] of radiographs labelled 1.
        real_negative: Judge logits [M] of radiographs labelled 0.
        asked_groups: [A]; None = synthetic images, independent. A name means the same patient on all three sides.
        positive_groups: [P] patients; None = independent.
        negative_groups: [M] patients; None = independent.
        seed: Same seed, same interval.
        resamples: How many times the sides are drawn.

    Raises:
        ValueError: For a side that is empty, not one-dimensional or not finite.
    """
    steered, positive = _logits("asked", asked), _logits("real_positive", real_positive)
    negative = _logits("real_negative", real_negative)

    def statistic(steered_times: Floats, positive_times: Floats, negative_times: Floats) -> Floats:
        zero = weighted_mean(negative, negative_times)
        one = weighted_mean(positive, positive_times)
        return divide(weighted_mean(steered, steered_times) - zero, one - zero)[None]

    sides = (steered.size, asked_groups), (positive.size, positive_groups), (negative.size, negative_groups)
    return bootstrap_estimates(statistic, sides, name="dose", seed=seed, resamples=resamples)[0]


def exaggeration(
    asked: npt.ArrayLike,
    real_positive: npt.ArrayLike,
    *,
    asked_groups: npt.ArrayLike | None = None,
    positive_groups: npt.ArrayLike | None = None,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Share of images asked for whose judge logit is above `EXAGGERATED_ABOVE` of the real positives; 0.05 = as real.

    Args:
        asked: Judge logits [A].
        real_positive: Judge logits [P] of radiographs labelled 1; the quantile is the smallest value that the stated
            share does not exceed (inverse of the empirical distribution), taken anew in each resample.
        asked_groups: As for `dose`.
        positive_groups: As for `dose`.
        seed: Same seed, same interval.
        resamples: How many times the sides are drawn.

    Raises:
        ValueError: For a side that is empty, not one-dimensional or not finite.
    """
    steered, positive = _logits("asked", asked), _logits("real_positive", real_positive)

    def statistic(steered_times: Floats, positive_times: Floats) -> Floats:
        return _share_above(steered, steered_times, _quantile(positive, positive_times, EXAGGERATED_ABOVE))[None]

    sides = (steered.size, asked_groups), (positive.size, positive_groups)
    return bootstrap_estimates(statistic, sides, name="exaggeration", seed=seed, resamples=resamples)[0]


def exaggeration_excess(
    asked: npt.ArrayLike,
    control: npt.ArrayLike,
    real_positive: npt.ArrayLike,
    *,
    control_groups: npt.ArrayLike | None = None,
    positive_groups: npt.ArrayLike | None = None,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """`exaggeration` of images asked for minus that of the control, both above the same quantile: -1..1, 0 = as real.

    Args:
        asked: Judge logits [A], independent.
        control: Judge logits [C] of the radiographs the guide accepts.
        real_positive: Judge logits [P] of radiographs labelled 1; may hold films of the control.
        control_groups: [C] patients; a name means the same patient as in `positive_groups`, drawn once for both.
        positive_groups: [P] patients.
        seed: Same seed, same interval.
        resamples: How many times the sides are drawn.

    Raises:
        ValueError: For a side that is empty, not one-dimensional or not finite.
    """
    steered, films = _logits("asked", asked), _logits("control", control)
    positive = _logits("real_positive", real_positive)

    def statistic(steered_times: Floats, film_times: Floats, positive_times: Floats) -> Floats:
        cut = _quantile(positive, positive_times, EXAGGERATED_ABOVE)
        return (_share_above(steered, steered_times, cut) - _share_above(films, film_times, cut))[None]

    sides = (steered.size, None), (films.size, control_groups), (positive.size, positive_groups)
    return bootstrap_estimates(statistic, sides, name="exaggeration excess", seed=seed, resamples=resamples)[0]


def _auroc(positive: Floats, positive_times: Floats, negative: Floats, negative_times: Floats) -> Floats:
    """P(positive > negative), ties counting half, in each resample; a row may be on both sides: [R]."""
    order = np.argsort(negative, kind="stable")
    mass = np.zeros((len(negative_times), negative.size + 1))
    np.cumsum(negative_times[:, order], axis=1, out=mass[:, 1:])
    below, up_to = (np.searchsorted(negative[order], positive, side=side) for side in ("left", "right"))
    wins = np.sum(positive_times * (mass[:, below] + mass[:, up_to]) / 2, axis=1)
    return divide(wins, positive_times.sum(axis=1) * mass[:, -1])


def _quantile(values: Floats, times: Floats, share: float) -> Floats:
    """Smallest value at or below which lies at least `share` of the draws, in each resample [R]; NaN without a draw."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(times[:, order], axis=1)
    first = np.argmax(mass >= share * mass[:, -1:] - _ROUNDING, axis=1)
    found: Floats = np.where(mass[:, -1] > 0, values[order][first], np.nan)
    return found


def _share_above(values: Floats, times: Floats, cuts: Floats) -> Floats:
    """Share of the draws above each resample's cut [R]; NaN where there is no draw or no cut."""
    above = np.sum(times * (values > cuts[:, None]), axis=1)
    found: Floats = np.where(np.isnan(cuts), np.nan, divide(above, times.sum(axis=1)))
    return found


def _logits(name: str, values: npt.ArrayLike) -> Floats:
    logits = np.asarray(values, np.float64)
    if logits.ndim != 1 or not logits.size or not np.isfinite(logits).all():
        raise ValueError(f"{name} must be finite numbers [N], one at least; got shape {logits.shape}")
    return logits
