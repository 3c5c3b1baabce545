"""Fidelity: do the images look like radiographs?"""

from __future__ import annotations

from typing import Any

from xrarchive.validating.material import Material
from xrarchive.validation.fidelity import measure_spaces


def measure(material: Material) -> dict[str, Any]:
    """See `xrarchive.validation.fidelity.measure_spaces`."""
    return measure_spaces(
        material.features,
        material.fingerprints,
        material.reference,
        blurred=material.blurred,
        seed=material.subject.seed,
        on_status=material.on_status,
    )
