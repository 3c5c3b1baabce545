"""Privacy: is a radiograph of a patient among the images?"""

from __future__ import annotations

from typing import Any

import numpy as np

from xrarchive.pixels import Pixels
from xrarchive.validating.material import Material
from xrarchive.validation.duplicates import measure_copies


def measure(material: Material) -> dict[str, Any]:
    """`copies`: see `xrarchive.validation.duplicates`."""
    images = material.subject.images
    return {"copies": measure_copies(images.image_ids, images.pixels, training_films(material))}


def training_films(material: Material) -> Pixels | None:
    """The films of all sets a generator may have been trained on: uint8 [M, H, W]; None if there is none."""
    from xrarchive.gan.training import TRAINING_SPLITS

    size_px = material.subject.images.pixels.shape[1]
    found = [films.pixels[films.rows(*TRAINING_SPLITS)] for films in material.films if films.size_px == size_px]
    pixels = np.concatenate(found) if found else np.empty((0, size_px, size_px), np.uint8)
    return pixels if len(pixels) else None
