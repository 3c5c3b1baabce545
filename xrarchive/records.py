"""The waist: what the stages left of it (torch) hand to the stages right of it (archives).

Plain types and numpy only, so that archives can be read, checked and published on a machine without torch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
    """`count` images that show all of `findings` and none of `absent`; the first finding is the image's class label.

    `start` is the number of the first of them: what earlier builds of an archive asked for comes before.
    """

    findings: tuple[str, ...]
    count: int
    absent: tuple[str, ...] = ()
    start: int = 0

    @property
    def slug(self) -> str:
        """A name for image ids: `Effusion+Edema`, and of what is to be absent a short hash."""
        name = "+".join(self.findings).replace(" ", "_")
        if not self.absent:
            return name
        return f"{name}-{zlib.crc32('|'.join(sorted(self.absent)).encode()):08x}"


@dataclass(frozen=True)
class SyntheticImage:
    """One accepted generate with everything known about it.

    Attributes:
        image_id: Unique within an archive, never reused.
        pixels: uint8 [H, W], 0 = black; an archive may also hold uint16 [H, W] or uint8 [H, W, 3].
        findings: The findings asked for; ``findings[0]`` is the class label.
        absent: The findings asked not to be there.
        guide: Probability per finding from the classifier that steered, of exactly these pixels.
        judge: Probability per finding from the classifier that only measures, of exactly these pixels.
        soft_label: P(the class label's finding is there | both scores), as among real radiographs.
        targets: Logit of the guide that was aimed at, for each of `findings`.
        seed: Entropy of its unit's draws; with `draw` it gives the start latent.
        draw: Which draw of the unit led here.
        steps: Gradient steps taken from that draw, 0 = it was there already.
        travel_deg: Angle in degrees between draw and accepted latent on the sphere.
        nuisances: The guide's logit of each nuisance it knows, of exactly these pixels.
        start_nuisances: The same of the draw, in the number format of the search.
        latent: float32 [Z], norm sqrt(Z); renders to `pixels` with the archive's generator.
    """

    image_id: str
    pixels: npt.NDArray[Any]
    findings: tuple[str, ...]
    absent: tuple[str, ...]
    guide: Mapping[str, float]
    judge: Mapping[str, float]
    soft_label: float
    targets: tuple[float, ...]
    seed: int
    draw: int
    steps: int
    travel_deg: float
    nuisances: tuple[float, ...]
    start_nuisances: tuple[float, ...]
    latent: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tally:
    """What became of one request.

    Attributes:
        findings: Asked for.
        absent: Asked not to be there.
        asked: Images asked for.
        accepted: Images made.
        starts: Draws tried, by gradient or as they were; `accepted / starts` is the yield.
        filtered: Images reached and left out because the judge did not agree, if it was asked to filter.
        missed_by: The fewest logits by which an image that was not reached missed its box, None if all were reached.
        median_steps: Of the accepted images; None = not one, or not counted yet.
        median_travel_deg: As `median_steps`.
    """

    findings: tuple[str, ...]
    absent: tuple[str, ...]
    asked: int
    accepted: int
    starts: int
    filtered: int
    missed_by: float | None
    median_steps: float | None = None
    median_travel_deg: float | None = None

    @property
    def missing(self) -> int:
        """Images asked for and not reached."""
        return self.asked - self.accepted
