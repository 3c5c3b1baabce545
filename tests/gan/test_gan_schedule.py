from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrarchive.gan.draws import batch_of
from xrarchive.gan.schedule import stage_at, stages
from xrarchive.gan.settings import PRESETS, RESOLUTIONS_PX, GeneratorSettings


@st.composite
def any_settings(draw: st.DrawFn) -> GeneratorSettings:
    resolution = draw(st.sampled_from((16, 32, 64, 256, 1024)))
    start_px = draw(st.sampled_from([px for px in (4, 8, 16, 64) if px <= resolution]))
    return GeneratorSettings(
        resolution=resolution,
        start_px=start_px,
        nimg=draw(st.integers(32, 10**7)),
        fade_share=draw(st.sampled_from((0.0, 0.3, 0.5, 1.0))),
    )


@given(any_settings())
def test_the_stages_divide_all_images_and_grow_to_the_resolution(settings: GeneratorSettings) -> None:
    plan = stages(settings)
    assert plan[0].start_nimg == 0
    assert plan[-1].end_nimg == settings.nimg
    assert all(a.end_nimg == b.start_nimg and b.px == 2 * a.px for a, b in itertools.pairwise(plan))
    assert (plan[0].px, plan[-1].px) == (settings.start_px, settings.resolution)
    assert plan[0].fade_nimg == 0


@given(any_settings(), st.data())
def test_alpha_is_in_0_1_and_never_falls_within_a_stage(settings: GeneratorSettings, data: st.DataObject) -> None:
    early, late = sorted(data.draw(st.tuples(*[st.integers(0, settings.nimg + 100)] * 2)))
    (before, alpha), (after, beta) = stage_at(settings, early), stage_at(settings, late)
    assert 0 < alpha <= 1
    assert before.px <= after.px
    assert before != after or alpha <= beta
    assert stage_at(settings, early) == (before, alpha)


@given(any_settings())
def test_alpha_moves_in_small_steps_from_almost_0_to_1(settings: GeneratorSettings) -> None:
    for stage in stages(settings):
        if stage.fade_nimg > 1:
            around = [stage_at(settings, stage.start_nimg + into)[1] for into in (0, 1, 2, stage.fade_nimg)]
            assert around[0] == pytest.approx(1 / stage.fade_nimg)
            assert np.abs(np.diff(around[:3])).max() <= 1.001 / stage.fade_nimg
            assert around[3] == 1 or settings.fade_share == 1


def test_past_the_end_the_last_stage_stays(settings: GeneratorSettings) -> None:
    assert stage_at(settings, settings.nimg * 2) == (stages(settings)[-1], 1.0)


def test_the_recipe_of_the_paper_is_the_published_one() -> None:
    """The numbers of PGGAN/configuration.py in BradSegal/CXR_PGGAN."""
    settings = GeneratorSettings(**PRESETS["segal2020"])
    plan = stages(settings)
    assert [stage.px for stage in plan] == [4, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert [stage.end_nimg - stage.start_nimg for stage in plan] == [800_000, *[1_600_000] * 7, 2_000_000]
    assert [stage.fade_nimg for stage in plan] == [0, *[800_000] * 8]
    assert [stage.batch for stage in plan] == [64, 64, 64, 64, 64, 64, 56, 32, 12]
    assert [settings.group_of(stage.batch) for stage in plan] == [16, 16, 16, 16, 16, 16, 14, 8, 3]
    assert [settings.width(stage.px) for stage in plan] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert settings.nimg == 14_000_000
    assert (settings.latent_size, settings.channels, settings.black, settings.averaging) == (512, 3, 0, 0.999)
    assert (settings.learning_rate, settings.beta2, settings.epsilon) == (1e-3, 0.99, 1e-7)
    assert (settings.loss, settings.gp_lambda, settings.drift) == ("wgan-gp", 10, 1e-3)


def test_a_preset_serves_lower_resolutions() -> None:
    settings = GeneratorSettings(**{**PRESETS["segal2020"], "resolution": 256})
    assert [stage.px for stage in stages(settings)][-1] == 256
    assert settings.nimg == 800_000 + 6 * 1_600_000


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_come_back_from_json_as_they_were(preset: str) -> None:
    settings = GeneratorSettings(**PRESETS[preset])
    assert GeneratorSettings(**json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


@pytest.mark.parametrize("resolution", RESOLUTIONS_PX)
def test_one_dial_sets_the_rest(resolution: int) -> None:
    settings = GeneratorSettings(resolution=resolution)
    assert settings.stages == len(stages(settings))
    assert min(settings.nimg, settings.batch, settings.latent_size, settings.width(resolution)) > 0


@given(st.integers(8, 50), st.sampled_from((4, 8)), st.integers(0, 30), st.integers(0, 5))
def test_each_radiograph_once_per_pass_whatever_the_start(count: int, batch: int, skipped: int, seed: int) -> None:
    rows = np.arange(count) * 3 + 5
    settings = GeneratorSettings(resolution=16, seed=seed)
    shown = [batch_of(rows, settings, nimg, batch) for nimg in range(0, 40 * batch, batch)]
    flat = np.concatenate(shown)
    passes = [flat[start : start + count] for start in range(0, len(flat) - count + 1, count)]
    assert all(sorted(one) == rows.tolist() for one in passes)
    assert np.array_equal(batch_of(rows, settings, skipped * batch, batch), shown[skipped])


def test_another_batch_size_shows_the_same_radiographs_in_the_same_order() -> None:
    rows, settings = np.arange(40), GeneratorSettings()
    large = np.concatenate([batch_of(rows, settings, nimg, 32) for nimg in range(0, 128, 32)])
    small = np.concatenate([batch_of(rows, settings, nimg, 8) for nimg in range(0, 128, 8)])
    np.testing.assert_array_equal(large, small)


def test_passes_seeds_and_rollbacks_each_have_an_order_of_their_own() -> None:
    rows, settings = np.arange(32), GeneratorSettings()
    orders = [
        batch_of(rows, settings, 0, 32),
        batch_of(rows, settings, 32, 32),
        batch_of(rows, GeneratorSettings(seed=1), 0, 32),
        batch_of(rows, settings, 0, 32, retry=1),
    ]
    assert len({order.tobytes() for order in orders}) == 4


@pytest.mark.parametrize(
    "values",
    [
        {"resolution": 48}, {"start_px": 12}, {"start_px": 32}, {"batch": 6}, {"nimg": 8}, {"loss": "hinge"},
        {"precision": "float16"}, {"group": 0}, {"r1_interval": 0}, {"latent_size": -1}, {"fade_share": 1.5},
    ],
)  # fmt: skip
def test_settings_no_network_can_be_built_from_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        GeneratorSettings(**{"resolution": 16, **values})


def test_widths_halve_with_resolution_and_never_vanish() -> None:
    assert [GeneratorSettings().width(px) for px in (4, 8, 16, 32, 64)] == [128, 128, 96, 48, 24]
    large = GeneratorSettings(resolution=1024)
    assert [large.width(px) for px in (4, 32, 64, 1024)] == [512, 512, 256, 16]
    assert GeneratorSettings(width_base=16).width(64) == 1


def test_the_average_has_its_half_life_but_for_the_start() -> None:
    settings = GeneratorSettings(averaging_nimg=20_000, averaging_share=0.05)
    assert settings.decay_at(1_000_000, 32) == pytest.approx(0.5 ** (32 / 20_000))
    assert settings.decay_at(100_000, 32) == pytest.approx(0.5 ** (32 / 5_000))
    assert settings.decay_at(32, 32) == pytest.approx(0.5**20)
    assert GeneratorSettings(averaging_share=0).decay_at(32, 32) == pytest.approx(0.5 ** (32 / 22_000))
    assert GeneratorSettings(averaging=0.999).decay_at(32, 32) == 0.999
