"""What a training will cost: counted FLOPs against torch's counter, parameters against the networks, time measured."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from xrarchive.gan.cost import MEMORY_FACTOR, Rate, Rates, estimate_cost, measure_rate, measure_rates
from xrarchive.gan.devices import Devices
from xrarchive.gan.flops import meta_networks, step_flops
from xrarchive.gan.schedule import stages
from xrarchive.gan.settings import PRESETS, GeneratorSettings
from xrarchive.gan.state import new_state
from xrarchive.gan.step import train_step

TINY = GeneratorSettings(
    resolution=16, start_px=4, latent_size=8, width_max=8, width_base=64, batch=8, nimg=240, precision="float32"
)
SEGAL = GeneratorSettings(**PRESETS["segal2020"])


class CountFlops(TorchDispatchMode):
    """`torch.utils.flop_counter.FlopCounterMode` without its tracking of modules, which refuses gradient penalties."""

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        self.flops += count(*args, **(kwargs or {}), out_val=out) if count else 0
        return out


@pytest.mark.parametrize("loss", ["logistic", "wgan-gp"])
@pytest.mark.parametrize(("px", "alpha"), [(4, 1.0), (8, 0.5), (16, 0.5), (16, 1.0)])
@pytest.mark.parametrize("steps", [0, 1])
def test_flops_are_those_torch_counts_in_a_real_step(loss, px, alpha, steps):
    settings = dataclasses.replace(TINY, loss=loss, channels=3)
    state = new_state(settings)
    state.steps = steps
    with CountFlops() as counted:
        train_step(state, settings, torch.zeros(8, 3, px, px), batch=8, alpha=alpha, devices=Devices())
    penalty = loss == "wgan-gp" or steps == 0
    found = step_flops(meta_networks(settings), px, 8, fading=alpha < 1, penalty=penalty)
    assert found == pytest.approx(counted.flops, rel=0.02)


def walked(settings):
    """Per stage, the steps of a loop through the schedule, those that fade, and those with a penalty."""
    nimg, steps = 0, 0
    for stage in stages(settings):
        taken = fading = penalties = 0
        while nimg < stage.end_nimg:
            taken, fading = taken + 1, fading + (nimg - stage.start_nimg < stage.fade_nimg)
            penalties += steps % settings.r1_interval == 0 or settings.loss == "wgan-gp"
            nimg, steps = nimg + stage.batch, steps + 1
        yield stage, taken, fading, penalties


@pytest.mark.parametrize("changes", [{}, {"loss": "wgan-gp"}, {"batches": (16, 12, 4)}])
def test_a_stage_costs_what_its_steps_cost(changes):
    settings = dataclasses.replace(TINY, **changes)
    networks, estimate = meta_networks(settings), estimate_cost(settings, radiographs=96)
    for cost, (stage, taken, fading, penalties) in zip(estimate.stages, walked(settings), strict=True):
        plain = step_flops(networks, stage.px, stage.batch, fading=False, penalty=False)
        faded = step_flops(networks, stage.px, stage.batch, fading=True, penalty=False)
        penalised = step_flops(networks, stage.px, stage.batch, fading=False, penalty=True)
        assert (cost.px, cost.batch, cost.steps) == (stage.px, stage.batch, taken)
        assert cost.flops == taken * plain + fading * (faded - plain) + penalties * (penalised - plain)
    assert sum(cost.flops for cost in estimate.stages) == estimate.flops
    assert sum(cost.steps for cost in estimate.stages) == estimate.steps


@pytest.mark.parametrize("settings", [TINY, GeneratorSettings(), GeneratorSettings(resolution=256, channels=3)])
def test_parameters_are_those_of_the_networks(settings):
    estimate, state = estimate_cost(settings, radiographs=1), new_state(settings)
    for network, count in (
        (state.generator, estimate.generator_parameters),
        (state.discriminator, estimate.discriminator_parameters),
    ):
        assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("resolution", [16, 64, 1024])
def test_images_are_those_of_the_schedule(resolution):
    settings = GeneratorSettings(resolution=resolution)
    assert estimate_cost(settings, radiographs=1).images == settings.nimg


def test_the_published_recipe_on_four_devices():
    alone, four = estimate_cost(SEGAL, radiographs=112_120), estimate_cost(SEGAL, radiographs=112_120, devices=4)
    assert alone.images == four.images == 14_000_000
    assert [cost.px for cost in four.stages] == [4, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert four.flops == alone.flops
    assert four.memory_bytes < alone.memory_bytes
    assert alone.stages[-1].all_reduce_bytes == 0
    parameters = four.generator_parameters + four.discriminator_parameters
    # Of a batch the layers that turn features into pixels take part at two resolutions; the others wait.
    assert 0.99 * 4 * parameters < four.stages[-1].all_reduce_bytes < 4 * parameters
    assert 112_120 * 1024**2 < four.radiographs_bytes < 1.34 * 112_120 * 1024**2
    assert four.seconds is None
    assert four.sources["flops"] == "computed"
    assert "seconds" not in four.sources


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match=r"64 in groups of 16 .* 8 devices at 4 px"):
        estimate_cost(SEGAL, radiographs=1, devices=8)


def test_stages_that_were_not_measured_take_time_by_flops():
    rates = Rates((Rate(4, 8, 0.5), Rate(8, 4, 1.0)), "float32", "a machine", 2)
    estimate = estimate_cost(TINY, radiographs=96, rates=rates)
    first, second, third = estimate.stages
    assert (first.seconds_from, second.seconds_from, third.seconds_from) == ("measured", "measured", "computed")
    assert first.seconds == pytest.approx(first.steps * 0.5)
    assert second.seconds == pytest.approx(second.steps * 2.0)  # 4 of 8 images took a second
    assert third.seconds > third.steps * 2.0
    assert estimate.sources["seconds"] == "computed"
    assert "4, 8 px measured on a machine, 2 threads, float32; 16 px computed by FLOPs" in estimate.summary()["time"]
    two = estimate_cost(TINY, radiographs=96, rates=rates, devices=2)
    assert two.seconds == pytest.approx(estimate.seconds / 2)
    assert {cost.seconds_from for cost in two.stages} == {"computed"}


def test_a_stage_is_measured_by_real_steps():
    rate = measure_rate(TINY, stages(TINY)[1], torch.float32)
    assert (rate.px, rate.batch) == (8, 8)
    assert 0 < rate.seconds < 5


def test_measuring_keeps_to_its_limits():
    assert [rate.px for rate in measure_rates(TINY, torch.float32, seconds=30).stages] == [4, 8, 16]
    assert [rate.px for rate in measure_rates(TINY, torch.float32, seconds=0).stages] == [4]
    assert measure_rates(TINY, torch.float32, memory=1).stages == ()


def test_a_large_batch_is_measured_with_one_group():
    settings = dataclasses.replace(TINY, batches=(8, 4096, 8192))
    rates = measure_rates(settings, torch.float32, memory=10_000_000)
    assert [(rate.px, rate.batch) for rate in rates.stages] == [(4, 8), (8, 4), (16, 4)]


def test_it_is_plain_values():
    found = estimate_cost(TINY, radiographs=96, rates=Rates((Rate(4, 8, 0.5),), "float32", "a machine", 1)).as_dict()
    assert json.loads(json.dumps(found)) == found | {"stages": json.loads(json.dumps(found["stages"]))} | {
        "rates": {**found["rates"], "stages": list(found["rates"]["stages"])}
    }
    assert found["summary"]["images"].startswith("240 in ")


PEAK = """
import dataclasses, torch
from xrarchive.gan.devices import Devices
from xrarchive.gan.monitor import peak_memory_bytes
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import new_state
from xrarchive.gan.step import train_step
settings = GeneratorSettings(loss="{loss}")
state = new_state(settings)
for _ in range(2):
    real = torch.zeros(settings.batch, 1, 64, 64)
    train_step(state, settings, real, batch=settings.batch, alpha=1.0, devices=Devices(dtype=torch.{dtype}))
print(peak_memory_bytes())
"""


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["logistic", "wgan-gp"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_is_near_the_measured_peak(loss, dtype):
    script = PEAK.format(loss=loss, dtype=dtype)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    estimate = estimate_cost(GeneratorSettings(loss=loss), radiographs=1, dtype=getattr(torch, dtype))
    assert 1 / MEMORY_FACTOR < int(done.stdout) / estimate.memory_bytes < MEMORY_FACTOR
