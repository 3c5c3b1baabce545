from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xrarchive.errors import InputDataError
from xrarchive.latents import LatentSearch, draw_latent, optimise_latents, to_sphere, travel_deg
from xrarchive.plan import SearchSettings

Z, K = 8, 3
SEARCH = SearchSettings(steps=40, margin=0.05)


def linear_guide(weight: Tensor, thresholds: tuple[float, ...] = (0.8,) * K) -> Any:
    """A guide whose logits are linear in the latent: with `as_image` as generator the search is easy to follow."""
    return SimpleNamespace(
        logits=lambda images: images.flatten(1) @ weight.T,
        thresholds=np.array(thresholds, np.float32),
        sha256="f" * 64,
    )


def as_image(latents: Tensor) -> Tensor:
    return latents[:, None, None, :]


def search(start: Tensor, asked: Tensor, guide: Any, settings: SearchSettings = SEARCH) -> LatentSearch:
    return optimise_latents(start, asked=asked, generator=as_image, guide=guide, settings=settings)  # type: ignore[arg-type]


@pytest.fixture
def start() -> Tensor:
    return torch.stack([draw_latent(seed, 0, Z) for seed in range(12)])


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(K, Z, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def asked() -> Tensor:
    return torch.eye(K, dtype=torch.bool).repeat(4, 1)


def norms(latents: Tensor) -> list[float]:
    return torch.linalg.vector_norm(latents, dim=1).tolist()


@given(st.integers(0, 2**63 - 1), st.integers(0, 20), st.sampled_from((4, 128, 512)))
def test_start_latents_lie_on_the_sphere_and_depend_on_seed_and_attempt_only(
    seed: int, attempt: int, size: int
) -> None:
    latent = draw_latent(seed, attempt, size)
    assert latent.shape == (size,)
    assert latent.norm().item() == pytest.approx(math.sqrt(size), rel=1e-5)
    assert torch.equal(latent, draw_latent(seed, attempt, size))
    assert not torch.equal(latent, draw_latent(seed, attempt + 1, size))
    assert not torch.equal(latent, draw_latent(seed ^ 1, attempt, size))


def test_the_search_reaches_what_was_asked_and_stays_on_the_sphere(
    start: Tensor, weight: Tensor, asked: Tensor
) -> None:
    found = search(start, asked, linear_guide(weight))
    assert found.reached.all()
    assert norms(found.latents) == pytest.approx([math.sqrt(Z)] * 12, rel=1e-5)
    logits = (found.latents @ weight.T)[asked]
    assert (logits >= math.log(0.8 / 0.2) + SEARCH.margin - 1e-5).all()
    assert found.steps.max() <= SEARCH.steps


def test_what_is_there_already_takes_no_step_and_no_travel(start: Tensor, weight: Tensor, asked: Tensor) -> None:
    found = search(start, asked, linear_guide(weight, (1e-6,) * K))
    assert found.reached.all()
    assert found.steps.tolist() == [0] * 12
    assert torch.equal(found.latents, start)
    assert travel_deg(start, found.latents).round(decimals=3).tolist() == [0] * 12


def test_travel_is_the_angle_between_the_latents() -> None:
    a = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0]])
    b = torch.tensor([[0.0, 2, 0], [-3, 0, 0], [1, 1, 0]])
    assert travel_deg(a, b).tolist() == pytest.approx([90, 180, 45])


def test_findings_that_were_not_asked_for_do_not_move_a_latent(start: Tensor, weight: Tensor) -> None:
    asked = torch.zeros(12, K, dtype=torch.bool)
    asked[:, 1] = True
    other = weight.clone()
    other[[0, 2]] = -7 * weight[[2, 0]]
    one = search(start, asked, linear_guide(weight))
    two = search(start, asked, linear_guide(other, (0.999, 0.8, 0.001)))
    assert torch.equal(one.latents, two.latents)
    assert torch.equal(one.steps, two.steps)


def test_all_findings_asked_for_together_are_needed(start: Tensor) -> None:
    against = torch.zeros(K, Z)
    against[0, 0], against[1, 0] = 1, -1  # no latent shows both
    both = torch.tensor([[True, True, False]]).repeat(12, 1)
    found = search(start, both, linear_guide(against))
    assert not found.reached.any()


def test_a_finding_nothing_leads_to_ends_within_its_budget_where_it_began(start: Tensor, asked: Tensor) -> None:
    found = search(start, asked, linear_guide(torch.zeros(K, Z)))
    assert not found.reached.any()
    assert found.steps.tolist() == [SEARCH.steps] * 12
    torch.testing.assert_close(found.latents, start)


def test_a_latent_that_is_done_does_not_move_while_others_go_on(start: Tensor, weight: Tensor, asked: Tensor) -> None:
    found = search(start, asked, linear_guide(weight))
    early = found.steps == found.steps.min()
    assert not early.all()
    short = search(
        start, asked, linear_guide(weight), dataclasses.replace(SEARCH, steps=max(1, int(found.steps.min())))
    )
    assert torch.equal(short.latents[early], found.latents[early])


def test_the_start_is_left_as_it_was(start: Tensor, weight: Tensor, asked: Tensor) -> None:
    before = start.clone()
    search(start, asked, linear_guide(weight))
    assert torch.equal(start, before)


def test_the_first_step_is_one_of_adam(start: Tensor, weight: Tensor, asked: Tensor) -> None:
    settings = SearchSettings(steps=1, learning_rate=0.01)
    found = search(start, asked, linear_guide(weight, (0.9999,) * K), settings)
    moved = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.Adam([moved], 0.01)
    torch.nn.functional.softplus(-(moved @ weight.T))[asked].sum().backward()
    optimiser.step()
    torch.testing.assert_close(found.latents, to_sphere(moved.detach()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_guide_that_gives_no_number_is_refused(start: Tensor, weight: Tensor, asked: Tensor, value: float) -> None:
    with pytest.raises(InputDataError, match="The guide ffffffffffff gave NaN or infinity during the search"):
        search(start, asked, linear_guide(weight * value))


@pytest.mark.parametrize("name", ["steps", "attempts", "unit_images", "threads"])
def test_a_search_without_effort_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        SearchSettings(**{name: 0})
