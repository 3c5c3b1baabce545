"""Latent class optimisation, after Segal et al. 2020: search the latent space until a classifier sees the findings.

The paper states the idea (a frozen unconditional PGGAN, a latent moved until a classifier assigns the wanted classes)
and not its hyper-parameters; loss, step and stopping rule here are ours. A wanted image is a *box* in the guide's
logits: at least so much of the findings asked for, at most so much of those to be absent, and of a nuisance (view, sex)
about as much as a random draw shows. Called by `synthesis`.

Why screening first: a forward pass is a third of a gradient step, and every draw is held against all open boxes at
once. A draw that lies in a box is an image that nothing pushed. Gradients are spent on what draws do not give.
Why a solved step and no Adam: the loss is zero inside the box and about linear outside, so that its length over its
slope (Polyak 1969) says how far to go; most starts need one to three steps, and do not run past the box.
Why the sphere: the generator divides a latent by its root mean square, so that only its direction matters. Staying on
the sphere of norm sqrt(Z) keeps the prior, and the angle between start and end is the honest measure of the push.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from xrarchive.classifier.classifier import Classifier
from xrarchive.errors import InputDataError
from xrarchive.gan.layers import kernels_ready
from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.pixels import Pixels
from xrarchive.plan import SearchSettings

Floats = npt.NDArray[np.float32]
# float32 [N, Z] -> the images as they will be stored, uint8 [N, H, W], and the guide's outputs for them [N, K + J].
Exact = Callable[[Tensor], tuple[Pixels, Floats]]
# Images settled at a time: `synthesis` renders and scores in padded batches of this size.
SETTLE_BATCH = 32
_SCREEN_BATCH = 32
# Draws go on while this share of a round was taken: a forward pass for each image is cheaper than a gradient step.
_WORTH_DRAWING = 0.25
# Boxes are made narrower by this when an image that should have been inside was not.
_WIDER_MARGIN = 0.1
# Of a slope or a length, so that nothing is divided by 0.
_FLAT = 1e-12
_NEVER = 1e6
_JITTER_STREAM = (0, 1)  # draws have the streams (seed, 0), (seed, 1), ...


@dataclass(frozen=True)
class LatentSearch:
    """The outcome for N boxes, of which M were reached.

    Attributes:
        reached: bool [N]: the image, as it will be stored, lies in the box.
        latents: float32 [M, Z], norm sqrt(Z); rows in the order of the boxes, here and below.
        pixels: uint8 [M, H, W].
        outputs: float32 [M, K + J], the guide's logits of exactly these pixels.
        low: float32 [M, K + J], lower edges of their boxes, after matching.
        draw: int64 [M], the number of the draw that the search started from.
        start_outputs: float32 [M, K + J], the guide's logits of that draw.
        steps: int64 [M], gradient steps.
        travel_deg: float64 [M], angle between draw and end.
        starts: int64 [N], draws tried for each box.
        gap: float32 [N], the fewest logits that were missing; 0 where reached.
    """

    reached: npt.NDArray[np.bool_]
    latents: Floats
    pixels: Pixels
    outputs: Floats
    low: Floats
    draw: npt.NDArray[np.int64]
    start_outputs: Floats
    steps: npt.NDArray[np.int64]
    travel_deg: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    gap: Floats


@dataclass(frozen=True)
class Matching:
    """What it is for an image to resemble a random draw.

    Attributes:
        tolerance: float32 [K + J], how far an output may be off the draw's; infinite = need not be near.
        shifts: float32 [J, 2, N, K + J], added to the lower edges where the draw does not show the nuisance, or does.
    """

    tolerance: Floats
    shifts: Floats


def draw_latent(seed: int, draw: int, latent_size: int) -> Tensor:
    """A start latent: float32 [Z], uniform on the sphere of norm sqrt(Z), decided by seed and number alone."""
    normal = np.random.default_rng((seed, draw)).standard_normal(latent_size, dtype=np.float32)
    return to_sphere(torch.from_numpy(normal)[None])[0]


def to_sphere(latents: Tensor) -> Tensor:
    """Scale float [N, Z] to norm sqrt(Z)."""
    norms: Tensor = torch.linalg.vector_norm(latents, dim=1, keepdim=True)
    return latents * (math.sqrt(latents.shape[1]) / norms)


def travel_deg(start: Tensor, end: Tensor) -> Tensor:
    """Angle in degrees between float [N, Z] latents, row by row."""
    cosine = F.cosine_similarity(start.double(), end.double(), dim=1).clamp(-1, 1)
    return torch.rad2deg(torch.arccos(cosine))


def search_latents(
    *,
    generator: Generator,
    guide: Classifier,
    low: Floats,
    high: Floats,
    settings: SearchSettings,
    seed: int,
    exact: Exact,
    matching: Matching | None = None,
    discriminator: Discriminator | None = None,
) -> LatentSearch:
    """Find a latent for each of N boxes in the guide's logits.

    Draws are screened against all open boxes; what they do not give is reached from the nearest of them by steps along
    the gradient of a hinge loss, averaged over the guide's members and over small random shifts and gains of the image
    (so that it cannot be won by one member, or by texture that a shift destroys). A latent that leaves its slot,
    accepted or given up, makes room for the next one at once. The result depends on the arguments alone.

    Args:
        generator: Frozen; [N, Z] -> float32 [N, 1, H, W].
        guide: Frozen; K findings and J nuisances, calibrated logits.
        low: float32 [N, K + J], lower edge of each box; -inf = none.
        high: float32 [N, K + J], upper edge; inf = none.
        settings: Limits of the search, and the number format of all but `exact`.
        seed: Of draws and shifts.
        exact: Renders and scores latents as they will be stored, and so has the last word on every image.
        matching: Nuisances in which image n is to resemble draw n; None = none.
        discriminator: For `settings.realism`; not needed where that is 0.

    Raises:
        InputDataError: If the guide gives NaN or infinity.
    """
    dtype: torch.dtype = getattr(torch, settings.dtype)
    quick = copy.deepcopy(generator)  # `exact` goes on with the float32 kernels of `generator`
    with kernels_ready(quick, dtype):
        pool = Pool(
            generate=lambda latents: quick(latents, dtype=dtype),
            guide=guide,
            seed=seed,
            latent_size=generator.settings.latent_size,
        )
        search = _Search(pool, low, high, settings, exact, discriminator)
        if matching is not None:
            search.match(matching)
        search.screen()
        search.optimise()
    return search.outcome()


def gap_to_box(outputs: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Logits missing: what [..., O] lies below `low` or above `high`, summed over the outputs; 0 = inside."""
    return (F.relu(low - outputs) + F.relu(outputs - high)).sum(dim=-1)


def step_on_sphere(latents: Tensor, gradient: Tensor, loss: Tensor, *, largest_deg: float) -> tuple[Tensor, Tensor]:
    """Move latents down a loss whose least value is 0, as far as its slope says that takes (Polyak 1969).

    Args:
        latents: float32 [N, Z] of norm sqrt(Z).
        gradient: float32 [N, Z] of `loss`.
        loss: float32 [N], at least 0.
        largest_deg: Of one step.

    Returns:
        The latents, and bool [N]: whether the step went all the way.
    """
    radius = math.sqrt(latents.shape[1])
    along = (gradient * latents).sum(dim=1, keepdim=True) / radius**2
    tangent = gradient - along * latents
    slope = torch.linalg.vector_norm(tangent, dim=1).clamp(min=_FLAT)
    wanted = loss / (slope * radius)
    angle = wanted.clamp(max=math.radians(largest_deg))[:, None]
    moved = torch.cos(angle) * latents - torch.sin(angle) * radius * tangent / slope[:, None]
    return to_sphere(moved), wanted <= math.radians(largest_deg)


def within_travel(start: Tensor, latents: Tensor, *, largest_deg: float) -> Tensor:
    """Latents [N, Z] that have gone further than `largest_deg` from `start`, turned back to that angle."""
    radius = math.sqrt(start.shape[1])
    cosine = (start * latents).sum(dim=1, keepdim=True) / radius**2
    across = latents - cosine * start
    across = across * (radius / torch.linalg.vector_norm(across, dim=1, keepdim=True).clamp(min=_FLAT))
    limit = math.radians(largest_deg)
    turned = math.cos(limit) * start + math.sin(limit) * across
    return torch.where(cosine < math.cos(limit), turned, latents)


class Pool:
    """Draws of one seed in their order, with the guide's outputs: latents [P, Z], outputs [P, O], taken bool [P]."""

    def __init__(self, *, generate: Callable[[Tensor], Tensor], guide: Classifier, seed: int, latent_size: int) -> None:
        self.generate, self.guide, self.seed = generate, guide, seed
        self.latents = torch.empty(0, latent_size)
        self.outputs = torch.empty(0, len(guide.scale))
        self.taken = np.zeros(0, np.bool_)

    def draw(self, count: int) -> npt.NDArray[np.int64]:
        """Draw and score so many more; their numbers."""
        numbers = np.arange(len(self.taken), len(self.taken) + count)
        latents = torch.stack([draw_latent(self.seed, int(number), self.latents.shape[1]) for number in numbers])
        with torch.inference_mode():
            outputs = [self.guide.member_logits(self.generate(part)) for part in torch.split(latents, _SCREEN_BATCH)]
        means = torch.cat(outputs, dim=1).mean(dim=0)
        _require_finite(means, self.guide)
        self.latents, self.outputs = torch.cat([self.latents, latents]), torch.cat([self.outputs, means])
        self.taken = np.concatenate([self.taken, np.zeros(count, np.bool_)])
        return numbers


@dataclass(eq=False)
class _Try:
    """A latent on its way from a draw to a box; `last` = whatever `exact` says of it now, it goes no further."""

    wanted: int
    draw: int
    latent: Tensor
    steps: int = 0
    last: bool = False


class _Search:
    """The state of one call of `search_latents`: which boxes are open, and what is on its way to them."""

    def __init__(
        self,
        pool: Pool,
        low: Floats,
        high: Floats,
        settings: SearchSettings,
        exact: Exact,
        discriminator: Discriminator | None,
    ) -> None:
        self.pool, self.settings, self.exact, self.discriminator = pool, settings, exact, discriminator
        self.low, self.high = torch.from_numpy(low).clone(), torch.from_numpy(high).clone()
        self.rng = np.random.default_rng((pool.seed, *_JITTER_STREAM))
        self.margin = torch.full((len(low),), settings.margin)
        self.open = set(range(len(low)))
        self.queue: list[_Try] = []  # waiting for a slot
        self.arrived: list[_Try] = []  # waiting for `exact`
        self.accepted: dict[int, tuple[_Try, npt.NDArray[np.uint8], Floats]] = {}
        self.starts = np.zeros(len(low), np.int64)
        self.gap = np.full(len(low), np.inf, np.float32)

    def match(self, matching: Matching) -> None:
        """Make every box narrow around what the draw of its own number shows of the matched nuisances."""
        numbers = self.pool.draw(len(self.low))
        pattern = self.pool.outputs[numbers]
        findings = self.low.shape[1] - len(matching.shifts)
        for column in np.flatnonzero(np.isfinite(matching.tolerance)):
            away, near = torch.from_numpy(matching.shifts[column - findings])
            self.low += torch.where(pattern[:, [column]] > 0, near, away)
            self.low[:, column] = pattern[:, column] - float(matching.tolerance[column])
            self.high[:, column] = pattern[:, column] + float(matching.tolerance[column])
        self._take(numbers)

    def screen(self) -> None:
        """Draw while draws are cheaper than steps, and take those that lie in an open box."""
        share = 1.0
        while self.open and (share >= _WORTH_DRAWING or len(self.pool.taken) < self.settings.screen * len(self.low)):
            numbers = self.pool.draw(max(_SCREEN_BATCH, len(self.open)))
            share = self._take(numbers) / len(numbers)

    def optimise(self) -> None:
        """Bring the nearest draws into the boxes that are still open, in slots refilled as they fall free."""
        self._start_nearest()
        slots: list[_Try] = []
        while slots or self.queue or self.arrived:
            free = self.settings.slots - len(slots)
            slots, self.queue = slots + self.queue[:free], self.queue[free:]
            if slots:
                there = self._step(slots)
                self.arrived += [item for item, done in zip(slots, there, strict=True) if done]
                slots = [item for item, done in zip(slots, there, strict=True) if not done]
            while len(self.arrived) >= SETTLE_BATCH or (self.arrived and not slots and not self.queue):
                self._settle()
                self._start_nearest()

    def outcome(self) -> LatentSearch:
        """What became of every box."""
        reached = np.array([index in self.accepted for index in range(len(self.low))], np.bool_)
        found = [self.accepted[index] for index in sorted(self.accepted)]
        draws = np.array([item.draw for item, _, _ in found], np.int64)
        latents = torch.stack([item.latent for item, _, _ in found]) if found else self.pool.latents[:0]
        return LatentSearch(
            reached=reached,
            latents=latents.numpy(),
            pixels=np.array([pixels for _, pixels, _ in found], np.uint8),
            outputs=np.array([outputs for _, _, outputs in found], np.float32),
            low=self.low[sorted(self.accepted)].numpy(),
            draw=draws,
            start_outputs=self.pool.outputs[draws].numpy(),
            steps=np.array([item.steps for item, _, _ in found], np.int64),
            travel_deg=travel_deg(self.pool.latents[draws], latents).numpy(),
            starts=self.starts,
            gap=self.gap,
        )

    def _take(self, numbers: npt.NDArray[np.int64]) -> int:
        """Give each draw that lies in an open box to the box that asks for most of what it shows; how many did."""
        wanted = sorted(self.open)
        gaps, excess = self._distances(numbers, wanted)
        costs = np.where(gaps > 0, _NEVER, excess)
        pairs = [
            (row, column) for row, column in zip(*linear_sum_assignment(costs), strict=True) if gaps[row, column] == 0
        ]
        self.arrived += [self._start(wanted[column], int(numbers[row])) for row, column in pairs]
        while len(self.arrived) >= SETTLE_BATCH:
            self._settle()
        return len(pairs)

    def _start_nearest(self) -> None:
        """A draw that nobody has taken for every open box, so that the least is missing in all."""
        if not self.open:
            return
        wanted, unused = sorted(self.open), np.flatnonzero(~self.pool.taken)
        if len(unused) < len(wanted):
            unused = np.concatenate([unused, self.pool.draw(len(wanted) - len(unused))])
        gaps, _ = self._distances(unused, wanted)
        rows, columns = linear_sum_assignment(gaps)
        nearest = np.argsort(gaps[rows, columns], kind="stable")
        self.queue += [self._start(wanted[columns[place]], int(unused[rows[place]])) for place in nearest]

    def _start(self, wanted: int, draw: int) -> _Try:
        self.open.discard(wanted)
        self.pool.taken[draw] = True
        self.starts[wanted] += 1
        return _Try(wanted, draw, self.pool.latents[draw])

    def _distances(self, numbers: npt.NDArray[np.int64], wanted: Sequence[int]) -> tuple[Floats, Floats]:
        """Of each draw to each box, [P, N]: the logits missing, and what is shown above the lower edges."""
        outputs, low, high = self.pool.outputs[numbers][:, None], *self._edges(wanted)
        excess = torch.where(torch.isfinite(low), F.relu(outputs - low), 0.0).sum(dim=-1)
        return gap_to_box(outputs, low, high).numpy(), excess.numpy()

    def _edges(self, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The boxes less their margins, which leave at least half of a narrow box."""
        low, high = self.low[wanted], self.high[wanted]
        margin = torch.minimum(self.margin[wanted][:, None], (high - low) / 4)
        return low + margin, high - margin

    def _step(self, slots: Sequence[_Try]) -> list[bool]:
        """Move the latents of all slots once; whether each is believed to be inside now, or may go no further."""
        low, high = self._edges([item.wanted for item in slots])
        points = torch.stack([item.latent for item in slots]).requires_grad_()
        images = self.pool.generate(points)
        outputs = self.pool.guide.member_logits(self._jitter(images)).mean(dim=0)
        _require_finite(outputs.detach(), self.pool.guide)
        loss = gap_to_box(outputs, low, high)
        (gradient,) = torch.autograd.grad(loss.sum() + self._unreal(images), points)
        points, loss = points.detach(), loss.detach()
        moved, whole = step_on_sphere(points, gradient, loss, largest_deg=self.settings.step_deg)
        start = self.pool.latents[[item.draw for item in slots]]
        moved = within_travel(start, moved, largest_deg=self.settings.travel_deg)
        for item, latent in zip(slots, moved, strict=True):
            item.latent, item.steps = latent, item.steps + 1
            item.last = item.steps >= self.settings.steps
        return [bool(done) or item.last for item, done in zip(slots, whole, strict=True)]

    def _settle(self) -> None:
        """Render and score the oldest arrivals as they will be stored: accepted, sent on, or given up."""
        items, self.arrived = self.arrived[:SETTLE_BATCH], self.arrived[SETTLE_BATCH:]
        pixels, outputs = self.exact(torch.stack([item.latent for item in items]))
        wanted = [item.wanted for item in items]
        gaps = gap_to_box(torch.from_numpy(outputs), self.low[wanted], self.high[wanted]).numpy()
        for row, item in enumerate(items):
            self.gap[item.wanted] = min(self.gap[item.wanted], gaps[row])
            if gaps[row] == 0:
                self.accepted[item.wanted] = (item, pixels[row], outputs[row])
            elif not item.last:
                self.margin[item.wanted] += _WIDER_MARGIN
                self.queue.append(item)
            elif self.starts[item.wanted] < self.settings.attempts:
                self.margin[item.wanted] = self.settings.margin
                self.open.add(item.wanted)

    def _jitter(self, images: Tensor) -> Tensor:
        """All images moved by the same few pixels, edges repeated, each with its own gain and brightness."""
        reach = round(self.settings.shift * images.shape[-1])
        down, right = (int(value) for value in self.rng.integers(0, 2 * reach + 1, 2))
        size = images.shape[-1]
        moved = F.pad(images, (reach,) * 4, mode="replicate")[..., down : down + size, right : right + size]
        spread = torch.from_numpy(self.rng.uniform(-1, 1, (2, len(images), 1, 1, 1)).astype(np.float32))
        return moved * (1 + self.settings.gain * spread[0]) + self.settings.gain * spread[1]

    def _unreal(self, images: Tensor) -> Tensor | float:
        """What the discriminator minds, weighted; each image is a group of its own, so that none depends on another."""
        if self.discriminator is None or not self.settings.realism:
            return 0.0
        return self.settings.realism * F.softplus(-self.discriminator(images, group=1)).sum()


def _require_finite(outputs: Tensor, guide: Classifier) -> None:
    if not torch.isfinite(outputs).all():
        raise InputDataError(
            f"The guide {guide.sha256[:12]} gave NaN or infinity during the search.", fix="Train the guide again."
        )
