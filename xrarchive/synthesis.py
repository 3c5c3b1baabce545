"""Requests to images: search latents, render, score, accept. The last stage left of the waist.

Acceptance and the stored probabilities belong to exactly the pixels in the PNG: an accepted latent is rendered again
in a fixed padded batch, rounded to 8 bits, and the guide must still see every asked finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xrarchive.classifier.classifier import Classifier, load_classifier
from xrarchive.errors import InputDataError
from xrarchive.gan.networks import Generator
from xrarchive.gan.snapshots import GeneratorSnapshot, load_snapshot
from xrarchive.latents import draw_latent, optimise_latents, travel_deg
from xrarchive.pixels import Pixels, to_pixels
from xrarchive.plan import Plan, PlannedImage
from xrarchive.records import SyntheticImage, Tally

# Rendering always runs batches of this many latents; a shorter one is padded with its first latent.
RENDER_BATCH = 32


@dataclass(frozen=True)
class Studio:
    """The three sets of weights an archive is made with."""

    snapshot: GeneratorSnapshot
    guide: Classifier
    judge: Classifier


def open_studio(generator: Path, guide: Path, judge: Path) -> Studio:
    """Load the weights and check that they fit one another.

    Raises:
        InputDataError: If sizes or vocabularies differ, or guide and judge share patients.
        DamageError: If a file is not readable.
    """
    studio = Studio(
        load_snapshot(generator), load_classifier(guide, role="guide"), load_classifier(judge, role="judge")
    )
    settings = studio.snapshot.settings
    if settings.channels != 1:
        raise InputDataError(
            f"The generator {generator} makes {settings.channels} channels; an archive holds grey images.",
            fix="Import its checkpoint again with --grey, or train with channels = 1.",
            path=generator,
        )
    size_px = settings.resolution
    for name, path, classifier in (("guide", guide, studio.guide), ("judge", judge, studio.judge)):
        if classifier.size_px != size_px:
            raise InputDataError(
                f"The generator {generator} makes {size_px} px images, the {name} {path} was trained on "
                f"{classifier.size_px} px.",
                fix=f"Train the {name} on a radiograph set of {size_px} px.",
                path=path,
            )
    if studio.guide.vocabulary != studio.judge.vocabulary:
        raise InputDataError(
            f"Guide and judge know other findings: {', '.join(studio.guide.vocabulary)} against "
            f"{', '.join(studio.judge.vocabulary)}.",
            fix="Train both on sets with the same --findings.",
            path=judge,
        )
    shared = set(studio.guide.meta["patients"]) & set(studio.judge.meta["patients"])
    if shared:
        raise InputDataError(
            f"Guide {guide} and judge {judge} were trained on {len(shared)} common patients; the judge could not be "
            "trusted to be independent.",
            fix="Train both on the same set with the same seed: their halves are then disjoint.",
            path=judge,
        )
    return studio


def build_unit(plan: Plan, index: int, studio: Studio) -> tuple[list[SyntheticImage], list[Tally]]:
    """Make the images of one unit: pure in (plan, index, weights), given the plan's thread count.

    Returns:
        The accepted images in row order, and a tally for each request that has images in this unit.
    """
    images = plan.unit(index)
    latent_size = studio.snapshot.settings.latent_size
    made: dict[int, SyntheticImage] = {}
    attempts, best = [0] * len(images), [-np.inf] * len(images)
    for attempt in range(plan.search.attempts):
        waiting = [slot for slot in range(len(images)) if slot not in made]
        if not waiting:
            break
        start = torch.stack([draw_latent(images[slot].seed, attempt, latent_size) for slot in waiting])
        asked = _asked(plan, [images[slot] for slot in waiting], studio.guide)
        search = optimise_latents(
            start, asked=asked, generator=studio.snapshot.generator, guide=studio.guide, settings=plan.search
        )
        pixels = render(studio.snapshot.generator, search.latents)
        scores = studio.guide.scores(pixels)
        margins = np.where(asked.numpy(), scores - studio.guide.thresholds, np.inf).min(axis=1)
        travel = travel_deg(start, search.latents)
        for row, slot in enumerate(waiting):
            attempts[slot] += 1
            best[slot] = max(best[slot], float(margins[row]))
            if margins[row] >= 0:
                made[slot] = SyntheticImage(
                    image_id=images[slot].image_id,
                    pixels=pixels[row],
                    findings=plan.requests[images[slot].request].findings,
                    guide=_named(studio.guide, scores[row]),
                    judge={},
                    seed=images[slot].seed,
                    attempt=attempt,
                    steps=int(search.steps[row]),
                    travel_deg=round(float(travel[row]), 3),
                    latent=search.latents[row].numpy(),
                )
    accepted = _with_judge([made[slot] for slot in sorted(made)], studio.judge)
    return accepted, _tallies(plan, images, made, attempts, best)


def render(generator: Generator, latents: Tensor) -> Pixels:
    """uint8 [N, H, W] of float32 [N, Z] latents, in fixed padded batches, whatever stands beside."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(latents), RENDER_BATCH):
            part = latents[start : start + RENDER_BATCH]
            padded = torch.cat([part, part[:1].expand(RENDER_BATCH - len(part), -1)])
            parts.append(to_pixels(generator(padded).numpy())[: len(part)])
    return np.concatenate(parts)


def _asked(plan: Plan, images: Sequence[PlannedImage], guide: Classifier) -> Tensor:
    rows = [[finding in plan.requests[image.request].findings for finding in guide.vocabulary] for image in images]
    return torch.tensor(rows, dtype=torch.bool)


def _named(classifier: Classifier, scores: npt.NDArray[np.float32]) -> dict[str, float]:
    return dict(zip(classifier.vocabulary, scores.tolist(), strict=True))


def _with_judge(images: list[SyntheticImage], judge: Classifier) -> list[SyntheticImage]:
    if not images:
        return []
    scores = judge.scores(np.stack([image.pixels for image in images]))
    return [dataclasses.replace(image, judge=_named(judge, row)) for image, row in zip(images, scores, strict=True)]


def _tallies(
    plan: Plan,
    images: Sequence[PlannedImage],
    made: dict[int, SyntheticImage],
    attempts: Sequence[int],
    best: Sequence[float],
) -> list[Tally]:
    tallies = []
    for request in sorted({image.request for image in images}):
        slots = [slot for slot, image in enumerate(images) if image.request == request]
        failed = [best[slot] for slot in slots if slot not in made]
        tallies.append(
            Tally(
                findings=plan.requests[request].findings,
                asked=len(slots),
                accepted=len(slots) - len(failed),
                attempts=sum(attempts[slot] for slot in slots),
                best=round(max(failed), 6) if failed else None,
            )
        )
    return tallies
