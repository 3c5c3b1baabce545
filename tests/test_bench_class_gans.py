"""scripts/bench_class_gans.py: its parts, and that it says how it is used; the bench itself takes half an hour."""

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from xrarchive.bootstrap import draw_multiplicities
from xrarchive.gan.draws import fixed_latents
from xrarchive.gan.sampling import generate
from xrarchive.gan.settings import PRESETS, GeneratorSettings
from xrarchive.gan.state import new_state

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
NAMES = ("bench_class_gans", "bench_class_gans_films", "bench_class_gans_conditional")


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(SCRIPTS))
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(str(SCRIPTS))
    for name in NAMES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def bench(scripts):
    return scripts["bench_class_gans"]


@pytest.fixture(scope="module")
def conditional(scripts):
    return scripts["bench_class_gans_conditional"]


def test_it_says_how_it_is_used():
    script = SCRIPTS / "bench_class_gans.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.access(script, os.X_OK)
    for option in ("--quick", "--findings", "--nimg", "--source", "--data", "--work"):
        assert option in done.stdout


@pytest.mark.parametrize("classes", [2, 4, 8])
def test_class_gans_have_as_many_parameters_and_images_in_all(bench, classes):
    plan = bench.make_plan(bench.parse(["--findings", ",".join("ABCDEFGH"[:classes])]))
    one, each = bench.count_parameters(plan.generator), bench.count_parameters(plan.each)
    assert classes * each == pytest.approx(one, rel=0.05)
    assert classes * plan.each.nimg == pytest.approx(plan.generator.nimg, rel=0.001)
    same = {"width_max": 0, "width_base": 0, "nimg": 0}
    assert dataclasses.replace(plan.each, **same) == dataclasses.replace(plan.generator, **same)


def test_parameters_are_counted_as_they_are_made(bench):
    settings = GeneratorSettings(**PRESETS["tiny"])
    state = new_state(settings)
    assert bench.count_parameters(settings) == sum(map(torch.numel, bench.network_parameters(state)))


def test_of_twins_one_stays_and_a_held_out_film_is_not_learned_from(scripts):
    pixels = np.zeros((5, 2, 2), np.uint8)
    pixels[:, 0, 0] = [1, 1, 2, 2, 3]
    learned, known = np.array([True, False, True, True, True]), np.array([True, True, False, True, False])
    kept = scripts["bench_class_gans_films"].distinct(pixels, learned, known)
    assert kept.tolist() == [False, True, False, True, True]


def test_a_set_written_holds_the_same_films(scripts, tmp_path):
    films = scripts["bench_class_gans_films"]
    pixels = np.random.default_rng(0).integers(0, 256, (6, films.PX, films.PX), np.uint8)
    labels = np.array([[1, 0], [0, 1], [1, 0], [np.nan, np.nan], [0, 1], [1, 0]], np.float32)
    none = np.array([""] * 6)
    words = {"patient_id": np.array(list("aabcde")), "split": np.array(["train"] * 6), "source": np.array(["s"] * 6)}
    some = films.Films(pixels, labels, ("No Finding", "Effusion"), {**words, "view": none, "sex": none, "age": none})
    mask = np.arange(6) != 2
    found = films.open_set(films.write_set(some, mask, tmp_path))
    assert (found.read(np.arange(5), films.PX) == pixels[mask]).all()
    assert found.patients.tolist() == list("aacde")
    effusion = found.labels[:, found.vocabulary.index("Effusion")]
    assert effusion[1] == effusion[3] == 1
    assert effusion[0] == 0
    assert np.isnan(effusion[2])


def test_each_finding_is_shown_equally_often(conditional):
    called = np.zeros((10, 2), np.bool_)
    called[:6, 0] = called[5:8, 1] = True
    rows = conditional.balanced_rows(called)
    assert len(rows) == 12
    assert sorted(rows[:6]) == list(range(6))
    assert np.bincount(rows[6:], minlength=8)[5:].tolist() == [2, 2, 2]


def test_conditions_are_repeated_for_real_and_generated_images(conditional):
    condition = torch.eye(2)
    assert conditional.repeated(condition, torch.zeros(4, 3)).tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    with pytest.raises(ValueError, match="share"):
        conditional.repeated(condition, torch.zeros(3, 3))


def test_sizes_are_halved_as_in_a_set(conditional):
    pixels = np.array([[[0, 1], [1, 0]], [[255, 255], [255, 254]]], np.uint8)
    assert conditional.halved(pixels).ravel().tolist() == [1, 255]


def test_the_conditional_networks_learn_what_they_are_told(conditional):
    settings = GeneratorSettings(**{**PRESETS["tiny"], "nimg": 64})
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 2, (16, 3)).astype(np.float32))
    pixels = rng.integers(0, 256, (16, 16, 16), np.uint8)
    before = conditional.conditional_state(settings, 3)
    told = []
    state = conditional.train_conditional(settings, pixels, labels, np.arange(16), on_status=told.append)
    assert state.nimg == told[-1].done == 64
    assert not torch.equal(state.generator.embed.weight, before.generator.embed.weight)
    assert not torch.equal(state.discriminator.score.embed.weight, before.discriminator.score.embed.weight)
    latents = fixed_latents(settings, 2)
    images = []
    for column in range(2):
        state.averaged.condition = torch.eye(3)[[column, column]]
        images.append(generate(state.averaged, latents))
    assert (images[0] != images[1]).any()


@pytest.fixture
def reference(bench):
    rng = np.random.default_rng(0)
    codes = {"A": np.arange(30), "B": np.arange(20, 40)}
    features = {name: rng.normal(size=(len(patients), 8)) for name, patients in codes.items()}
    return bench.Reference(features, codes, draw_multiplicities(np.arange(40), 50, rng), {})


def arm_of(bench, name, reference, shift):
    rng = np.random.default_rng(1)
    arm = bench.Arm(name, {})
    arm.kid, arm.resampled = bench.kids({key: rng.normal(shift, 1, (25, 8)) for key in reference.features}, reference)
    return arm


def test_the_ratio_is_paired_and_told_either_way(bench, reference):
    near, far = arm_of(bench, "near", reference, 1.0), arm_of(bench, "far", reference, 2.0)
    assert near.kid["macro"]["value"] == pytest.approx((near.kid["A"]["value"] + near.kid["B"]["value"]) / 2)
    assert near.kid["macro"]["low"] < near.kid["macro"]["value"] < near.kid["macro"]["high"]
    assert bench.ratio(near, near) == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert "not told apart" in bench.verdict("x", bench.ratio(near, near), near, near, "AB")
    closer, further = bench.ratio(near, far), bench.ratio(far, near)
    assert closer["high"] < 1 < further["low"]
    assert "CLOSER" in bench.verdict("far", closer, near, far, "AB")
    assert "FURTHER" in bench.verdict("near", further, far, near, "AB")


def test_an_arm_with_too_few_images_is_not_measured(bench, reference):
    arm = bench.Arm("few", {})
    arm.kid, arm.resampled = bench.kids({"A": np.ones((30, 8)), "B": np.empty((0, 0))}, reference)
    assert arm.kid["B"]["value"] is arm.kid["macro"]["value"] is None
    found = bench.ratio(arm, arm_of(bench, "near", reference, 1.0))
    assert found["value"] is None
    assert "not measured" in bench.verdict("near", found, arm, arm, "AB")
    bench.show(arm, ("A", "B"))


def test_what_is_cached_is_not_made_again_and_half_made_things_are(bench, tmp_path):
    folder, made = tmp_path / "thing", []
    folder.mkdir()
    (folder / "half").touch()

    def make():
        made.append(not (folder / "half").exists())
        return {"figure": 1}

    first, second = bench.cached(folder, make), bench.cached(folder, make)
    assert made == [True]
    assert first == second
    assert first["figure"] == 1
    assert first["cpu_s"] >= 0


class Judge:
    """Sees how bright an image is, and nothing else."""

    vocabulary = ("A", "B")

    def outputs(self, pixels):
        return np.stack([pixels.mean(axis=(1, 2)), -pixels.mean(axis=(1, 2))], axis=1)


def test_the_judge_tells_images_asked_for_from_the_others(bench):
    images = {"A": np.full((3, 2, 2), 200, np.uint8), "B": np.full((2, 2, 2), 10, np.uint8)}
    assert bench.judged(images, Judge()) == {"A": 1.0, "B": 1.0}
    assert bench.judged({**images, "B": images["B"][:0]}, Judge()) == {"A": None, "B": None}
