"""Do the synthetic images look like radiographs? Features of both sides in, one measure per metric out.

Each metric comes with a bootstrap interval (images are drawn on the synthetic side, patients on the real side) and with
its floor: what real radiographs score against other patients' radiographs. The floor is taken at equal N, and so is the
`synthetic` figure beside it, because a Fréchet distance falls as N grows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive import kernel
from xrarchive.bootstrap import (
    LEVEL,
    RESAMPLES,
    Codes,
    Floats,
    Resampled,
    disjoint_halves,
    distance_interval,
    draw_multiplicities,
    group_codes,
    make_rng,
    percentile_interval,
)
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.validation import frechet
from xrarchive.validation.measures import Measure, measure, not_measured, rounded
from xrarchive.validation.reference import Reference, require_finite

Features = npt.NDArray[np.floating]

FLOOR_DRAWS = 10
# Of a resampled distance whose logarithm is taken.
_LEAST = 1e-12
CONTROL_NOTE = "Real radiographs under a 3x3 blur against others as they are: what a defect the eye hardly sees costs."
RATIO_NOTE = (
    "Images to radiographs over radiographs to other patients' radiographs, both at this N: 1 if they cannot be told "
    "apart in this space. A kernel distance counts the pairs of an image with itself here, to keep the floor above 0."
)
NO_CONTROL = "The reference holds no radiographs to make worse: validate with --radiographs SET for a negative control."


@dataclass(frozen=True)
class Metric:
    """One way to turn two feature sets into a number that is larger the more they differ.

    Attributes:
        name: Key in the report.
        title: For tables and messages.
        distance: [N, D], [M, D] -> number.
        resampled: [N, D], [M, D], drawn [R, N], drawn [R, G], codes [M] -> float64 [R].
        over_floor: As `distance`, above 0 also for real against real, so that it can be divided by.
        over_floor_resampled: As `resampled`, of `over_floor`; only the spread in proportion to the mean counts.
        images_needed: Dimension -> fewest images per side.
        need: Why that many, to follow "needs N images per side".
        note: What the number means.
    """

    name: str
    title: str
    distance: Callable[[Features, Features], float]
    resampled: Resampled
    over_floor: Callable[[Features, Features], float]
    over_floor_resampled: Resampled
    images_needed: Callable[[int], int]
    need: str
    note: str


FRECHET = Metric(
    name="frechet",
    title="Fréchet distance",
    distance=frechet.frechet_distance,
    resampled=frechet.frechet_resampled,
    over_floor=frechet.frechet_distance,
    over_floor_resampled=frechet.frechet_resampled_raw,
    images_needed=frechet.images_needed,
    need="more than twice the feature dimension",
    note=(
        "Fréchet distance between synthetic images and real radiographs, each seen as a Gaussian in this space. "
        "It falls as N grows: compare it at equal N only, and with its floor, never with a figure from another network."
    ),
)
KERNEL = Metric(
    name="kid",
    title="KID",
    distance=kernel.kernel_distance,
    resampled=kernel.kernel_resampled,
    over_floor=kernel.kernel_distance_with_self,
    over_floor_resampled=kernel.kernel_resampled_with_self,
    images_needed=lambda dim: kernel.IMAGES_NEEDED,  # noqa: ARG005  (unbiased in any dimension)
    need="for an interval that means something",
    note=(
        "Unbiased kernel distance (KID, cubic kernel, all pairs) between synthetic images and real radiographs: "
        "about 0, also slightly below, if they cannot be told apart in this space. Compare within one space only."
    ),
)
METRICS = (KERNEL, FRECHET)


def measure_spaces(
    synthetic: Mapping[str, Features],
    fingerprints: Mapping[str, str],
    reference: Reference,
    *,
    blurred: Mapping[str, Features] | None = None,
    seed: int,
    on_status: OnStatus = ignore_status,
) -> dict[str, dict[str, Measure]]:
    """Every metric in every feature space of either side, or the reason why not.

    Args:
        synthetic: Features float [N, D] of the images, by feature space.
        fingerprints: sha256 of the weights behind each of those spaces.
        reference: Features of real radiographs.
        blurred: Features of the reference's radiographs made worse, in its order, by feature space; None where its
            radiographs are not at hand.
        seed: Of every bootstrap and draw.
        on_status: Told what is being measured.

    Raises:
        InputDataError: If features are NaN or infinite.
        ValueError: If spaces lack fingerprints, or differ in rows.
    """
    if set(synthetic) != set(fingerprints):
        raise ValueError(f"spaces {sorted(synthetic)} need fingerprints, got {sorted(fingerprints)}")
    if len(counts := {len(features) for features in synthetic.values()}) > 1:
        raise ValueError(f"spaces must hold the same images, got {sorted(counts)} feature rows")
    for space, features in synthetic.items():
        require_finite(features, what=f"The images in feature space {space!r}")
    jobs = [(space, metric) for space in sorted({*synthetic, *reference.spaces}) for metric in METRICS]
    found: dict[str, dict[str, Measure]] = {}
    for done, (space, metric) in enumerate(jobs):
        on_status(Status(done, len(jobs), "measures", f"{metric.title}, {space}"))
        reason = unusable(space, synthetic, fingerprints, reference)
        found.setdefault(space, {})[metric.name] = (
            not_measured(reason)
            if reason
            else measure_fidelity(
                metric,
                synthetic[space],
                reference.spaces[space],
                blurred=(blurred or {}).get(space),
                patients=reference.patients,
                seed=seed,
                space=space,
            )
        )
    on_status(Status(len(jobs), len(jobs), "measures", "fidelity"))
    return found


def measure_fidelity(
    metric: Metric,
    synthetic: Features,
    real: Features,
    *,
    blurred: Features | None = None,
    patients: npt.NDArray[np.int64] | None,
    seed: int,
    space: str,
) -> Measure:
    """One metric in one feature space, with interval, floor, control and ratio, or the reason why not.

    Args:
        metric: `KERNEL` or `FRECHET`.
        synthetic: float [N, D], finite.
        real: float [M, D], finite.
        blurred: float [M, D] of the same radiographs made worse; None if they are not at hand.
        patients: int64 [M] of the real side; None = unknown, every radiograph counts as a patient of its own.
        seed: Same seed, same interval and floor.
        space: Name of the feature space; keeps its random stream apart.

    Raises:
        ValueError: If the dimensions differ.
    """
    if synthetic.shape[1] != real.shape[1]:
        raise ValueError(f"{space}: synthetic features have {synthetic.shape[1]} dimensions, real {real.shape[1]}")
    reason = why_not(metric, synthetic, real)
    if reason:
        return not_measured(reason)
    left, right = np.asarray(synthetic, np.float64), np.asarray(real, np.float64)
    worse = None if blurred is None else np.asarray(blurred, np.float64)
    codes = group_codes(patients, len(right))
    low, high = distance_interval(metric.resampled, left, right, codes, make_rng(seed, metric.name, space))
    halvings = draw_halvings(metric, left, right, codes, make_rng(seed, metric.name, space, "floor"))
    ratio_rng = make_rng(seed, metric.name, space, "ratio")
    return measure(
        metric.distance(left, right),
        low=low,
        high=high,
        n=len(left),
        floor=measure_floor(metric, left, right, halvings),
        note=metric.note,
        extra={
            "n_real": len(right),
            "n_patients": None if patients is None else int(codes.max()) + 1,
            "control": measure_control(metric, worse, right, halvings),
            "ratio": measure_ratio(metric, left, right, codes, halvings, ratio_rng),
        },
    )


@dataclass(frozen=True)
class Halving:
    """One draw at equal N: rows [n] of two patient-disjoint halves of the radiographs, and of as many images."""

    first: Codes
    second: Codes
    images: Codes


def draw_halvings(
    metric: Metric, synthetic: Floats, real: Floats, codes: Codes, rng: np.random.Generator
) -> tuple[Halving, ...] | str:
    """`FLOOR_DRAWS` random halvings, of the archive's size where the radiographs reach it; or why there are none."""
    halves = [disjoint_halves(codes, len(synthetic), rng) for _ in range(FLOOR_DRAWS)]
    size = min(len(half) for half, _ in halves)
    needed = metric.images_needed(real.shape[1])
    if size < needed:
        return (
            f"A real-versus-real {metric.title} in {real.shape[1]} dimensions needs {needed} images per side "
            f"({metric.need}), and the {len(real)} radiographs of the reference give {size}."
        )
    pairs = [(rng.permutation(first)[:size], rng.permutation(second)[:size]) for first, second in halves]
    return tuple(Halving(*pair, rng.choice(len(synthetic), size, replace=False)) for pair in pairs)


def measure_floor(
    metric: Metric, synthetic: Floats, real: Floats, halvings: tuple[Halving, ...] | str
) -> dict[str, object]:
    """Real against real.

    Returns:
        `value` and `sd` over the halvings, `n` images per side, `draws`, and `synthetic`: as many synthetic images
        against the first half of each, on average. Or the reason why there is no floor.
    """
    if isinstance(halvings, str):
        return not_measured(halvings)
    floors = [metric.distance(real[draw.first], real[draw.second]) for draw in halvings]
    alike = [metric.distance(synthetic[draw.images], real[draw.first]) for draw in halvings]
    return {
        "value": rounded(float(np.mean(floors))),
        "sd": rounded(float(np.std(floors, ddof=1))),
        "n": len(halvings[0].first),
        "draws": len(halvings),
        "synthetic": rounded(float(np.mean(alike))),
    }


def measure_control(
    metric: Metric, blurred: Floats | None, real: Floats, halvings: tuple[Halving, ...] | str
) -> dict[str, object]:
    """The negative control: the second half of the radiographs made worse against the first half as it is."""
    if isinstance(halvings, str):
        return not_measured(halvings)
    if blurred is None:
        return not_measured(NO_CONTROL)
    values = [metric.distance(blurred[draw.second], real[draw.first]) for draw in halvings]
    return {"value": rounded(float(np.mean(values))), "n": len(halvings[0].first), "note": CONTROL_NOTE}


def measure_ratio(
    metric: Metric,
    synthetic: Floats,
    real: Floats,
    codes: Codes,
    halvings: tuple[Halving, ...] | str,
    rng: np.random.Generator,
) -> Measure:
    """The distance of images to radiographs in units of the distance of radiographs to radiographs, at equal N.

    The value is over all halvings. Its interval comes from the first, in which images, and the patients of either half,
    are drawn again; both distances share the draws of the half they share.
    """
    if isinstance(halvings, str):
        return not_measured(halvings)
    above = [metric.over_floor(synthetic[draw.images], real[draw.first]) for draw in halvings]
    below = [metric.over_floor(real[draw.second], real[draw.first]) for draw in halvings]
    if not min(below) > 0:
        return not_measured("The radiographs do not differ from each other in this space: nothing to divide by.")
    draw = halvings[0]
    first, second = (np.unique(codes[rows], return_inverse=True)[1] for rows in (draw.first, draw.second))
    shared, other = (draw_multiplicities(half, RESAMPLES, rng) for half in (first, second))
    images = draw_multiplicities(np.arange(len(draw.images)), RESAMPLES, rng)
    half = real[draw.first]
    tops = metric.over_floor_resampled(synthetic[draw.images], half, images, shared, first)
    floors = metric.over_floor_resampled(real[draw.second], half, other[:, second], shared, first)
    # Resamples of either distance lie too high, and by about as much: their ratio is moved back, on a log scale.
    spread = np.log(np.maximum(tops, _LEAST)) - np.log(np.maximum(floors, _LEAST))
    value = float(np.mean(above) / np.mean(below))
    low, high = percentile_interval(np.exp(spread - spread.mean()) * value, LEVEL)
    return measure(value, low=low, high=high, n=len(draw.images), note=RATIO_NOTE)


def why_not(metric: Metric, synthetic: Features, real: Features) -> str | None:
    """The reason why `metric` cannot be measured on these features, None if it can."""
    dim = real.shape[1]
    needed = metric.images_needed(dim)
    if min(len(synthetic), len(real)) < needed:
        return (
            f"{metric.title} in {dim} dimensions needs {needed} images per side ({metric.need}); "
            f"there are {len(synthetic)} synthetic images and {len(real)} radiographs."
        )
    for side, rows in (("synthetic images", synthetic), ("radiographs of the reference", real)):
        if (rows == rows[0]).all():
            return f"All {len(rows)} {side} have the same features: there is no distribution to compare."
    return None


def unusable(
    space: str,
    synthetic: Mapping[str, npt.NDArray[np.floating]],
    fingerprints: Mapping[str, str],
    reference: Reference,
) -> str | None:
    """Why a feature space cannot be compared, None if it can."""
    if space not in synthetic:
        return f"The images have no features in the space {space!r}, though the reference has."
    if space not in reference.spaces:
        return f"The reference {reference.name!r} holds no features in the space {space!r}."
    ours, theirs = fingerprints[space], reference.fingerprints[space]
    if ours != theirs:
        return (
            f"In the space {space!r}, the reference {reference.name!r} was made with weights {theirs[:12]} and the "
            f"features of the images with {ours[:12]}: validate with --radiographs SET to compare them."
        )
    return None
