"""The latent search against a guide that is linear in the latent, so that every box and every step can be checked."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from xrarchive.errors import InputDataError
from xrarchive.latents import (
    SETTLE_BATCH,
    LatentSearch,
    Matching,
    Pool,
    draw_latent,
    gap_to_box,
    search_latents,
    step_on_sphere,
    to_sphere,
    travel_deg,
    within_travel,
)
from xrarchive.plan import SearchSettings

Z, SIDE, OUTPUTS, N = 16, 4, 3, 12
RADIUS = math.sqrt(Z)
SEARCH = SearchSettings(dtype="float32", slots=5, screen=1, steps=24, attempts=3)
STILL = dataclasses.replace(SEARCH, gain=0.0, shift=0.0)
Floats = npt.NDArray[np.float32]


class LatentImages(nn.Module):
    """Shows a latent as it is: float [N, 16] -> [N, 1, 4, 4]."""

    settings = SimpleNamespace(latent_size=Z)

    def forward(self, latents: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        return latents.to(dtype).float().view(-1, 1, SIDE, SIDE)


class LinearGuide:
    """Two members whose logits are linear in the image; `stepped` holds the size of every batch with a gradient."""

    sha256 = "f" * 64

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        self.members, self.bias = (0.9 * weight, 1.1 * weight), bias
        self.scale = torch.ones(len(weight))
        self.stepped: list[int] = []

    def member_logits(self, planes: Tensor) -> Tensor:
        if planes.requires_grad:
            self.stepped.append(len(planes))
        return torch.stack([planes.flatten(1) @ member.T + self.bias for member in self.members])

    def exact(self, latents: Tensor) -> tuple[npt.NDArray[np.uint8], Floats]:
        """Rounded to 8 bits, and then scored: what is stored is never quite what was searched."""
        assert 1 <= len(latents) <= SETTLE_BATCH
        pixels = (latents.view(-1, SIDE, SIDE) * 30 + 128).clamp(0, 255).round()
        outputs = self.member_logits((pixels - 128)[:, None] / 30).mean(dim=0)
        return pixels.numpy().astype(np.uint8), outputs.numpy()


def make_weight(seed: int = 1) -> Tensor:
    """[OUTPUTS, Z]: a random draw's logits have the standard deviation 2."""
    return torch.randn(OUTPUTS, Z, generator=torch.Generator().manual_seed(seed)) / 2


def boxes(low: float = 4.0, count: int = N) -> tuple[Floats, Floats]:
    """Each box asks for one output in turn."""
    lower = np.full((count, OUTPUTS), -np.inf, np.float32)
    lower[np.arange(count), np.arange(count) % OUTPUTS] = low
    return lower, np.full((count, OUTPUTS), np.inf, np.float32)


def find(
    guide: LinearGuide,
    edges: tuple[Floats, Floats],
    limits: SearchSettings = SEARCH,
    *,
    seed: int = 0,
    tolerance: float | None = None,
    shifts: tuple[float, float] = (0.0, 0.0),
    **more: Any,
) -> LatentSearch:
    arguments: dict[str, Any] = {"generator": LatentImages(), "guide": guide, "exact": guide.exact} | more
    low, high = edges
    if tolerance is not None:  # the last output is a nuisance, and the first one's edge moves with it
        moved = np.zeros((1, 2, *low.shape), np.float32)
        moved[0, :, :, 0] = np.float32(shifts)[:, None]
        arguments["matching"] = Matching(np.float32([np.inf, np.inf, tolerance]), moved)
    return search_latents(low=low, high=high, settings=limits, seed=seed, **arguments)


def inside(outputs: Floats, edges: tuple[Floats, Floats], rows: npt.NDArray[Any]) -> bool:
    return bool((outputs >= edges[0][rows]).all() and (outputs <= edges[1][rows]).all())


def starts_of(found: LatentSearch, seed: int) -> Tensor:
    return torch.stack([draw_latent(seed, int(draw), Z) for draw in found.draw])


def require_sound(found: LatentSearch, guide: LinearGuide, edges: tuple[Floats, Floats], limits: Any, seed: int) -> int:
    """Everything a search promises whatever it is asked; how many boxes it reached."""
    rows, latents = np.flatnonzero(found.reached), torch.from_numpy(found.latents)
    assert len(rows) == len(latents) == len(found.pixels) == len(found.outputs) == len(found.steps)
    assert not len(rows) or inside(found.outputs, edges, rows)
    assert (found.gap[found.reached] == 0).all()
    assert (found.gap[~found.reached] > 0).all()
    assert np.isfinite(found.gap).all()
    assert ((found.starts >= 1) & (found.starts <= limits.attempts)).all()
    assert found.starts[~found.reached].tolist() == [limits.attempts] * int((~found.reached).sum())
    assert len(set(found.draw.tolist())) == len(rows)
    assert sum(guide.stepped) <= limits.steps * found.starts.sum()
    assert max(guide.stepped, default=0) <= limits.slots
    if len(rows):
        pixels, outputs = zip(*(guide.exact(latent[None]) for latent in latents), strict=True)
        np.testing.assert_array_equal(np.concatenate(pixels), found.pixels)
        np.testing.assert_allclose(np.concatenate(outputs), found.outputs, atol=1e-5)
        assert torch.linalg.vector_norm(latents, dim=1).tolist() == pytest.approx([RADIUS] * len(rows), rel=1e-5)
        start = starts_of(found, seed)
        np.testing.assert_allclose(travel_deg(start, latents), found.travel_deg, atol=1e-3)
        seen = start @ torch.stack(guide.members).mean(dim=0).T + guide.bias
        np.testing.assert_allclose(found.start_outputs, seen, atol=1e-4)
        assert found.steps.max() <= limits.steps
        assert found.travel_deg.max() <= limits.travel_deg + 0.01
        assert not found.travel_deg[found.steps == 0].round(3).any()
    return len(rows)


# Latents


@given(st.integers(0, 2**63 - 1), st.integers(0, 20), st.sampled_from((4, 128, 512)))
def test_draws_lie_on_the_sphere_and_depend_on_seed_and_number_only(seed: int, draw: int, size: int) -> None:
    latent = draw_latent(seed, draw, size)
    assert latent.shape == (size,)
    assert latent.norm().item() == pytest.approx(math.sqrt(size), rel=1e-5)
    assert torch.equal(latent, draw_latent(seed, draw, size))
    assert not torch.equal(latent, draw_latent(seed, draw + 1, size))
    assert not torch.equal(latent, draw_latent(seed ^ 1, draw, size))


def test_travel_is_the_angle_between_the_latents() -> None:
    a = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0]])
    b = torch.tensor([[0.0, 2, 0], [-3, 0, 0], [1, 1, 0]])
    assert travel_deg(a, b).tolist() == pytest.approx([90, 180, 45])


EDGES = st.floats(-9, 9, width=32) | st.sampled_from((-math.inf, math.inf))


@given(st.lists(st.tuples(st.floats(-9, 9, width=32), EDGES, EDGES), min_size=1, max_size=5))
def test_the_gap_is_what_is_missing_in_all_outputs(columns: list[tuple[float, float, float]]) -> None:
    columns = [(value, min(edges), max(edges)) for value, *edges in columns if min(edges) < max(edges)] or [(0, -1, 1)]
    values, low, high = (torch.tensor(column) for column in zip(*columns, strict=True))
    missing = sum(max(lower - value, 0) + max(value - upper, 0) for value, lower, upper in columns)
    gap = gap_to_box(values, low, high).item()
    assert gap == pytest.approx(missing, abs=1e-5)
    assert (gap == 0) == all(lower <= value <= upper for value, lower, upper in columns)


UNIT_SEEDS = st.integers(0, 2**32)


@given(UNIT_SEEDS, st.floats(0.0, 30.0), st.floats(0.1, 30.0))
def test_a_step_goes_as_far_as_the_loss_and_slope_say_and_no_further(seed: int, loss: float, largest: float) -> None:
    latents, gradient = (
        to_sphere(torch.randn(3, Z, generator=torch.Generator().manual_seed(seed))),
        make_weight(seed + 1),
    )
    moved, whole = step_on_sphere(latents, gradient, torch.full((3,), loss), largest_deg=largest)
    tangent = gradient - (gradient * latents).sum(1, keepdim=True) / Z * latents
    wanted = torch.rad2deg(loss / (torch.linalg.vector_norm(tangent, dim=1) * RADIUS))
    assert torch.linalg.vector_norm(moved, dim=1).tolist() == pytest.approx([RADIUS] * 3, rel=1e-5)
    np.testing.assert_allclose(travel_deg(latents, moved), wanted.clamp(max=largest), atol=0.05)
    assert whole.tolist() == (wanted <= largest).tolist()


@given(UNIT_SEEDS, st.floats(0.0, 3.0))
def test_a_step_is_exact_for_a_linear_loss_but_for_the_curvature(seed: int, missing: float) -> None:
    """Along the great circle a linear f is a cosine; the step is off by its second and third order, no more."""
    latents, weight = to_sphere(torch.randn(3, Z, generator=torch.Generator().manual_seed(seed))), make_weight(seed + 1)
    before = (latents * weight).sum(1)
    moved, whole = step_on_sphere(latents, -weight, torch.full((3,), missing), largest_deg=90)
    slope = torch.linalg.vector_norm(weight - before[:, None] / Z * latents, dim=1) * RADIUS
    angle = missing / slope
    off = ((moved * weight).sum(1) - (before + missing)).abs()
    assert (off <= before.abs() * angle**2 / 2 + slope * angle**3 / 6 + 1e-4)[whole].all()


def test_a_step_is_exact_where_the_loss_is_linear_in_the_angle() -> None:
    target, start = RADIUS * torch.eye(Z)[:1], to_sphere(torch.eye(Z)[:1] + 0.5 * torch.eye(Z)[1:2])
    angle = math.radians(travel_deg(start, target).item())
    away = start - (start * target).sum() / Z * target  # of any length: the step divides by the slope
    slope = torch.linalg.vector_norm(away - (away * start).sum() / Z * start)
    moved, whole = step_on_sphere(start, away, slope[None] * RADIUS * angle, largest_deg=45)
    assert whole.item()
    torch.testing.assert_close(moved, target, atol=1e-5, rtol=0)


def test_where_nothing_slopes_nothing_moves() -> None:
    latents = to_sphere(make_weight())
    for gradient in (torch.zeros(OUTPUTS, Z), 3 * latents):  # flat, and straight up
        moved, _ = step_on_sphere(latents, gradient, torch.ones(OUTPUTS), largest_deg=8)
        torch.testing.assert_close(moved, latents, atol=1e-5, rtol=0) if not gradient.any() else None
        assert torch.isfinite(moved).all()


@given(UNIT_SEEDS, st.floats(1, 179))
def test_what_went_too_far_is_turned_back_and_the_rest_left(seed: int, limit: float) -> None:
    start, end = to_sphere(torch.randn(6, Z, generator=torch.Generator().manual_seed(seed))).split(3)
    end = torch.cat([end, to_sphere(start + 0.05 * end)])
    start = torch.cat([start, start])
    kept = within_travel(start, end, largest_deg=limit)
    before, after = travel_deg(start, end), travel_deg(start, kept)
    np.testing.assert_allclose(after, before.clamp(max=limit), atol=0.05)
    assert torch.equal(kept[before < limit - 0.05], end[before < limit - 0.05])
    np.testing.assert_allclose(travel_deg(kept, end), (before - limit).clamp(min=0), atol=0.1)  # on the same circle


def test_a_pool_numbers_its_draws_whatever_they_are_asked_in() -> None:
    guide = LinearGuide(make_weight(), bias=-1)
    one, two = (Pool(generate=LatentImages(), guide=guide, seed=5, latent_size=Z) for _ in range(2))  # type: ignore[arg-type]
    assert [one.draw(3).tolist(), one.draw(40).tolist()] == [[0, 1, 2], list(range(3, 43))]
    two.draw(43)
    assert torch.equal(one.latents, two.latents)
    torch.testing.assert_close(one.outputs, two.outputs)
    assert torch.equal(one.latents[41], draw_latent(5, 41, Z))
    torch.testing.assert_close(one.outputs, one.latents @ make_weight().T - 1)
    assert not one.taken.any()
    assert not guide.stepped


# The search


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**63 - 1), st.floats(-3, 6), st.floats(5, 90), st.integers(1, 20), st.integers(1, 3),
    st.sampled_from((0.0, 0.1)),
)  # fmt: skip
def test_whatever_is_asked_what_is_reached_is_sound(
    seed: int, low: float, travel: float, slots: int, screen: int, gain: float
) -> None:
    limits = dataclasses.replace(SEARCH, travel_deg=travel, slots=slots, screen=screen, gain=gain, steps=6, attempts=2)
    guide, edges = LinearGuide(make_weight(seed % 7)), boxes(low, 6)
    require_sound(find(guide, edges, limits, seed=seed), guide, edges, limits, seed)


@pytest.mark.parametrize("limits", [SEARCH, STILL, dataclasses.replace(SEARCH, dtype="bfloat16")])
def test_the_search_reaches_what_draws_do_not_give(limits: SearchSettings) -> None:
    guide, edges = LinearGuide(make_weight()), boxes(4.5, 40)
    found = find(guide, edges, limits)
    if limits.dtype == "float32":
        assert require_sound(found, guide, edges, limits, 0) == 40
    assert found.reached.all()
    assert inside(found.outputs, edges, np.arange(40))
    assert 0 < np.median(found.steps) <= 8
    assert guide.stepped[0] == limits.slots


def test_a_draw_that_lies_in_a_box_takes_no_step_and_no_travel() -> None:
    guide = LinearGuide(make_weight())
    found = find(guide, boxes(-9.0))
    assert found.reached.all()
    assert not guide.stepped
    assert found.steps.tolist() == found.travel_deg.round(3).tolist() == [0] * N
    assert found.starts.tolist() == [1] * N
    np.testing.assert_array_equal(found.latents, starts_of(found, 0))


def test_travel_ends_at_its_limit() -> None:
    guide, edges, limits = LinearGuide(make_weight()), boxes(5.0), dataclasses.replace(STILL, travel_deg=15)
    found = find(guide, edges, limits)
    assert require_sound(found, guide, edges, limits, 0) < N
    assert find(guide, edges, dataclasses.replace(limits, travel_deg=90)).reached.all()


def test_outputs_that_were_not_asked_for_do_not_move_a_latent() -> None:
    edges = boxes()
    edges[0][:], other = -np.inf, make_weight()
    edges[0][:, 1] = 5
    other[[0, 2]] = -7 * other[[2, 0]]
    one, two = (find(LinearGuide(weight), edges) for weight in (make_weight(), other))
    assert one.reached.all()
    np.testing.assert_array_equal(one.latents, two.latents)
    np.testing.assert_array_equal(one.steps, two.steps)


def test_what_is_to_be_absent_stays_below() -> None:
    guide, edges = LinearGuide(make_weight()), boxes(3.0)
    for row in range(N):
        edges[1][row, (row + 1) % OUTPUTS] = -1.0
    found = find(guide, edges)
    assert require_sound(found, guide, edges, SEARCH, 0) == N
    assert (found.outputs[np.arange(N), (np.arange(N) + 1) % OUTPUTS] <= -1).all()


def test_all_findings_asked_for_together_are_needed() -> None:
    against = torch.zeros(OUTPUTS, Z)
    against[0, 0], against[1, 0] = 1, -1  # no latent shows both
    edges = boxes()
    edges[0][:] = 1.0, 1.0, -np.inf
    found = find(LinearGuide(against), edges)
    assert not found.reached.any()
    np.testing.assert_allclose(found.gap, 2.0, atol=0.2)


def test_a_box_that_contradicts_itself_ends_within_its_budget_with_its_gap() -> None:
    guide, edges = LinearGuide(make_weight()), boxes(2.0, 6)
    edges[0][2], edges[1][2] = 3.0, 1.0  # 2 logits are missing in each output, wherever it goes
    found = find(guide, edges)
    assert require_sound(found, guide, edges, SEARCH, 0) == 5
    assert not found.reached[2]
    assert found.starts[2] == SEARCH.attempts
    assert 2.0 * OUTPUTS <= found.gap[2] < 2.0 * OUTPUTS + 3


def test_a_head_that_is_constant_ends_within_its_budget_where_it_began() -> None:
    weight = make_weight()
    weight[1] = 0
    guide, edges = LinearGuide(weight, bias=-1.0), boxes(2.5)
    found = find(guide, edges)
    assert require_sound(found, guide, edges, SEARCH, 0) == N - N // OUTPUTS
    missed = ~found.reached
    assert np.flatnonzero(missed).tolist() == [row for row in range(N) if row % OUTPUTS == 1]
    assert found.starts[missed].tolist() == [SEARCH.attempts] * (N // OUTPUTS)
    assert found.gap[missed].tolist() == pytest.approx([3.5] * (N // OUTPUTS))


def test_not_one_box_reached_is_a_result_of_no_rows() -> None:
    found = find(LinearGuide(torch.zeros(OUTPUTS, Z)), boxes())
    assert not found.reached.any()
    assert found.latents.shape == (0, Z)
    assert found.start_outputs.shape == (0, OUTPUTS)
    assert len(found.pixels) == len(found.outputs) == len(found.travel_deg) == 0


def test_a_box_that_rounding_undoes_is_met_with_a_wider_margin() -> None:
    """What is stored scores .3 less than what was searched, so that the first arrival is not inside."""

    def exact(latents: Tensor) -> tuple[npt.NDArray[np.uint8], Floats]:
        pixels, outputs = guide.exact(latents)
        return pixels, outputs - np.float32(0.3)

    guide, edges = LinearGuide(make_weight()), boxes(4.5)
    found = find(guide, edges, STILL, exact=exact)
    assert found.reached.all()
    assert inside(found.outputs, edges, np.arange(N))
    assert found.starts.tolist() == [1] * N


@pytest.mark.parametrize("limits", [SEARCH, dataclasses.replace(SEARCH, shift=0.3, dtype="bfloat16", realism=0.0)])
def test_the_same_search_again_gives_the_same_bits(limits: SearchSettings) -> None:
    edges = boxes(5.0, 20)
    edges[0][7], edges[1][7] = 3.0, 1.0
    one, two = (dataclasses.asdict(find(LinearGuide(make_weight()), edges, limits, seed=9)) for _ in range(2))
    assert {name: np.asarray(value).tobytes() for name, value in one.items()} == {
        name: np.asarray(value).tobytes() for name, value in two.items()
    }
    other = find(LinearGuide(make_weight()), edges, limits, seed=10)
    assert not {latent.tobytes() for latent in other.latents} & {latent.tobytes() for latent in one["latents"]}


def test_edges_given_are_left_as_they_were() -> None:
    edges, again = boxes(5.0), boxes(5.0)
    find(LinearGuide(make_weight()), edges, tolerance=0.5)
    np.testing.assert_array_equal(edges, again)


@pytest.mark.parametrize("slots", [1, 3, 64])
def test_slots_decide_how_many_move_together_and_not_whether_they_arrive(slots: int) -> None:
    guide, edges, limits = LinearGuide(make_weight()), boxes(4.5, 40), dataclasses.replace(SEARCH, slots=slots)
    assert require_sound(find(guide, edges, limits), guide, edges, limits, 0) == 40
    assert max(guide.stepped) == min(slots, guide.stepped[0])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**63 - 1), st.floats(0.1, 1.0), st.floats(0.0, 4.0))
def test_matched_nuisances_end_as_in_the_draw_of_their_own_number(seed: int, tolerance: float, low: float) -> None:
    guide, edges = LinearGuide(make_weight()), boxes(low)
    edges[0][:, 2] = -np.inf  # the last output is a nuisance here
    edges[0][2::OUTPUTS, 0] = low
    found = find(guide, edges, seed=seed, tolerance=tolerance)
    rows = np.flatnonzero(found.reached)
    own = torch.stack([draw_latent(seed, int(row), Z) for row in rows]) @ make_weight()[2]
    assert len(rows) >= N // 2
    assert (np.abs(found.outputs[:, 2] - own.numpy()) <= tolerance + 1e-4).all()
    assert inside(found.outputs, edges, rows)


def test_a_matched_nuisance_keeps_the_spread_of_random_draws() -> None:
    """Findings are tied to the nuisance: asked for alone they push it, matched it stays."""
    weight = make_weight()
    weight[2] = weight[0] + weight[2]
    edges = boxes(4.0, 60)
    edges[0][:], edges[0][:, 0] = -np.inf, 4.0
    pushed = find(LinearGuide(weight), edges)
    kept = find(LinearGuide(weight), edges, tolerance=0.5)
    draws = torch.stack([draw_latent(0, number, Z) for number in range(60)]) @ weight[2]
    assert kept.reached.mean() > 0.8
    own = draws[np.flatnonzero(kept.reached)].numpy()
    assert abs(kept.outputs[:, 2].mean() - own.mean()) < 0.3 < pushed.outputs[:, 2].mean() - draws.mean().item()


def test_where_a_matched_nuisance_is_seen_the_edges_of_findings_move() -> None:
    weight = make_weight()
    edges = boxes(2.0, 20)
    edges[0][:], edges[0][:, 0] = -np.inf, 2.0
    found = find(LinearGuide(weight), edges, tolerance=0.5, shifts=(-3.0, 1.0))
    rows = np.flatnonzero(found.reached)
    seen = (torch.stack([draw_latent(0, int(row), Z) for row in rows]) @ weight[2]).numpy() > 0
    assert 0 < seen.sum() < len(rows)
    assert (found.outputs[seen, 0] >= 3).all()
    assert (found.outputs[~seen, 0] >= -1).all()
    assert (found.outputs[~seen, 0] < 2).any()


class Discriminator:
    """Takes an image for real the more, the brighter its last pixel is."""

    def __call__(self, images: Tensor, *, group: int) -> Tensor:
        assert group == 1, "an image must not depend on those beside it"
        return 3 * images.flatten(1)[:, -1]


def test_the_discriminator_pulls_where_it_is_asked() -> None:
    weight = make_weight()
    weight[:, -1] = 0  # the guide does not look at the last pixel
    limits = dataclasses.replace(STILL, screen=1)
    ends = [
        find(LinearGuide(weight), boxes(4.5), limits, discriminator=Discriminator()),
        find(LinearGuide(weight), boxes(4.5), dataclasses.replace(limits, realism=1.0), discriminator=Discriminator()),
    ]
    assert all(found.reached.all() for found in ends)
    without, pulled = (found.latents[:, -1].mean() for found in ends)
    assert pulled > without + 0.2
    alone = find(LinearGuide(weight), boxes(4.5), limits)
    np.testing.assert_array_equal(alone.latents, ends[0].latents)


# Guides that are broken


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_guide_that_gives_no_number_is_refused(value: float) -> None:
    with pytest.raises(InputDataError, match="The guide ffffffffffff gave NaN or infinity during the search") as caught:
        find(LinearGuide(make_weight() * value), boxes())
    assert caught.value.fix == "Train the guide again."


def test_a_guide_that_gives_no_number_on_the_way_is_refused() -> None:
    class Fragile(LinearGuide):
        def member_logits(self, planes: Tensor) -> Tensor:
            found = super().member_logits(planes)
            return found / 0 if len(self.stepped) > 2 else found

    with pytest.raises(InputDataError, match="gave NaN or infinity during the search"):
        find(Fragile(make_weight()), boxes(4.5))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *((name, 0, "must be at least 1") for name in ("steps", "attempts", "screen", "slots", "unit_images")),
        ("threads", 0, "must be at least 1"),
        *((name, 0.0, "must be more than 0") for name in ("step_deg", "travel_deg", "tolerance")),
        *((name, -0.1, "must not be negative") for name in ("margin", "shift", "gain", "realism")),
        ("strictness", 0.0, "between 0 and 1"),
        ("strictness", 1.0, "between 0 and 1"),
        ("travel_deg", 181.0, "at most 180"),
        ("dtype", "float16", "one of auto, float32, bfloat16"),
    ],
)
def test_a_search_without_effort_or_sense_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSettings(**{name: value})
