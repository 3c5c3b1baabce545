"""How alike are images of one finding? Pixels or latents in; multi-scale structural similarity or angles out.

MS-SSIM compares means, contrast and structure in a sliding Gaussian window, at the image's size and at halves of it.
The mean over random pairs of one finding is an old measure of lost variety: near 1, all images are one image. What is
too much only the same figure on real radiographs of that finding can say.

Why numpy and no scipy.ndimage: a separable window is three lines, and nothing is added to what the package needs.
Sources: Wang, Simoncelli & Bovik 2003 (MS-SSIM); Odena et al. 2017, arXiv 1610.09585, section 4.2 (mean in a class).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats, make_rng
from xrarchive.estimates import RESAMPLES, Estimate, bootstrap_estimates, weighted_mean

Pixels = npt.NDArray[np.uint8]

# Wang et al. 2003, section 3.2: exponents from the finest scale to the coarsest. As published, they sum to 1.0001.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Wang et al. 2004 (SSIM), section III.B: window and stabilisers.
WINDOW_PX = 11
WINDOW_SIGMA = 1.5
K1, K2 = 0.01, 0.03
GREY_RANGE = 255

# Five scales need a side that still holds a window after four halvings: 11 * 2^4. Smaller images get three.
FIVE_SCALES_PX = WINDOW_PX * 16
SMALL_SCALES = 3
MINIMUM_PX = WINDOW_PX * 4

_C1, _C2 = (K1 * GREY_RANGE) ** 2, (K2 * GREY_RANGE) ** 2
# Pixels compared at a time: a float64 map is then 2 MB and stays in the cache.
_BLOCK_PIXELS = 1 << 18
# Cosines held at a time: 4 million float64 are 32 MB.
_BLOCK_CELLS = 4_000_000


def ms_ssim(first: Pixels, second: Pixels) -> Floats:
    """Multi-scale structural similarity of each pair: float64 [N] in 0..1, 1 = the same image.

    Images below `FIVE_SCALES_PX` (shorter side) are compared at three scales, with the first three exponents scaled to
    sum to 1: compare figures within one image size only. A scale whose mean structure is negative counts as 0, since
    its power would not be real (as in TensorFlow's `ssim_multiscale`).

    Args:
        first: uint8 [N, H, W].
        second: uint8 [N, H, W].

    Raises:
        ValueError: For other dtypes, shapes that differ, or a side below `MINIMUM_PX`.

    Source:
        Wang, Simoncelli & Bovik 2003, eq. 7; windows inside the image only and 2x2 means, as in the authors' msssim.m.
    """
    for pixels in (first, second):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape != first.shape:
            raise ValueError(f"images must both be uint8 [N, H, W], got {pixels.dtype} {first.shape}, {second.shape}")
    side = min(first.shape[1:])
    if side < MINIMUM_PX:
        raise ValueError(f"MS-SSIM needs {MINIMUM_PX} px for three scales, got {side}")
    weights = scale_weights(side)
    step = max(1, _BLOCK_PIXELS // math.prod(first.shape[1:]))
    blocks = [slice(start, start + step) for start in range(0, len(first), step)]
    parts = [_compare(first[b].astype(np.float64), second[b].astype(np.float64), weights) for b in blocks]
    return np.concatenate([np.empty(0), *parts])


def scale_weights(side_px: int) -> tuple[float, ...]:
    """Exponents from the finest scale to the coarsest for an image whose shorter side has so many px."""
    if side_px >= FIVE_SCALES_PX:
        return SCALE_WEIGHTS
    kept = SCALE_WEIGHTS[:SMALL_SCALES]
    return tuple(weight / sum(kept) for weight in kept)


def mean_intra_class(pixels: Pixels, pairs: int, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Mean `ms_ssim` over random pairs of different images of one finding.

    The interval draws pairs as if they were independent. They share images, which makes it a little narrow while pairs
    are many times the images; it says how well the mean over all pairs of these images is known.

    Args:
        pixels: uint8 [N, H, W] of one finding, N >= 2.
        pairs: How many of the N(N-1)/2 pairs to compare, none twice; all if there are fewer.
        seed: Same seed, same pairs and interval.
        resamples: How many times the pairs are drawn.

    Raises:
        ValueError: For fewer than two images or one pair, or as `ms_ssim`.
    """
    if len(pixels) < 2 or pairs < 1:
        raise ValueError(f"needs two images and one pair at least, got {len(pixels)} and {pairs}")
    first, second = _draw_pairs(len(pixels), pairs, make_rng(seed, "ms-ssim pairs"))
    alike = ms_ssim(pixels[first], pixels[second])

    def statistic(times: Floats) -> Floats:
        return weighted_mean(alike, times)[None]

    return bootstrap_estimates(statistic, [(alike.size, None)], name="ms-ssim", seed=seed, resamples=resamples)[0]


def nearest_latent_deg(latents: npt.NDArray[np.floating]) -> Floats:
    """Angle of each latent to its nearest other one: float64 [N] in 0..180 degrees.

    The generator uses a latent's direction only, so that a small angle means nearly the same image. The share of a set
    below a stated angle is its rate of duplicates; random directions in Z dimensions are about 90 degrees apart.

    Args:
        latents: float [N, Z], N >= 2, finite, no row all 0.

    Raises:
        ValueError: For other shapes or rows without a direction.
    """
    rows = np.asarray(latents, np.float64)
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"latents must be [N, Z] with two rows at least, got {rows.shape}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("every latent must be finite and not 0")
    units = rows / lengths
    other = units[_most_alike(units)]
    # The arc cosine loses half its digits near 0, where duplicates are; this does not (Kahan 2006).
    apart, along = np.linalg.norm(units - other, axis=1), np.linalg.norm(units + other, axis=1)
    degrees: Floats = np.degrees(2 * np.arctan2(apart, along))
    return degrees


def _most_alike(units: Floats) -> npt.NDArray[np.int64]:
    """For each row of length 1 the other row with the largest cosine: int64 [N]."""
    nearest = np.empty(len(units), np.int64)
    step = max(1, _BLOCK_CELLS // len(units))
    for start in range(0, len(units), step):
        cosines = units[start : start + step] @ units.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        nearest[start : start + step] = cosines.argmax(axis=1)
    return nearest


def _draw_pairs(
    count: int, pairs: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Different unordered pairs of `count` rows, drawn without replacement; in order if all are wanted.

    Pair number i joins row i mod count with the one 1 + i // count further on, around the circle: over the first
    count(count-1)/2 numbers, every pair comes once.
    """
    every = count * (count - 1) // 2
    numbers = np.arange(every) if pairs >= every else rng.choice(every, pairs, replace=False)
    first = numbers % count
    return first, (first + 1 + numbers // count) % count


def _compare(first: Floats, second: Floats, weights: tuple[float, ...]) -> Floats:
    """Product over scales of mean structure to the power of its weight, luminance at the last: [N]."""
    product = np.ones(len(first))
    for scale, weight in enumerate(weights):
        if scale:
            first, second = _halve(first), _halve(second)
        luminance, structure = _ssim_maps(first, second)
        seen = structure * luminance if scale == len(weights) - 1 else structure
        product *= np.maximum(seen.mean(axis=(1, 2)), 0) ** weight
    return product


def _ssim_maps(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Luminance, and contrast times structure, of each window: Wang et al. 2004, eq. 6 and 9-10 with C3 = C2 / 2."""
    mean_first, mean_second = _smooth(first), _smooth(second)
    variances = _smooth(first * first) - mean_first**2 + (_smooth(second * second) - mean_second**2)
    covariance = _smooth(first * second) - mean_first * mean_second
    luminance = (2 * mean_first * mean_second + _C1) / (mean_first**2 + mean_second**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variances + _C2)


def _smooth(images: Floats) -> Floats:
    """Gaussian window over every place where it fits: [N, H, W] -> [N, H - 10, W - 10]."""
    offsets = np.arange(WINDOW_PX) - WINDOW_PX // 2
    window = np.exp(-0.5 * (offsets / WINDOW_SIGMA) ** 2)
    window /= window.sum()
    height, width = (size - WINDOW_PX + 1 for size in images.shape[1:])
    rows: Floats = sum(tap * images[:, i : i + height] for i, tap in enumerate(window))
    smooth: Floats = sum(tap * rows[:, :, i : i + width] for i, tap in enumerate(window))
    return smooth


def _halve(images: Floats) -> Floats:
    """Means of 2x2 pixels; an odd last row or column is repeated first."""
    count, height, width = images.shape
    even = np.pad(images, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    halves: Floats = even.reshape(count, even.shape[1] // 2, 2, even.shape[2] // 2, 2).mean(axis=(2, 4))
    return halves
