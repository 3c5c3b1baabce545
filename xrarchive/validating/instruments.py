"""Instruments: do the measures of fidelity follow known defects of the radiographs given?"""

from __future__ import annotations

from typing import Any

import numpy as np

from xrarchive.validating.material import Material
from xrarchive.validation.degrading import DEGRADATIONS, LEVELS, degrade
from xrarchive.validation.fidelity import METRICS
from xrarchive.validation.instruments import draw_sides, measure_instruments
from xrarchive.validation.measures import not_measured


def measure(material: Material) -> dict[str, Any]:
    """See `xrarchive.validation.instruments`; the films are those of the first set, of any split."""
    reason = None if material.films else "There are no radiographs to make worse: validate with --radiographs SET."
    reason = "--quick leaves this out." if material.quick else reason
    if reason:
        return {space: {metric.name: not_measured(reason) for metric in METRICS} for space in material.crew.spaces}
    films, seed = material.films[0], material.subject.seed
    clean_rows, real_rows = draw_sides(films.patients, len(films.pixels), seed=seed)
    clean, real = (np.asarray(films.pixels[rows]) for rows in (clean_rows, real_rows))

    def extract(space: str, pixels: np.ndarray) -> np.ndarray:
        return material.crew.extract(space, pixels, on_status=material.on_status)

    found = {}
    for space in material.crew.spaces:
        worse = {
            name: [extract(space, degrade(clean, name, level, seed=seed)) for level in range(1, LEVELS + 1)]
            for name in DEGRADATIONS
        }
        found[space] = measure_instruments(extract(space, clean), extract(space, real), worse)
    return found
