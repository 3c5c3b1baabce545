"""Roles and settings of a classifier training. Torch-free, so that commands and cards can read them.

*guide* steers the latent search, *judge* measures what was accepted, *referee* is a second opinion on the judge.
Patients are halved by a hash: the guide learns from half 0, judge and referee both from half 1. So the guide shares
patients with neither; judge and referee share theirs, but neither seed nor architecture.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Role = Literal["guide", "judge", "referee"]
ROLES: tuple[Role, ...] = ("guide", "judge", "referee")
HALVES = 2
# Which half of the patients a role learns from.
HALF: dict[Role, int] = {"guide": 0, "judge": 1, "referee": 1}
ARCHITECTURE: dict[Role, str] = {"guide": "residual", "judge": "plain", "referee": "dense"}
# Not trained here: torchxrayvision's DenseNet-121, see `xrarchive.classifier.xrv`.
XRV = "xrv-densenet121"
ARCHITECTURES = (*ARCHITECTURE.values(), XRV)
# Different sizes too, so that the judge cannot be won by fine texture that only the guide looks at.
_SEEN_PX: dict[Role, int] = {"guide": 64, "judge": 32, "referee": 32}

# Shares of radiographs at which a weight file holds quantiles of its out-of-fold logits, finer where bars are strict.
LEVELS: tuple[float, ...] = (*(step / 100 for step in range(100)), *(step / 1000 for step in range(991, 1001)))


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Everything that decides a classifier besides the radiographs and its role.

    Attributes:
        architecture: Of the networks: residual, plain or dense; "" = the role's: residual for the guide, plain for the
            judge, dense for the referee.
        members: Networks in the ensemble, alike but for their seed; their logits are averaged.
        width: Channels of the first stage; later stages have 2, 4 and 4 times as many.
        input_px: Images are area-averaged to this size first; 0 = 64 for the guide, 32 for judge and referee, or the
            set's size if that is smaller. The residual architecture has a stage more for each doubling above 64.
        epochs: Passes over the role's training radiographs.
        batch: Radiographs per step.
        learning_rate: Peak of AdamW's, warmed up over a tenth of the steps, then lowered along a cosine.
        weight_decay: AdamW's.
        shift: Largest random shift, as a share of the image's side.
        zoom: Largest random change of scale.
        contrast: Largest random change of contrast and of brightness. No flips: a mirrored heart is a finding.
        folds: Patient folds of the cross-fitting that gives thresholds, calibration and figures.
        specificity: Of the operating threshold, on out-of-fold scores.
        min_positives: Findings with fewer labelled positives among all radiographs get no threshold; nuisances (view,
            sex, age, source) are learned if both their values occur as often.
        withheld: Findings never offered by default, for a reason the publisher knows (a source tied to a label, say).
        seed: Of weights, order, augmentation and the division of patients in halves and folds; each role
            makes its own stream of it.
    """

    architecture: str = ""
    members: int = 3
    width: int = 16
    input_px: int = 0
    epochs: int = 24
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    shift: float = 0.08
    zoom: float = 0.1
    contrast: float = 0.2
    folds: int = 5
    specificity: float = 0.9
    min_positives: int = 40
    withheld: tuple[str, ...] = ()
    seed: int = 0

    def seen_px(self, role: Role, size_px: int) -> int:
        """Side of the images a network of `role` sees, for radiographs of `size_px`."""
        return self.input_px or min(_SEEN_PX[role], size_px)

    def resolved(self, role: Role, size_px: int) -> ClassifierSettings:
        """These settings with what depends on the role and on the set's size filled in."""
        architecture = self.architecture or ARCHITECTURE[role]
        return dataclasses.replace(self, architecture=architecture, input_px=self.seen_px(role, size_px))

    def __post_init__(self) -> None:
        """Refuse settings that cannot be trained."""
        if self.architecture not in ("", *ARCHITECTURES):
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}")
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if self.members < 1 or self.epochs < 1 or self.batch < 2:
            raise ValueError("members and epochs must be at least 1, batch at least 2")
        if not 0 < self.specificity < 1:
            raise ValueError(f"specificity must lie between 0 and 1, got {self.specificity}")
