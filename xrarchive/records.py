"""The waist: what the stages left of it (torch) hand to the stages right of it (archives).

Plain types and numpy only, so that archives can be read, checked and published on a machine without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Status:
    """How far a long piece of work is: `done` of `total` units of `unit`, and a word on what is happening."""

    done: int
    total: int
    unit: str
    text: str = ""


OnStatus = Callable[[Status], None]


def ignore_status(status: Status) -> None:
    """The default `on_status`: nobody is watching."""


@dataclass(frozen=True)
class ImageRequest:
    """`count` images that show all of `findings`; the first one is the image's class label."""

    findings: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class SyntheticImage:
    """One accepted generate with everything known about it.

    Attributes:
        image_id: Unique within an archive, never reused.
        pixels: uint8 [H, W], 0 = black.
        findings: The findings asked for; ``findings[0]`` is the class label.
        guide: Probability per finding from the classifier that steered, of exactly these pixels.
        judge: Probability per finding from the classifier that only measures, of exactly these pixels.
        seed: Entropy of the image's own random stream; with `attempt` it gives the start latent.
        attempt: Which start latent led here, 0 = the first.
        steps: Optimisation steps taken from that start.
        travel_deg: Angle in degrees between start and accepted latent on the sphere.
        latent: float32 [Z], norm sqrt(Z); renders to `pixels` with the archive's generator.
    """

    image_id: str
    pixels: npt.NDArray[np.uint8]
    findings: tuple[str, ...]
    guide: Mapping[str, float]
    judge: Mapping[str, float]
    seed: int
    attempt: int
    steps: int
    travel_deg: float
    latent: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tally:
    """What became of one request: how many images were asked for, tried and accepted, and the best score reached.

    `best` is the highest value of min over asked findings of (guide probability - threshold) among failures, None
    if nothing failed.
    """

    findings: tuple[str, ...]
    asked: int
    accepted: int
    attempts: int
    best: float | None

    @property
    def missing(self) -> int:
        """Images asked for and not reached."""
        return self.asked - self.accepted
