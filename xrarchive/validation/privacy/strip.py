"""The nearest pairs side by side, for the publisher's eyes only: it shows real films, and must not be published."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xrarchive.files import atomic_path
from xrarchive.pixels import Pixels, write_grid
from xrarchive.validation.privacy.films import to_search_size
from xrarchive.validation.privacy.search import Neighbours

PAIRS = 20
_COLUMNS = 10


def write_strip(path: Path, pixels: Pixels, films: Pixels, found: Neighbours, *, pairs: int = PAIRS) -> None:
    """Write a PNG: rows of synthetic images, the nearest first, and below each image its nearest training film.

    Args:
        path: Where to, outside whatever is published.
        pixels: uint8 [N, H, H] of the images.
        films: uint8 [M, H', H'] of the training films.
        found: The search.
        pairs: How many.

    Raises:
        StorageError: If the disk refuses.
    """
    nearest = np.argsort(found.distance[:, 0], kind="stable")[:pairs]
    images, theirs = to_search_size(pixels[nearest]), to_search_size(films[found.index[nearest, 0]])
    missing = ((0, -len(nearest) % _COLUMNS), (0, 0), (0, 0))
    rows = [np.pad(side, missing).reshape(-1, _COLUMNS, *side.shape[1:]) for side in (images, theirs)]
    sheet = np.stack(rows, axis=1).reshape(-1, *images.shape[1:])
    with atomic_path(path) as temporary:
        write_grid(temporary, sheet, columns=_COLUMNS)
