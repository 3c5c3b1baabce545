"""How many of the images asked to show a finding do show it? A judge that errs comes in, P(present | asked) goes out.

Two ways, as they lean on different assumptions; both take the judge to err on synthetic images as on real ones.

    rogan_gladen    from yes/no calls, corrected by the sensitivity and specificity those have on real radiographs
    score_mixture   from calibrated posteriors: the prior under which the posteriors of the asked images add up

Labels of real radiographs are wrong at times, most where they were mined from reports: `rogan_gladen` also says what
it would find if a given share of them were.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.estimates import RESAMPLES, Estimate, bootstrap_estimates, divide, weighted_mean

# Saerens et al. leave the stopping rule open; the prior is then known far better than any sample says.
TOLERANCE = 1e-8
MAX_ITERATIONS = 1_000

# Halvings of 0..1 until the prior is within 2^-31 = 5e-10.
_HALVINGS = 30
_PRIOR_DIGITS = 9


def rogan_gladen(
    asked_calls: npt.ArrayLike,
    real_calls: npt.ArrayLike,
    real_labels: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    label_noise: float = 0.0,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Share of the asked images that show the finding: calls corrected for the caller's errors, in 0..1.

        prevalence = (called share + specificity - 1) / (sensitivity + specificity - 1), clipped to 0..1

    Sensitivity and specificity come from the real side; both sides are resampled. Undefined (and left out of the
    interval) where sensitivity + specificity <= 1, that is, where the calls know nothing.

    With label noise r each real label is taken to be flipped with probability r, whatever the truth and whatever the
    call. With p the share labelled 1, x1 the share called and labelled 1, x0 the share called and labelled 0:

        x1 = (1-r) t + r u,  x0 = r t + (1-r) u    where t = sensitivity * true prevalence,
        p = r + (1-2r) * true prevalence                 u = (1 - specificity) * (1 - true prevalence)

    which solved for the true ones gives

        sensitivity = ((1-r) x1 - r x0) / (p - r),  1 - specificity = ((1-r) x0 - r x1) / (1 - p - r)

    clipped to 0..1; undefined where r >= p or r >= 1 - p, as so many flips alone would label more.

    Args:
        asked_calls: bool [N], the judge's calls on images asked to show the finding.
        real_calls: bool [M], its calls on radiographs it was not fitted to (cross-fitted).
        real_labels: [M], 1 present, 0 absent, NaN unknown; rows with unknown label are left out.
        groups: [M] patients; blank, or None for all, is a patient of its own.
        label_noise: r, in [0, 0.5).
        seed: Same seed, same interval.
        resamples: How many times each side is drawn.

    Raises:
        ValueError: For an empty side, shapes that differ, other labels, or noise outside its range.

    Source:
        Rogan & Gladen 1978, Am J Epidemiol 107:71. Noise: Gart & Buck 1966, Am J Epidemiol 83:593, for a
        reference whose sensitivity and specificity are both 1-r (closed form as in Staquet et al. 1981).
    """
    if not 0 <= label_noise < 0.5:
        raise ValueError(f"label_noise must be in [0, 0.5), got {label_noise}")
    asked = _calls("asked_calls", asked_calls)
    called, positive, known = _labelled(_calls("real_calls", real_calls), real_labels)
    patients = None if groups is None else _of_rows(groups, known)

    def statistic(asked_times: Floats, real_times: Floats) -> Floats:
        sensitivity, false_alarms = _operating_point(called, positive, real_times, label_noise)
        prevalence = divide(weighted_mean(asked, asked_times) - false_alarms, sensitivity - false_alarms)
        return np.clip(prevalence, 0, 1)[None]

    sides = (asked.size, None), (called.size, patients)
    return bootstrap_estimates(statistic, sides, name="rogan gladen", seed=seed, resamples=resamples)[0]


def adjust_prior(posteriors: npt.ArrayLike, prevalence: float) -> tuple[float, Floats]:
    """The prior of a set of images, and their posteriors under it, from posteriors calibrated under another prior.

    Expectation maximisation: posteriors are moved to the current prior, and their mean is the next one, from
    `prevalence` until it moves by less than `TOLERANCE`, or for `MAX_ITERATIONS`. The likelihood has one maximum.

    Args:
        posteriors: [N] in 0..1, P(present | image) where a share `prevalence` is present.
        prevalence: In (0, 1).

    Returns:
        The prior in 0..1, and the posteriors under it, float64 [N].

    Raises:
        ValueError: For no posteriors, or for numbers outside their range.

    Source:
        Saerens, Latinne & Decaestecker 2002, Neural Computation 14:21, eq. 2.9.
    """
    given = _posteriors(posteriors, prevalence)
    prior = float(prevalence)
    for _ in range(MAX_ITERATIONS):
        before, prior = prior, float(_under(given, prevalence, prior).mean())
        if abs(prior - before) < TOLERANCE:
            break
    return prior, _under(given, prevalence, prior)


def score_mixture(posteriors: npt.ArrayLike, prevalence: float, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """The prior that `adjust_prior` converges to, with an interval over images: share that show the finding, in 0..1.

    It is found as the maximum of the (concave) likelihood by halving, for all resamples at once, because expectation
    maximisation is slow to reach a prior near 0 or 1. The interval takes the calibration of the posteriors as given.
    Undefined where every posterior equals `prevalence`: those images say nothing.

    Args:
        posteriors: As for `adjust_prior`, of images asked to show the finding.
        prevalence: As for `adjust_prior`.
        seed: Same seed, same interval.
        resamples: How many times the images are drawn.

    Raises:
        ValueError: As `adjust_prior`.
    """
    given = _posteriors(posteriors, prevalence)
    present, absent = given / prevalence, (1 - given) / (1 - prevalence)

    def statistic(times: Floats) -> Floats:
        return _likeliest_prior(present, absent, times)[None]

    return bootstrap_estimates(statistic, [(given.size, None)], name="score mixture", seed=seed, resamples=resamples)[0]


def _operating_point(called: Floats, positive: Floats, times: Floats, noise: float) -> tuple[Floats, Floats]:
    """Sensitivity and 1 - specificity in each resample [R], for labels of which a share `noise` is flipped."""
    labelled = weighted_mean(positive, times)
    called_positive = weighted_mean(called * positive, times)
    called_negative = weighted_mean(called * (1 - positive), times)
    sensitivity = divide((1 - noise) * called_positive - noise * called_negative, labelled - noise)
    false_alarms = divide((1 - noise) * called_negative - noise * called_positive, 1 - labelled - noise)
    return np.clip(sensitivity, 0, 1), np.clip(false_alarms, 0, 1)


def _under(posteriors: Floats, prevalence: float, prior: float) -> Floats:
    """Posteriors moved from one prior to another by Bayes' rule."""
    present, absent = posteriors * (prior / prevalence), (1 - posteriors) * ((1 - prior) / (1 - prevalence))
    moved: Floats = present / (present + absent)
    return moved


def _likeliest_prior(present: Floats, absent: Floats, times: Floats) -> Floats:
    """The prior with the highest likelihood in each resample [R]; NaN where no image drawn tells the two apart.

    The slope of sum w log(prior * present + (1 - prior) * absent) falls with the prior: halve towards its zero.
    """
    low, high = np.zeros(len(times)), np.ones(len(times))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slopes = (present - absent) / (absent + middle[:, None] * (present - absent))
        upward = np.einsum("rn,rn->r", times, slopes) > 0
        low, high = np.where(upward, middle, low), np.where(upward, high, middle)
    informed = times @ (present != absent) > 0
    found: Floats = np.where(informed, np.round((low + high) / 2, _PRIOR_DIGITS), np.nan)
    return found


def _posteriors(posteriors: npt.ArrayLike, prevalence: float) -> Floats:
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence must be in (0, 1), got {prevalence}")
    given = np.asarray(posteriors, np.float64)
    if given.ndim != 1 or not given.size or not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"posteriors must be [N] in 0..1, one at least; got shape {given.shape}")
    return given


def _calls(name: str, values: npt.ArrayLike) -> Floats:
    calls = np.asarray(values)
    if calls.dtype != np.bool_ or calls.ndim != 1 or not calls.size:
        raise ValueError(f"{name} must be bool [N], one at least; got {calls.dtype} {calls.shape}")
    return calls.astype(np.float64)


def _labelled(called: Floats, labels: npt.ArrayLike) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Calls and labels of the labelled rows, and which rows those are."""
    given = np.asarray(labels, np.float64)
    if given.shape != called.shape:
        raise ValueError(f"real_labels must be [{called.size}], got {given.shape}")
    known = ~np.isnan(given)
    if not known.any() or not np.isin(given[known], (0, 1)).all():
        raise ValueError("real_labels must be 1, 0 or NaN, and not all NaN")
    return called[known], given[known], known


def _of_rows(groups: npt.ArrayLike, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.generic]:
    names = np.asarray(groups)
    if names.shape != rows.shape:
        raise ValueError(f"groups must be [{rows.size}], got {names.shape}")
    return names[rows]
