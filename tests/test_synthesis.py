from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from xrarchive.boxes import nuisance_tolerance
from xrarchive.classifier.crossfitted import level_quantiles
from xrarchive.classifier.offering import MIN_AUROC
from xrarchive.errors import InputDataError
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import save_snapshot
from xrarchive.gan.state import new_state
from xrarchive.latents import draw_latent, travel_deg
from xrarchive.plan import Plan, SearchSettings, make_exclusive
from xrarchive.records import ImageRequest, SyntheticImage, Tally
from xrarchive.statistics import to_logit, to_probability
from xrarchive.synthesis import Studio, build_unit, open_studio, render
from xrarchive.validation.agreement import measure_agreement
from xrarchive.weights import load_weights, save_weights

REQUESTS = (ImageRequest(("No Finding",), 5), ImageRequest(("Effusion", "Mass"), 4), ImageRequest(("Mass",), 3))


@pytest.fixture(scope="module")
def studio(tiny_generator: Path, tiny_guide: Path, tiny_judge: Path) -> Studio:
    return open_studio(tiny_generator, tiny_guide, tiny_judge)


@pytest.fixture(scope="module")
def plan() -> Plan:
    search = SearchSettings(
        strictness=0.3, targets=False, travel_deg=90.0, attempts=3, slots=4, unit_images=8, dtype="float32"
    )
    return Plan(REQUESTS, {}, 0, search)


@pytest.fixture(scope="module")
def units(plan: Plan, studio: Studio) -> list[tuple[list[SyntheticImage], list[Tally]]]:
    return [build_unit(plan, index, studio) for index in range(plan.units)]


@pytest.fixture(scope="module")
def images(units: list[tuple[list[SyntheticImage], list[Tally]]]) -> list[SyntheticImage]:
    return [image for made, _ in units for image in made]


def test_the_tiny_world_reaches_every_request(plan: Plan, images: list[SyntheticImage]) -> None:
    assert [image.image_id for image in images] == [
        image.image_id for index in range(plan.units) for image in plan.unit(index)
    ]
    assert any(image.steps for image in images)
    assert any(not image.steps for image in images)


def test_acceptance_and_scores_belong_to_exactly_these_pixels(studio: Studio, images: list[SyntheticImage]) -> None:
    pixels = np.stack([image.pixels for image in images])
    for classifier, name in ((studio.guide, "guide"), (studio.judge, "judge")):
        stored = [[getattr(image, name)[finding] for finding in classifier.vocabulary] for image in images]
        np.testing.assert_array_equal(np.array(stored, np.float32), classifier.scores(pixels))
    for image in images:
        bars = {finding: studio.guide.bar(finding, 0.3) for finding in image.findings}
        assert image.targets == tuple(bars.values())
        assert all(to_logit(image.guide[finding]) >= bar - 1e-4 for finding, bar in bars.items())
    outputs = studio.guide.outputs(pixels)
    np.testing.assert_array_equal(outputs[:, 3:], np.float32([image.nuisances for image in images]))


def test_an_accepted_latent_renders_to_its_pixels_and_tells_its_way(
    studio: Studio, images: list[SyntheticImage]
) -> None:
    for image in images:
        latent = torch.from_numpy(image.latent)
        np.testing.assert_array_equal(render(studio.snapshot.generator, latent[None])[0], image.pixels)
        start = draw_latent(image.seed, image.draw, len(latent))
        assert latent.norm().item() == pytest.approx(math.sqrt(len(latent)), rel=1e-5)
        assert travel_deg(start[None], latent[None]).item() == pytest.approx(image.travel_deg, abs=1e-3)
        assert image.travel_deg == 0 or image.steps
        with torch.inference_mode():
            seen = studio.guide.member_logits(studio.snapshot.generator(start[None])).mean(dim=0)[0, 3:]
        assert image.start_nuisances == pytest.approx(seen.tolist(), abs=1e-4)


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
        assert all(tally.starts >= tally.asked and tally.missed_by is None for tally in tallies)
        assert all(tally.filtered == 0 and tally.median_steps is None for tally in tallies)


def test_soft_labels_are_those_of_the_pair_and_else_the_judge_s_word(
    studio: Studio, images: list[SyntheticImage]
) -> None:
    pair = studio.judge.meta["pair"]
    unpaired = dataclasses.replace(studio, guide=dataclasses.replace(studio.guide, sha256="0" * 64))
    for image in images:
        label = image.findings[0]
        a, b, c = pair["soft"][label]
        logit = a + b * to_logit(image.guide[label]) + c * to_logit(image.judge[label])
        assert image.soft_label == pytest.approx(to_probability(logit), abs=1e-4)
        assert unpaired.soft_label(label, 9.0, 1.0) == pytest.approx(to_probability(1.0))


def test_targets_of_all_degrees_are_reached_or_told(plan: Plan, studio: Studio) -> None:
    search = dataclasses.replace(plan.search, targets=True, strictness=0.5)
    images, tallies = build_unit(dataclasses.replace(plan, search=search), 0, studio)
    assert images
    for image in images:
        bars = [studio.guide.bar(name, 0.5) for name in image.findings]
        assert all(target > bar for target, bar in zip(image.targets, bars, strict=True))
        seen = [to_logit(image.guide[name]) for name in image.findings]
        assert all(logit >= target - 1e-4 for logit, target in zip(seen, image.targets, strict=True))
    assert all((tally.missed_by is None) == (tally.missing == 0) for tally in tallies)


def test_a_matched_view_is_that_of_a_random_draw(plan: Plan, studio: Studio) -> None:
    search = dataclasses.replace(plan.search, match=("view",), tolerance=0.5, attempts=2)
    matched = dataclasses.replace(plan, search=search)
    images, _ = build_unit(matched, 0, studio)
    assert len(images) >= 4
    seed, column = matched.unit_seed(0), len(studio.guide.vocabulary)
    tolerance = nuisance_tolerance(search, studio.guide)[column]
    numbers = {planned.image_id: number for number, planned in enumerate(matched.unit(0))}
    with torch.inference_mode():
        draws = torch.stack([draw_latent(seed, number, 8) for number in range(len(numbers))])
        views = studio.guide.member_logits(studio.snapshot.generator(draws)).mean(dim=0)[:, column]
    for image in images:
        assert abs(image.nuisances[0] - views[numbers[image.image_id]].item()) <= tolerance + 1e-4


def test_findings_to_be_absent_stay_below_their_threshold(plan: Plan, studio: Studio) -> None:
    requests = make_exclusive((ImageRequest(("No Finding",), 3), ImageRequest(("Mass",), 3)), studio.guide.vocabulary)
    images, tallies = build_unit(dataclasses.replace(plan, requests=requests), 0, studio)
    assert [tally.absent for tally in tallies] == [("Effusion", "Mass"), ("No Finding", "Effusion")]
    assert images
    for image in images:
        assert all(image.guide[name] <= studio.guide.threshold(name) + 1e-6 for name in image.absent)


def test_images_the_judge_does_not_call_can_be_left_out(plan: Plan, studio: Studio) -> None:
    """Nothing else changes: the same search, less the images that the judge scores below its own threshold."""
    search = dataclasses.replace(plan.search, judge_filter=True, strictness=0.5, unit_images=12)
    requests = tuple(dataclasses.replace(request, count=4) for request in plan.requests)
    filtering = dataclasses.replace(plan, requests=requests, search=search)
    all_of_them = dataclasses.replace(filtering, search=dataclasses.replace(search, judge_filter=False))
    whole, _ = build_unit(all_of_them, 0, studio)
    scores = np.array([[image.judge[name] for name in studio.judge.vocabulary] for image in whole], np.float32)
    judge = dataclasses.replace(studio.judge, thresholds=np.median(scores, axis=0))  # about half are called
    kept, tallies = build_unit(filtering, 0, dataclasses.replace(studio, judge=judge))

    def called(image: SyntheticImage) -> bool:
        return all(image.judge[name] >= judge.threshold(name) - 1e-6 for name in image.findings)

    # The seed of a unit is not of its settings, so that the same images come out of the search.
    assert [image.image_id for image in kept] == [image.image_id for image in whole if called(image)]
    assert 0 < len(kept) < len(whole)
    assert sum(tally.filtered for tally in tallies) == len(whole) - len(kept)
    for tally in tallies:
        assert (tally.asked, tally.missing, tally.missed_by) == (4, tally.filtered, None)


# What the world does


def test_a_finding_out_of_reach_is_a_shortfall_with_what_was_missing(plan: Plan, studio: Studio) -> None:
    """A guide whose head for Mass is constant: the others are made, the bar stays where it is."""
    scale, offset = studio.guide.scale.clone(), studio.guide.offset.clone()
    scale[2], offset[2] = 0, -3
    guide = dataclasses.replace(studio.guide, scale=scale, offset=offset)
    images, tallies = build_unit(plan, 0, dataclasses.replace(studio, guide=guide))
    assert {image.findings for image in images} == {("No Finding",)}
    by_findings = {tally.findings: tally for tally in tallies}
    missed = by_findings["Mass",]
    assert (missed.accepted, missed.missing, missed.starts) == (0, missed.asked, 3 * missed.asked)
    assert missed.missed_by == pytest.approx(guide.bar("Mass", plan.search.strictness) + 3, abs=1e-5)
    assert by_findings["No Finding",].missing == 0


def test_a_unit_without_any_image_is_a_full_record(plan: Plan, studio: Studio) -> None:
    offset = torch.full_like(studio.guide.offset, -9.0)
    guide = dataclasses.replace(studio.guide, scale=torch.zeros_like(offset), offset=offset)
    images, tallies = build_unit(plan, 1, dataclasses.replace(studio, guide=guide))
    assert images == []
    assert all(tally.missing == tally.asked and tally.starts == 3 * tally.asked for tally in tallies)


@pytest.mark.parametrize(
    ("role", "message"), [("guide", "during the search"), ("judge", "gave NaN or infinity as a score")]
)
def test_a_classifier_that_gives_no_number_is_refused(plan: Plan, studio: Studio, role: str, message: str) -> None:
    classifier = getattr(studio, role)
    broken = dataclasses.replace(classifier, scale=classifier.scale * float("nan"))
    with pytest.raises(InputDataError, match=message) as caught:
        build_unit(plan, 0, dataclasses.replace(studio, **{role: broken}))
    assert "rain" in caught.value.fix


class OnePixel(torch.nn.Module):
    """A member whose every logit is the brightness of one pixel."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.row, self.column = row, column

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> [N, 3]: the first output is its opposite."""
        logit = 5 * images[:, 0, self.row, self.column]
        return torch.stack([-logit, 0 * logit, logit], dim=1)


def test_a_guide_that_rewards_one_pixel_is_obeyed_and_found_out_by_the_judge(studio: Studio) -> None:
    generator, judge, mass = studio.snapshot.generator, studio.judge, studio.judge.vocabulary.index("Mass")
    draws = render(generator, torch.stack([draw_latent(1, number, 8) for number in range(256)]))
    heard = judge.outputs(draws)[:, mass]
    centred = draws / 127.5 - 1 - (draws / 127.5 - 1).mean(axis=0)
    spread = centred.std(axis=0)
    tied = np.abs((centred * (heard - heard.mean())[:, None, None]).mean(axis=0) / (spread * heard.std() + 1e-9))
    tied[spread < np.median(spread)] = 1  # of the pixels that vary, the one the judge minds least
    row, column = (int(place) for place in np.unravel_index(tied.argmin(), tied.shape))
    guide = dataclasses.replace(
        studio.guide, networks=(OnePixel(row, column),), nuisances=(), scale=torch.ones(3), offset=torch.zeros(3)
    )
    guide = dataclasses.replace(guide, quantiles=level_quantiles(guide.outputs(draws)))
    search = SearchSettings(strictness=0.05, travel_deg=90.0, slots=8, screen=1, dtype="float32")
    plan = Plan((ImageRequest(("Mass",), 20), ImageRequest(("No Finding",), 20)), {}, 0, search)
    images, tallies = build_unit(plan, 0, dataclasses.replace(studio, guide=guide))
    assert min(tally.accepted for tally in tallies) >= 10
    asked = np.array([image.findings == ("Mass",) for image in images])
    pixels = np.stack([image.pixels for image in images])
    risen = [
        (classifier.outputs(pixels[asked])[:, mass].mean() - before.mean()) / before.std()
        for classifier, before in ((guide, guide.outputs(draws)[:, mass]), (judge, heard))
    ]
    assert risen[0] > 1.5, "the search does what it is told"
    assert abs(risen[1]) < risen[0] / 3, "the judge does not follow"
    agreement = measure_agreement(
        judge.vocabulary, np.eye(3, dtype=bool)[[2 if mass else 0 for mass in asked]], judge.scores(pixels), {}, seed=0
    )
    assert agreement["Mass"]["value"] < MIN_AUROC, "so that the validation tells"


# Weights that do not fit


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
