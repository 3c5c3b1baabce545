"""Images and their class labels in, a contact sheet for each finding out, as the report shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xrarchive.pixels import Pixels, area_average, encode_png, make_grid

COLUMNS, ROWS = 8, 2
# A tile is halved until it is no larger: the page is to stay small, and shows the mix of images, not their detail.
TILE_PX = 128


def contact_sheets(pixels: Pixels, labels: npt.NDArray[np.integer], findings: Sequence[str]) -> dict[str, bytes]:
    """The first images of each class label that occurs, `COLUMNS` x `ROWS` at most, in the order of the vocabulary.

    Args:
        pixels: uint8 [N, H, H].
        labels: int [N], indices of `findings`.
        findings: The vocabulary.

    Returns:
        By finding a PNG of 8-bit grey.

    Raises:
        ValueError: If there is not one label for each image.
    """
    if labels.shape != pixels.shape[:1]:
        raise ValueError(f"expected a label for each of {len(pixels)} images, got {labels.shape}")
    return {
        finding: encode_png(make_grid(_small(pixels[chosen]), columns=min(COLUMNS, chosen.size)))
        for index, finding in enumerate(findings)
        if (chosen := np.flatnonzero(labels == index)[: COLUMNS * ROWS]).size
    }


def _small(pixels: Pixels) -> Pixels:
    side = pixels.shape[1]
    while side > TILE_PX and side % 2 == 0:
        side //= 2
    return pixels if side == pixels.shape[1] else np.rint(area_average(pixels, side)).astype(np.uint8)
