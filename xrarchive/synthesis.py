"""Requests to images: search latents, render, score, accept. The last stage left of the waist.

Acceptance and the stored probabilities belong to exactly the pixels in the PNG: an accepted latent is rendered again
in a fixed padded batch, rounded to 8 bits, and the guide must still see every asked finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xrarchive.boxes import make_boxes, nuisance_tolerance, stratum_shifts
from xrarchive.classifier.classifier import Classifier, load_classifier
from xrarchive.classifier.pair import soft_label
from xrarchive.errors import InputDataError
from xrarchive.gan.layers import kernels_ready
from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.gan.snapshots import GeneratorSnapshot, load_discriminator, load_snapshot
from xrarchive.latents import SETTLE_BATCH, Floats, LatentSearch, Matching, search_latents
from xrarchive.pixels import Pixels, to_pixels
from xrarchive.plan import Plan, PlannedImage
from xrarchive.records import SyntheticImage, Tally
from xrarchive.statistics import to_logit, to_probability

# Rendering always runs batches of this many latents; a shorter one is padded with its first latent.
RENDER_BATCH = SETTLE_BATCH


@dataclass(frozen=True)
class Studio:
    """The three sets of weights an archive is made with; `discriminator` is the generator's, if it has one."""

    snapshot: GeneratorSnapshot
    guide: Classifier
    judge: Classifier
    discriminator: Discriminator | None = None

    def soft_label(self, finding: str, guide_logit: float, judge_logit: float) -> float:
        """P(finding | both scores) as fitted on real radiographs; the judge's own word where that was not done."""
        pair = self.judge.meta.get("pair")
        if pair and pair["guide_sha256"] == self.guide.sha256 and finding in pair["soft"]:
            return float(soft_label(pair, finding, np.array([guide_logit]), np.array([judge_logit]))[0])
        return float(to_probability(judge_logit))


def open_studio(generator: Path, guide: Path, judge: Path) -> Studio:
    """Load the weights and check that they fit one another.

    Raises:
        InputDataError: If sizes or vocabularies differ, or guide and judge share patients.
        DamageError: If a file is not readable.
    """
    studio = Studio(
        load_snapshot(generator),
        load_classifier(guide, role="guide"),
        load_classifier(judge, role="judge"),
        load_discriminator(generator),
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
    _require_apart(studio, judge)
    shared = set(studio.guide.meta["patients"]) & set(studio.judge.meta["patients"])
    if shared:
        raise InputDataError(
            f"Guide {guide} and judge {judge} were trained on {len(shared)} common patients; the judge could not be "
            "trusted to be independent.",
            fix="Train both on the same set with the same seed: their halves are then disjoint.",
            path=judge,
        )
    return studio


def _require_apart(studio: Studio, path: Path) -> None:
    """Imported weights name no patients: they are held apart by the sets of radiographs they were trained on."""
    origins = [classifier.meta.get("origin", {}).get("trained_on", ()) for classifier in (studio.guide, studio.judge)]
    common = sorted(set(origins[0]) & set(origins[1]))
    if common:
        raise InputDataError(
            f"Guide and judge were both trained by others on {', '.join(common)}.",
            fix="Give a judge that was trained on other radiographs.",
            path=path,
        )


def build_unit(plan: Plan, index: int, studio: Studio) -> tuple[list[SyntheticImage], list[Tally]]:
    """Make the images of one unit: pure in (plan, index, weights), given the plan's thread count.

    Returns:
        The accepted images in row order, and a tally for each request that has images in this unit.
    """
    images = plan.unit(index)
    low, high = make_boxes(plan, images, studio.guide)
    generator = studio.snapshot.generator
    with kernels_ready(generator, torch.float32):
        found = search_latents(
            generator=generator,
            guide=studio.guide,
            low=low,
            high=high,
            settings=plan.search,
            seed=plan.unit_seed(index),
            exact=lambda latents: _exact(generator, studio.guide, latents),
            matching=make_matching(plan, images, studio.guide) if plan.search.match else None,
            discriminator=studio.discriminator,
        )
    reached = np.flatnonzero(found.reached)
    judged = studio.judge.outputs(found.pixels) if len(reached) else np.empty((0, 0), np.float32)
    made = [
        _image(plan, index, images[slot], found, row, judged[row], studio)
        for row, slot in enumerate(reached)
        if not plan.search.judge_filter or _judge_calls(plan, images[slot], judged[row], studio.judge)
    ]
    return made, _tallies(plan, images, found, {image.image_id for image in made})


def make_matching(plan: Plan, images: Sequence[PlannedImage], guide: Classifier) -> Matching:
    """What it is for each of a unit's images to resemble a random draw in the matched nuisances."""
    return Matching(nuisance_tolerance(plan.search, guide), stratum_shifts(plan, images, guide))


def _image(
    plan: Plan, index: int, planned: PlannedImage, found: LatentSearch, row: int, judged: Floats, studio: Studio
) -> SyntheticImage:
    request, guide = plan.requests[planned.request], studio.guide
    label = guide.vocabulary.index(request.findings[0])
    findings = len(guide.vocabulary)
    return SyntheticImage(
        image_id=planned.image_id,
        pixels=found.pixels[row],
        findings=request.findings,
        absent=request.absent,
        guide=_probabilities(guide, found.outputs[row]),
        judge=_probabilities(studio.judge, judged),
        soft_label=studio.soft_label(request.findings[0], found.outputs[row, label], judged[label]),
        targets=tuple(float(found.low[row, guide.vocabulary.index(name)]) for name in request.findings),
        seed=plan.unit_seed(index),
        draw=int(found.draw[row]),
        steps=int(found.steps[row]),
        travel_deg=round(float(found.travel_deg[row]), 3),
        nuisances=tuple(found.outputs[row, findings:].tolist()),
        start_nuisances=tuple(found.start_outputs[row, findings:].tolist()),
        latent=found.latents[row],
    )


def _judge_calls(plan: Plan, planned: PlannedImage, judged: Floats, judge: Classifier) -> bool:
    findings = plan.requests[planned.request].findings
    thresholds = [(judge.vocabulary.index(name), to_logit(judge.threshold(name))) for name in findings]
    return all(judged[column] >= threshold for column, threshold in thresholds)


def _exact(generator: Generator, guide: Classifier, latents: Tensor) -> tuple[Pixels, Floats]:
    pixels = render(generator, latents)
    return pixels, guide.outputs(pixels)


def render(generator: Generator, latents: Tensor) -> Pixels:
    """uint8 [N, H, W] of float32 [N, Z] latents, in fixed padded batches, whatever stands beside."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(latents), RENDER_BATCH):
            part = latents[start : start + RENDER_BATCH]
            padded = torch.cat([part, part[:1].expand(RENDER_BATCH - len(part), -1)])
            parts.append(to_pixels(generator(padded).numpy())[: len(part)])
    return np.concatenate(parts)


def _probabilities(classifier: Classifier, logits: Floats) -> dict[str, float]:
    findings = len(classifier.vocabulary)
    return dict(zip(classifier.vocabulary, to_probability(logits[:findings]).tolist(), strict=True))


def _tallies(plan: Plan, images: Sequence[PlannedImage], found: LatentSearch, made: set[str]) -> list[Tally]:
    tallies = []
    for request in sorted({image.request for image in images}):
        slots = [slot for slot, image in enumerate(images) if image.request == request]
        accepted = sum(images[slot].image_id in made for slot in slots)
        missed = [float(found.gap[slot]) for slot in slots if not found.reached[slot]]
        tallies.append(
            Tally(
                findings=plan.requests[request].findings,
                absent=plan.requests[request].absent,
                asked=len(slots),
                accepted=accepted,
                starts=int(found.starts[slots].sum()),
                filtered=len(slots) - len(missed) - accepted,
                missed_by=round(min(missed), 6) if missed else None,
            )
        )
    return tallies
