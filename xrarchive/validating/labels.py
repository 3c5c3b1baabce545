"""Labels: do the images show what they were asked to show, and what else changed?"""

from __future__ import annotations

from typing import Any

from xrarchive.records import Status
from xrarchive.validating.material import Material
from xrarchive.validation.nuisances import measure_nuisances
from xrarchive.validation.raters import measure_raters


def measure(material: Material) -> dict[str, Any]:
    """See `xrarchive.validation.raters.measure_raters`; beside it `nuisances`, as the guide's heads have them."""
    subject = material.subject
    material.on_status(Status(0, 2, "measures", "labels"))
    rated = measure_raters(subject, *material.raters)
    material.on_status(Status(1, 2, "measures", "nuisances"))
    moved = measure_nuisances(subject.nuisances, subject.findings, subject.images, seed=subject.seed)
    return {**rated, "nuisances": moved}
