"""Is the training going wrong? Images and past ticks in, warnings in words out. Pure functions, called by the monitor.

Images are compared as 16x16 area averages, which chest radiographs of any size share. Measured on 64 of NIH's or
MedNIST's radiographs, and on 64 of the bundled generator's images: variance 2,400 to 2,700, and the nearest other image
never closer than 0.38 of the typical distance. Thresholds are far below, so that a warning means something.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xrarchive.pixels import Pixels, area_average

# Side of the averages that images are compared by; smaller images as they are.
DESCRIPTOR_PX = 16
# Two images nearer than this share of the typical distance count as one and the same.
DUPLICATE_FRACTION = 0.1
# Warn if more than this share of images has a duplicate.
DUPLICATE_LIMIT = 0.5
# Warn if images vary less than this share of what radiographs do.
VARIANCE_LIMIT = 0.05
# Images of an untrained generator are alike: nothing is said in the first stage before this share of the training.
WARM_UP_SHARE = 0.2
# Warn if a loss or score is larger than this: healthy ones stay below 10 (logistic) or a few hundred (critic).
SIZE_LIMIT = 1000.0
# Warn if a loss or score is larger than GROWTH_FLOOR and has grown by GROWTH_FACTOR over its median in recent ticks.
GROWTH_FLOOR = 50.0
GROWTH_FACTOR = 10.0
GROWTH_TICKS = 10
# Warn if the mean score of radiographs lies this far above that of images, SATURATED_TICKS in a row. Under the logistic
# loss the discriminator is then right with odds of e^5, and what the generator can learn from it fades. A critic's gap
# is a distance and means no such thing.
SATURATED_GAP = 10.0
SATURATED_TICKS = 5

Record = dict[str, Any]

_SIZES = ("loss_d", "loss_g", "score_real", "score_fake")


def feature_variance(images: Pixels) -> float:
    """How much images differ from one another: variance over images, averaged over the 16x16 area-averaged pixels.

    Args:
        images: uint8 [N, H, H], H a power of two.

    Returns:
        In 0..16,256, grey values squared; 0 if all images are equal.
    """
    return float(_descriptors(images).var(axis=0).mean())


def duplicate_rate(images: Pixels) -> float:
    """Share of images whose nearest other image is closer than `DUPLICATE_FRACTION` of the typical (median) distance.

    Args:
        images: uint8 [N, H, H], H a power of two, N of a few hundred at most (all pairs are compared).

    Returns:
        In 0..1; 0 of fewer than three images, among which no distance is typical.
    """
    rows = _descriptors(images).astype(np.float64)
    if len(rows) < 3:
        return 0.0
    squares = np.einsum("nd,nd->n", rows, rows)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0))
    typical = np.median(distances[np.triu_indices(len(rows), 1)])
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(distances.min(axis=1) <= DUPLICATE_FRACTION * typical))


def find_troubles(
    tick: Record, past: Sequence[Record], *, total_nimg: int, variance: float | None, saturated_gap: float | None
) -> dict[str, str]:
    """What looks wrong at a tick.

    Args:
        tick: The record of this tick, with `variance` and `duplicates`.
        past: The records of the ticks before, in order.
        total_nimg: Images of the whole training.
        variance: `feature_variance` of radiographs; None = unknown, and not compared.
        saturated_gap: `SATURATED_GAP`, or None for a critic.

    Returns:
        A sentence for each trouble, by its name: `collapse`, `duplicates`, `divergence`, `saturation`.
    """
    found = {
        "collapse": _collapse(tick, past, total_nimg, variance),
        "duplicates": _duplicates(tick, past, total_nimg, variance),
        "divergence": _divergence(tick, past),
        "saturation": None if saturated_gap is None else _saturation(tick, past, saturated_gap),
    }
    return {name: text for name, text in found.items() if text is not None}


def _collapse(tick: Record, past: Sequence[Record], total_nimg: int, variance: float | None) -> str | None:
    if not variance or tick["variance"] >= VARIANCE_LIMIT * variance or not _warm(tick, past, total_nimg, variance):
        return None
    share = tick["variance"] / variance
    return (
        f"collapse: the images vary {share:.1%} as much as radiographs, expected at least {VARIANCE_LIMIT:.0%}. "
        "Look at the newest grid; if they stay alike, start again with a lower learning_rate or another seed."
    )


def _duplicates(tick: Record, past: Sequence[Record], total_nimg: int, variance: float | None) -> str | None:
    if tick["duplicates"] <= DUPLICATE_LIMIT or not _warm(tick, past, total_nimg, variance):
        return None
    return (
        f"duplicates: {tick['duplicates']:.0%} of images of different latents are nearly the same as another one, "
        f"expected at most {DUPLICATE_LIMIT:.0%}. Look at the newest grid; the generator may know few images only."
    )


def _divergence(tick: Record, past: Sequence[Record]) -> str | None:
    for name in _SIZES:
        value = _size(tick, name)
        usual = float(np.median([_size(record, name) for record in past[-GROWTH_TICKS:]])) if past else math.inf
        if value > SIZE_LIMIT or (value > GROWTH_FLOOR and value > GROWTH_FACTOR * usual):
            before = f", in recent ticks about {usual:.3g}" if past else ""
            return (
                f"divergence: {name} has grown to {value:.3g}{before}. If it goes on, start again with a lower "
                "learning_rate or a larger penalty (r1_gamma, gp_lambda)."
            )
    return None


def _saturation(tick: Record, past: Sequence[Record], limit: float) -> str | None:
    lately = [*past[1 - SATURATED_TICKS :], tick]
    gaps = [_number(record, "score_real") - _number(record, "score_fake") for record in lately]
    if len(gaps) < SATURATED_TICKS or min(gaps) <= limit:
        return None
    return (
        f"saturation: the discriminator wins; radiographs score {gaps[-1]:.3g} above images, and more than {limit:.3g} "
        f"for {SATURATED_TICKS} ticks. If the images stop improving, raise r1_gamma or lower learning_rate."
    )


def _warm(tick: Record, past: Sequence[Record], total_nimg: int, variance: float | None) -> bool:
    """Whether images may be expected to differ: after the first stage, late in it, or once they did differ."""
    if not past:
        return False
    enough = VARIANCE_LIMIT * variance if variance else math.inf
    return (
        tick["px"] > past[0]["px"]
        or tick["nimg"] >= WARM_UP_SHARE * total_nimg
        or any(record.get("variance", 0) >= enough for record in past)
    )


def _size(record: Record, name: str) -> float:
    """Magnitude of a loss or score; what is not finite was recorded as None and counts as infinite."""
    return abs(_number(record, name, missing=math.inf)) if name in record else 0.0


def _number(record: Record, name: str, missing: float = 0.0) -> float:
    value = record.get(name)
    return missing if value is None else float(value)


def _descriptors(images: Pixels) -> npt.NDArray[np.float32]:
    """float32 [N, D]: area averages of uint8 [N, H, H]."""
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images must be uint8 [N, H, H], got {images.dtype} {images.shape}")
    return area_average(images, min(DESCRIPTOR_PX, images.shape[1])).reshape(len(images), -1)
