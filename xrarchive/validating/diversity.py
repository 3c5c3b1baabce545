"""Diversity: how varied are the images, beside real films and beside what the generator draws by itself?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrarchive.records import Status
from xrarchive.validating.material import Material, make_rater
from xrarchive.validation.diversity import (
    PAIRS,
    measure_co_occurrence,
    measure_intra_class,
    measure_prevalence,
    measure_spaces,
)
from xrarchive.validation.raters import Rater
from xrarchive.validation.scored import Films, Flags, Scored
from xrarchive.validation.steering import calls

_QUICK_PAIRS = 100


def measure(material: Material) -> dict[str, Any]:
    """`spaces`, `intra_class`, `prevalence` and `co_occurrence`: see `xrarchive.validation.diversity`."""
    subject, resamples = material.subject, material.label_resamples
    spaces = measure_spaces(
        material.features, material.fingerprints, material.reference, seed=subject.seed, resamples=resamples,
        on_status=material.on_status,
    )  # fmt: skip
    rater = material.rater
    labelled = material.real.labelled(rater.role)
    material.on_status(Status(0, 1, "measures", "MS-SSIM"))
    intra_class = measure_intra_class(
        subject.findings, subject.images.labels, subject.images.pixels, labelled,
        pairs=_QUICK_PAIRS if material.quick else PAIRS, seed=subject.seed,
    )  # fmt: skip
    return {"spaces": spaces, "intra_class": intra_class, **_findings(material, rater)}


def _findings(material: Material, rater: Rater) -> dict[str, Any]:
    """Prevalence and co-occurrence of what is called, in the archive, in random draws and in films none was trained on.

    Films and images are called by the same rater: shares of calls compare with one another, not with shares of labels.
    """
    subject, how = material.subject, {"seed": material.subject.seed, "resamples": material.label_resamples}
    known = [name for name, value in zip(subject.findings, rater.thresholds, strict=True) if not np.isnan(value)]
    columns = [subject.findings.index(name) for name in known]
    films = material.real.unseen(*(role for role in ("guide", rater.role) if role in material.classifiers))
    groups = None if isinstance(films, str) else films.patients

    def called(images: Scored | str) -> Flags | str:
        return images if isinstance(images, str) else calls(images, rater)[:, columns]

    real = called(films.scored if isinstance(films, Films) else films)
    archive, draws = calls(material.scored, rater)[:, columns], called(material.draws)
    asked = {"asked": subject.images.asked[:, columns].mean(axis=0)}
    sides = {
        "archive": (archive, "images", asked | _by_guide(material, material.scored, columns)),
        "draws": (draws, "random draws of the generator", _by_guide(material, material.draws, columns)),
    }
    return {
        "prevalence": {
            name: measure_prevalence(
                known, flags, real, what=what, role=rater.role, groups=groups, shares=shares, **how
            )
            for name, (flags, what, shares) in sides.items()
        },
        "co_occurrence": measure_co_occurrence(known, archive, draws, real, groups=groups, **how),
    }


def _by_guide(material: Material, images: Scored | str, columns: list[int]) -> dict[str, NDArray[np.float64]]:
    """What the guide calls, beside the rater: share of the images by finding [K]; nothing if either is not at hand."""
    if isinstance(images, str) or isinstance(material.guide, str):
        return {}
    subject = material.subject
    guide = make_rater("guide", material.guide, subject.findings, subject.images.guide)
    return {"guide": calls(images, guide)[:, columns].mean(axis=0)}
