from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from xrarchive.errors import InputDataError
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import save_snapshot
from xrarchive.gan.state import new_state
from xrarchive.latents import draw_latent, travel_deg
from xrarchive.plan import Plan, SearchSettings
from xrarchive.records import ImageRequest, SyntheticImage, Tally
from xrarchive.synthesis import Studio, build_unit, open_studio, render
from xrarchive.weights import load_weights, save_weights

REQUESTS = (ImageRequest(("No Finding",), 5), ImageRequest(("Effusion", "Mass"), 4), ImageRequest(("Mass",), 3))


@pytest.fixture(scope="module")
def studio(tiny_generator: Path, tiny_guide: Path, tiny_judge: Path) -> Studio:
    return open_studio(tiny_generator, tiny_guide, tiny_judge)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(REQUESTS, {}, 0, SearchSettings(steps=40, attempts=3, unit_images=8))


@pytest.fixture(scope="module")
def units(plan: Plan, studio: Studio) -> list[tuple[list[SyntheticImage], list[Tally]]]:
    return [build_unit(plan, index, studio) for index in range(plan.units)]


@pytest.fixture(scope="module")
def images(units: list[tuple[list[SyntheticImage], list[Tally]]]) -> list[SyntheticImage]:
    return [image for made, _ in units for image in made]


def test_the_tiny_world_reaches_every_request(plan: Plan, images: list[SyntheticImage]) -> None:
    assert [image.image_id for image in images] == [image.image_id for image in plan.images]
    assert any(image.steps for image in images)


def test_acceptance_and_scores_belong_to_exactly_these_pixels(studio: Studio, images: list[SyntheticImage]) -> None:
    pixels = np.stack([image.pixels for image in images])
    for classifier, name in ((studio.guide, "guide"), (studio.judge, "judge")):
        stored = [[getattr(image, name)[finding] for finding in classifier.vocabulary] for image in images]
        np.testing.assert_array_equal(np.array(stored, np.float32), classifier.scores(pixels))
    for image in images:
        assert all(image.guide[finding] >= studio.guide.threshold(finding) for finding in image.findings)


def test_an_accepted_latent_renders_to_its_pixels_and_tells_its_way(
    studio: Studio, images: list[SyntheticImage]
) -> None:
    for image in images:
        latent = torch.from_numpy(image.latent)
        np.testing.assert_array_equal(render(studio.snapshot.generator, latent[None])[0], image.pixels)
        start = draw_latent(image.seed, image.attempt, len(latent))
        assert latent.norm().item() == pytest.approx(math.sqrt(len(latent)), rel=1e-5)
        assert travel_deg(start[None], latent[None]).item() == pytest.approx(image.travel_deg, abs=1e-3)
        assert (image.travel_deg == 0) == (image.steps == 0)


def test_a_render_does_not_depend_on_the_latents_beside(studio: Studio) -> None:
    latents = torch.stack([draw_latent(seed, 0, 8) for seed in range(70)])
    together = render(studio.snapshot.generator, latents)
    assert together.shape == (70, 16, 16)
    assert together.dtype == np.uint8
    order = torch.from_numpy(np.random.default_rng(0).permutation(70))
    np.testing.assert_array_equal(render(studio.snapshot.generator, latents[order]), together[order.numpy()])
    for index in (0, 33, 69):
        alone = render(studio.snapshot.generator, latents[index : index + 1])
        np.testing.assert_array_equal(alone[0], together[index])


def test_a_unit_is_pure(plan: Plan, studio: Studio, units: list[tuple[list[SyntheticImage], list[Tally]]]) -> None:
    images, tallies = build_unit(plan, 1, studio)
    assert tallies == units[1][1]
    assert [image.latent.tobytes() for image in images] == [image.latent.tobytes() for image in units[1][0]]


def test_tallies_add_up(plan: Plan, units: list[tuple[list[SyntheticImage], list[Tally]]]) -> None:
    for index, (images, tallies) in enumerate(units):
        assert sum(tally.asked for tally in tallies) == len(plan.unit(index))
        assert sum(tally.accepted for tally in tallies) == len(images)
        assert all(tally.attempts >= tally.asked and tally.best is None for tally in tallies)


def test_a_finding_out_of_reach_is_a_shortfall_with_its_best_score(plan: Plan, studio: Studio) -> None:
    """A guide whose head for Mass is constant: the others are made, the bar stays where it is."""
    scale, offset = studio.guide.scale.clone(), studio.guide.offset.clone()
    scale[2], offset[2] = 0, -1
    thresholds = studio.guide.thresholds.copy()
    thresholds[2] = 0.5
    guide = dataclasses.replace(studio.guide, scale=scale, offset=offset, thresholds=thresholds)
    images, tallies = build_unit(plan, 0, dataclasses.replace(studio, guide=guide))
    assert {image.findings for image in images} == {("No Finding",)}
    by_findings = {tally.findings: tally for tally in tallies}
    missed = by_findings["Mass",]
    assert (missed.accepted, missed.missing, missed.attempts) == (0, missed.asked, 3 * missed.asked)
    assert missed.best == pytest.approx(1 / (1 + math.e) - 0.5, abs=1e-5)
    assert by_findings["No Finding",].missing == 0


def test_a_unit_without_any_image_is_a_full_record(plan: Plan, studio: Studio) -> None:
    guide = dataclasses.replace(studio.guide, scale=torch.zeros(3), thresholds=np.full(3, 0.99, np.float32))
    images, tallies = build_unit(plan, 1, dataclasses.replace(studio, guide=guide))
    assert images == []
    assert all(tally.missing == tally.asked for tally in tallies)


def test_sizes_that_differ_are_refused(tiny_guide: Path, tiny_judge: Path, tmp_path: Path) -> None:
    state = new_state(GeneratorSettings(resolution=32, width_max=2, latent_size=4))
    save_snapshot(tmp_path / "g.safetensors", state.averaged, state.discriminator, nimg=0, origin={})
    with pytest.raises(InputDataError, match=r"makes 32 px images, the guide .* was trained on 16 px"):
        open_studio(tmp_path / "g.safetensors", tiny_guide, tiny_judge)


def test_vocabularies_that_differ_are_refused(
    tiny_generator: Path, tiny_guide: Path, tiny_judge: Path, tmp_path: Path
) -> None:
    weights = load_weights(tiny_judge, kind="classifier")
    meta = {key: value for key, value in weights.meta.items() if key not in ("kind", "format")}
    meta["vocabulary"] = ["No Finding", "Mass", "Effusion"]
    save_weights(tmp_path / "j", weights.tensors, kind="classifier", meta=meta, dtype=torch.float32)
    with pytest.raises(InputDataError, match="Guide and judge know other findings"):
        open_studio(tiny_generator, tiny_guide, tmp_path / "j")


def test_a_judge_that_shares_patients_with_the_guide_is_refused(
    tiny_generator: Path, tiny_guide: Path, train_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    judge = train_tiny(tmp_path, "judge", seed=4, epochs=1)
    with pytest.raises(InputDataError, match=r"were trained on \d+ common patients"):
        open_studio(tiny_generator, tiny_guide, judge)


def test_roles_that_are_swapped_are_refused(tiny_generator: Path, tiny_guide: Path, tiny_judge: Path) -> None:
    with pytest.raises(InputDataError, match="is a judge, a guide was expected"):
        open_studio(tiny_generator, tiny_judge, tiny_guide)
