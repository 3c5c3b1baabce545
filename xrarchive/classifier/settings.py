"""Settings of a classifier training. Torch-free, so that commands and cards can read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["guide", "judge"]
ROLES: tuple[Role, ...] = ("guide", "judge")
# Different sizes too, so that the judge cannot be won by fine texture that only the guide looks at.
_SEEN_PX = {"guide": 64, "judge": 32}


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Everything that decides a classifier besides the radiographs and its role.

    Attributes:
        members: Networks in the ensemble, alike but for their seed; their logits are averaged.
        width: Channels of the first stage; later stages have 2, 4 and 4 times as many.
        input_px: Images are area-averaged to this size first; 0 = 64 for the guide, 32 for the judge, or the set's size
            if that is smaller.
        epochs: Passes over the role's training radiographs.
        batch: Radiographs per step.
        learning_rate: Peak of AdamW's, warmed up over a tenth of the steps, then lowered along a cosine.
        weight_decay: AdamW's.
        shift: Largest random shift, as a share of the image's side.
        zoom: Largest random change of scale.
        contrast: Largest random change of contrast and of brightness. No flips: a mirrored heart is a finding.
        folds: Patient folds of the cross-fitting that gives thresholds, calibration and figures.
        specificity: Of the operating threshold, on out-of-fold scores.
        min_positives: Findings with fewer labelled positives among all radiographs get no threshold.
        withheld: Findings never offered by default, for a reason the publisher knows (a source tied to a label, say).
        seed: Of weights, order, augmentation and the division of patients between guide and judge.
    """

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

    def __post_init__(self) -> None:
        """Refuse settings that cannot be trained."""
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if self.members < 1 or self.epochs < 1 or self.batch < 2:
            raise ValueError("members and epochs must be at least 1, batch at least 2")
        if not 0 < self.specificity < 1:
            raise ValueError(f"specificity must lie between 0 and 1, got {self.specificity}")
