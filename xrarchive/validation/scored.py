"""Images and radiographs as classifiers see them: the arrays that label and diversity measures start from. Torch-free.

Classifiers know findings in an order of their own; here all are in the subject's. Whoever holds a classifier fills
these in, for images, for random draws of the generator and for real films.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """What one classifier says of N images.

    Attributes:
        findings: float32 [N, K], calibrated logits in the subject's order; a column of NaN where it does not know one.
        nuisances: By name (view, sex, ...) its logits float32 [N]; above 0 = seen, which for `view` is AP.
    """

    findings: Logits
    nuisances: Mapping[str, Logits]

    def rows(self, chosen: npt.NDArray[Any]) -> Scores:
        """Some of the images."""
        return Scores(self.findings[chosen], {name: values[chosen] for name, values in self.nuisances.items()})


@dataclass(frozen=True)
class Scored:
    """N images with what each classifier at hand says of them.

    Attributes:
        pixels: uint8 [N, H, W].
        by: By role (`guide`, `judge`, `referee`) its scores.
    """

    pixels: npt.NDArray[np.uint8]
    by: Mapping[str, Scores]

    def rows(self, chosen: npt.NDArray[Any]) -> Scored:
        """Some of the images."""
        return Scored(self.pixels[chosen], {role: scores.rows(chosen) for role, scores in self.by.items()})


@dataclass(frozen=True)
class Films:
    """M real radiographs.

    Attributes:
        name: Of the set of radiographs they are from.
        scored: What the classifiers say of them.
        labels: float32 [M, K], 1, 0 or NaN for unknown, in the subject's order.
        patients: str [M]; blank is a patient of its own.
        accepted: bool [M, K], whether the guide puts a film into the box that was asked for; all False without a guide.
    """

    name: str
    scored: Scored
    labels: Logits
    patients: npt.NDArray[np.str_]
    accepted: Flags

    def __len__(self) -> int:
        return len(self.patients)

    def rows(self, chosen: npt.NDArray[Any]) -> Films:
        """Some of them."""
        scored, accepted = self.scored.rows(chosen), self.accepted[chosen]
        return Films(self.name, scored, self.labels[chosen], self.patients[chosen], accepted)


def logits_of(known: Sequence[str], nuisances: Sequence[str], outputs: Logits, findings: Sequence[str]) -> Scores:
    """Outputs of a classifier in the order of a subject.

    Args:
        known: Its findings [K'], in the order of its outputs.
        nuisances: Its nuisances [J], after them.
        outputs: float32 [N, K' + J].
        findings: The subject's [K].
    """
    columns = np.full((len(outputs), len(findings)), np.nan, np.float32)
    for place, name in enumerate(findings):
        if name in known:
            columns[:, place] = outputs[:, list(known).index(name)]
    seen = {name: outputs[:, len(known) + place] for place, name in enumerate(nuisances)}
    return Scores(columns, seen)
