"""How varied are the images? Beside real films: overlap and Vendi score in each feature space, MS-SSIM, co-occurrence.

All figures of a space are at one N: real films are split into two patient-disjoint halves, and as many images and as
many films of the second half are held against the first. What the second half gets is the ceiling: nothing can be
expected to do better than other patients' films. What random draws of the generator show is its own variety, before
anything was searched for; what the archive shows is what was asked of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Codes, Floats, disjoint_halves, group_codes, make_rng
from xrarchive.estimates import RESAMPLES, Estimate, bootstrap_estimates, weighted_mean
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.validation.agreement import MINIMUM_PER_SIDE
from xrarchive.validation.cooccurrence import as_lists, co_occurrence, co_occurrence_estimate, real_distance
from xrarchive.validation.coverage import NEIGHBOURS, Manifold, manifold
from xrarchive.validation.fidelity import unusable
from xrarchive.validation.measures import Measure, as_bound, measure_estimate, not_measured, rounded
from xrarchive.validation.reference import Reference, require_finite
from xrarchive.validation.scored import Films, Flags
from xrarchive.validation.similarity import MINIMUM_PX, mean_intra_class
from xrarchive.validation.vendi import vendi

Features = npt.NDArray[np.floating]

# Fewest images and films a side: four balls' worth of neighbours.
IMAGES_NEEDED = 4 * NEIGHBOURS
# Rows of a side that are compared at most: k-NN measures cost their square.
MOST_COMPARED = 5_000
# Pairs of one finding whose MS-SSIM is averaged.
PAIRS = 400

SPACE_MEASURES = ("precision", "recall", "density", "coverage", "vendi")
_NOTES = {
    "precision": "Share of the images that lie inside the ball of some real film, which reaches to its 5th neighbour.",
    "recall": "Share of the real films that lie inside the ball of some image: which of them the images could be.",
    "density": "Balls of real films around an image, over 5: 1 = images lie as densely among films as films do.",
    "coverage": "Share of the real films with an image inside their ball: which of them the images come near.",
    "vendi": "Number of images that differ in effect (Vendi score, cosine kernel), out of n.",
}


def measure_spaces(
    synthetic: Mapping[str, Features],
    fingerprints: Mapping[str, str],
    reference: Reference,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    on_status: OnStatus = ignore_status,
) -> dict[str, dict[str, Measure]]:
    """`SPACE_MEASURES` in every feature space of either side, or the reason why not.

    Args:
        synthetic: Features float [N, D] of the images, by space.
        fingerprints: sha256 of the weights behind each of those spaces.
        reference: Features of real films.
        seed: Of every draw.
        resamples: Of every interval.
        on_status: Told what is being measured.

    Raises:
        InputDataError: If features are NaN or infinite.
    """
    found: dict[str, dict[str, Measure]] = {}
    spaces = sorted({*synthetic, *reference.spaces})
    for done, space in enumerate(spaces):
        on_status(Status(done, len(spaces), "spaces", f"diversity, {space}"))
        if reason := unusable(space, synthetic, fingerprints, reference):
            found[space] = _without(reason)
            continue
        require_finite(synthetic[space], what=f"The images in feature space {space!r}")
        codes = group_codes(reference.patients, reference.rows)
        found[space] = _measure_space(
            np.asarray(synthetic[space], np.float64),
            np.asarray(reference.spaces[space], np.float64),
            codes,
            make_rng(seed, "diversity", space),
            seed=seed,
            resamples=resamples,
        )
    return found


def measure_intra_class(
    findings: Sequence[str],
    labels: npt.NDArray[np.int64],
    pixels: npt.NDArray[np.uint8],
    films: Films | str,
    *,
    pairs: int = PAIRS,
    seed: int,
) -> dict[str, Measure]:
    """Mean MS-SSIM over pairs of images with one class label, for each that occurs; `floor`: of the real films of it.

    Args:
        findings: The vocabulary [K].
        labels: int64 [N], class index of each image.
        pixels: uint8 [N, H, W].
        films: With labels; a sentence where there are none.
        pairs: How many to compare.
        seed: Of the pairs and intervals.
    """
    return {
        findings[label]: _intra_class(findings[label], label, pixels[labels == label], films, pairs, seed)
        for label in sorted(set(labels.tolist()))
    }


def measure_prevalence(
    findings: Sequence[str],
    called: Flags | str,
    real: Flags | str,
    *,
    what: str,
    role: str,
    groups: npt.ArrayLike | None = None,
    shares: Mapping[str, npt.NDArray[np.float64]] | None = None,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Measure]:
    """Share of images in which each finding is called; `floor`: of real films, called in the same way.

    Args:
        findings: The vocabulary [K].
        called: bool [N, K]; a sentence where there are no images.
        real: bool [M, K]; a sentence where there are no films.
        what: The images, in words: "random draws of the generator".
        role: Who calls.
        groups: [M] patients of the films.
        shares: More shares of the images, by key, for each finding [K]: what was asked, what another calls.
        seed: Same seed, same intervals.
        resamples: Of every interval.
    """
    if isinstance(called, str):
        return {name: not_measured(called) for name in findings}
    values = _shares(called, None, seed, resamples)
    floors = [None] * len(findings) if isinstance(real, str) else _shares(real, groups, seed, resamples)
    return {
        name: measure_estimate(
            value,
            n=len(called),
            note=f"Share of the {what} in which the {role} calls {name}; `floor` is that of real films.",
            otherwise="",
            floor=None
            if floor is None
            else as_bound(floor, len(real), f"Share of real films the {role} calls {name}."),
            extra={key: rounded(float(more[column])) for key, more in (shares or {}).items()},
        )
        for column, (name, value, floor) in enumerate(zip(findings, values, floors, strict=True))
    }


def measure_co_occurrence(
    findings: Sequence[str],
    archive: Flags,
    draws: Flags | str,
    real: Flags | str,
    *,
    groups: npt.ArrayLike | None = None,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Matrices P(column called | row called), and the distance of each to that of real films; see `cooccurrence`.

    Args:
        findings: The vocabulary [K].
        archive: bool [N, K], what is called in the images.
        draws: bool [B, K], in random draws; a sentence where there are none.
        real: bool [M, K], in real films; a sentence where there are none.
        groups: [M] patients of the films.
        seed: Of intervals and floors.
        resamples: Of every interval.
    """
    sides = {"archive": archive, "draws": draws, "real": real}
    return {
        "findings": list(findings),
        **{name: None if isinstance(flags, str) else as_lists(co_occurrence(flags)) for name, flags in sides.items()},
        "distance": {name: _apart(name, sides[name], real, groups, seed, resamples) for name in ("archive", "draws")},
    }


def _measure_space(
    images: Floats, real: Floats, codes: Codes, rng: np.random.Generator, *, seed: int, resamples: int
) -> dict[str, Measure]:
    first, second = disjoint_halves(codes, min(len(images), MOST_COMPARED), rng)
    count = len(first)
    if count < IMAGES_NEEDED:
        return _without(
            f"Overlap needs {IMAGES_NEEDED} images and twice as many films, as there must be a second half to compare "
            f"with; there are {len(images)} images, and the {len(real)} films of the reference give {count} a half."
        )
    picked = images[np.sort(rng.choice(len(images), count, replace=False))]
    if any((rows == 0).all(axis=1).any() for rows in (picked, real)):
        return _without("Some images have features that are all 0: no direction can be compared.")
    ours = manifold(real[first], picked, groups=codes[first], seed=seed, resamples=resamples)
    theirs = manifold(real[first], real[second], seed=seed, resamples=1)
    figures: dict[str, tuple[Estimate, Estimate]] = {
        name: (_of(ours, name), Estimate(_of(theirs, name).value, float("nan"), float("nan")))
        for name in SPACE_MEASURES[:-1]
    }
    figures["vendi"] = vendi(picked), vendi(real[second], groups=codes[second])
    note = "Of as many real films of other patients."
    return {
        name: measure_estimate(
            value, n=count, note=_NOTES[name], otherwise="", extra={"ceiling": as_bound(ceiling, count, note)}
        )
        for name, (value, ceiling) in figures.items()
    }


def _of(found: Manifold, name: str) -> Estimate:
    estimate: Estimate = getattr(found, name)
    return estimate


def _intra_class(
    name: str, label: int, pixels: npt.NDArray[np.uint8], films: Films | str, pairs: int, seed: int
) -> Measure:
    if len(pixels) < MINIMUM_PER_SIDE:
        return not_measured(
            f"MS-SSIM needs {MINIMUM_PER_SIDE} images with the class label {name}; there are {len(pixels)}."
        )
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or min(pixels.shape[1:]) < MINIMUM_PX:
        return not_measured(f"MS-SSIM at three scales needs 8-bit grey images of {MINIMUM_PX} px at least.")
    floor = None
    if not isinstance(films, str):
        real = films.scored.pixels[films.labels[:, label] == 1]
        if len(real) >= MINIMUM_PER_SIDE and real.shape[1:] == pixels.shape[1:]:
            floor = as_bound(mean_intra_class(real, pairs, seed=seed), len(real), f"Of real films labelled {name}.")
    return measure_estimate(
        mean_intra_class(pixels, pairs, seed=seed),
        n=len(pixels),
        note=f"Mean MS-SSIM over pairs of images labelled {name}: 1 = all are one image; above `floor` they are more "
        "alike than real films of the finding.",
        otherwise="",
        floor=floor,
    )


def _shares(called: Flags, groups: npt.ArrayLike | None, seed: int, resamples: int) -> list[Estimate]:
    def statistic(times: Floats) -> Floats:
        return np.stack([weighted_mean(column, times) for column in called.T])

    return bootstrap_estimates(statistic, [(len(called), groups)], name="prevalence", seed=seed, resamples=resamples)


def _apart(
    name: str, ours: Flags | str, real: Flags | str, groups: npt.ArrayLike | None, seed: int, resamples: int
) -> Measure:
    if isinstance(ours, str) or isinstance(real, str):
        return not_measured(ours if isinstance(ours, str) else str(real))
    found = co_occurrence_estimate(ours, real, groups=groups, seed=seed, resamples=resamples)
    between, count = real_distance(real, count=len(ours), groups=groups, seed=seed)
    floor = None
    if np.isfinite(between):
        floor = {"value": rounded(between), "n": count, "note": "Between two sets of real films of other patients."}
    return measure_estimate(
        found,
        n=len(ours),
        note="How much the chance of a second finding, given a first, differs from that in real films, on average.",
        otherwise=f"No finding is called both in the {name} and in real films: there is nothing to compare.",
        floor=floor,
    )


def _without(reason: str) -> dict[str, Measure]:
    return {name: not_measured(reason) for name in SPACE_MEASURES}
