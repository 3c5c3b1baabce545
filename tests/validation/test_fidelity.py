import numpy as np
import pytest

from xrarchive.validation.fidelity import FLOOR_DRAWS, FRECHET, KERNEL, measure_fidelity


def fidelity(metric, synthetic, real, patients=None, seed=0, **more):
    return measure_fidelity(metric, synthetic, real, patients=patients, seed=seed, space="toy", **more)


def halves(seed, count=150, dim=8):
    rng = np.random.default_rng(seed)
    pool = np.maximum(rng.normal(size=(2 * count, dim)), 0).astype(np.float32)
    return pool[:count], pool[count:]


def test_kid_of_two_halves_covers_zero_about_as_often_as_it_says():
    found = [fidelity(KERNEL, *halves(seed)) for seed in range(40)]
    assert sum(m["low"] <= 0 <= m["high"] for m in found) >= 35
    assert sum(m["floor"]["value"] - 3 * m["floor"]["sd"] <= m["value"] for m in found) >= 38


@pytest.mark.parametrize("metric", [KERNEL, FRECHET], ids=lambda m: m.name)
def test_a_shift_is_seen(metric):
    synthetic, real = halves(0)
    plain, shifted = fidelity(metric, synthetic, real), fidelity(metric, synthetic + 0.5, real)
    assert shifted["low"] > plain["high"]
    assert shifted["low"] > shifted["floor"]["value"] + 3 * shifted["floor"]["sd"]
    assert shifted["floor"]["synthetic"] > 3 * shifted["floor"]["value"]


@pytest.mark.parametrize("metric", [KERNEL, FRECHET], ids=lambda m: m.name)
def test_lost_variety_is_seen(metric):
    synthetic, real = halves(1)
    few_modes = np.tile(synthetic[:5], (30, 1))
    assert fidelity(metric, few_modes, real)["low"] > fidelity(metric, synthetic, real)["high"]


@pytest.mark.parametrize("metric", [KERNEL, FRECHET], ids=lambda m: m.name)
def test_every_number_has_its_company(metric):
    synthetic, real = halves(2)
    found = fidelity(metric, synthetic, real, patients=np.arange(150) // 2)
    assert found["low"] <= found["value"] <= found["high"]
    assert (found["n"], found["n_real"], found["n_patients"]) == (150, 150, 75)
    assert found["floor"]["draws"] == FLOOR_DRAWS
    assert found["floor"]["n"] in {74, 75}
    assert found["note"]
    assert found == fidelity(metric, synthetic, real, patients=np.arange(150) // 2)
    assert found != fidelity(metric, synthetic, real, patients=np.arange(150) // 2, seed=1)


def test_floor_is_taken_at_the_size_of_the_archive():
    synthetic, real = halves(3)
    assert fidelity(KERNEL, synthetic[:40], real)["floor"]["n"] == 40


def test_patients_widen_the_interval():
    synthetic, real = halves(4)
    clustered = np.repeat(real[:30], 5, axis=0) + np.random.default_rng(0).normal(size=(150, 8)) * 0.01
    apart = fidelity(KERNEL, synthetic, clustered)
    together = fidelity(KERNEL, synthetic, clustered, patients=np.arange(150) // 5)
    assert together["high"] - together["low"] > apart["high"] - apart["low"]
    assert together["value"] == apart["value"]


def test_frechet_is_refused_below_twice_the_dimension():
    synthetic, real = halves(5, count=60, dim=32)
    found = fidelity(FRECHET, synthetic, real)
    assert found["value"] is None
    assert "needs 65 images per side" in found["reason"]
    assert "60 synthetic images and 60 radiographs" in found["reason"]
    assert fidelity(KERNEL, synthetic, real)["value"] is not None


def test_frechet_floor_is_refused_where_halves_are_too_small():
    synthetic, real = halves(6, count=80, dim=32)
    found = fidelity(FRECHET, synthetic, real)
    assert found["value"] is not None
    assert found["floor"]["value"] is None
    assert "give 40" in found["floor"]["reason"]


@pytest.mark.parametrize("metric", [KERNEL, FRECHET], ids=lambda m: m.name)
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_tiny_sets_give_a_reason(metric, count):
    synthetic, real = halves(7)
    assert "images per side" in fidelity(metric, synthetic[:count], real)["reason"]
    assert "images per side" in fidelity(metric, synthetic, real[:count])["reason"]


@pytest.mark.parametrize("metric", [KERNEL, FRECHET], ids=lambda m: m.name)
def test_identical_images_give_a_reason(metric):
    synthetic, real = halves(8)
    same = np.tile(synthetic[:1], (150, 1))
    assert "All 150 synthetic images have the same features" in fidelity(metric, same, real)["reason"]
    assert "radiographs of the reference" in fidelity(metric, synthetic, same)["reason"]


def test_features_of_two_networks_are_a_bug():
    synthetic, real = halves(9)
    with pytest.raises(ValueError, match="dimensions"):
        fidelity(KERNEL, synthetic, real[:, :4])


@pytest.mark.parametrize("metric", [KERNEL, FRECHET], ids=lambda m: m.name)
def test_real_against_real_has_a_ratio_about_one(metric):
    found = [fidelity(metric, *halves(seed))["ratio"] for seed in range(20)]
    assert sum(ratio["low"] <= 1 <= ratio["high"] for ratio in found) >= 19
    assert 0.8 < np.mean([ratio["value"] for ratio in found]) < 1.2
    assert np.mean([ratio["high"] / ratio["low"] for ratio in found]) < 10


@pytest.mark.parametrize("metric", [KERNEL, FRECHET], ids=lambda m: m.name)
def test_a_shift_has_a_ratio_above_one(metric):
    synthetic, real = halves(0)
    ratio = fidelity(metric, synthetic + 0.5, real)["ratio"]
    assert ratio["low"] > 2
    assert (ratio["n"], ratio["note"] != "") == (75, True)


@pytest.mark.parametrize("metric", [KERNEL, FRECHET], ids=lambda m: m.name)
def test_the_control_lies_above_the_floor(metric):
    synthetic, real = halves(1)
    found = fidelity(metric, synthetic, real, blurred=real + 0.4)
    floor, control = found["floor"], found["control"]
    assert control["value"] > floor["value"] + 3 * floor["sd"]
    assert control["n"] == floor["n"]
    assert control["note"]
    same = fidelity(metric, synthetic, real, blurred=real)["control"]
    assert same["value"] == floor["value"]


def test_without_radiographs_the_control_says_what_to_give():
    found = fidelity(KERNEL, *halves(2))
    assert "--radiographs" in found["control"]["reason"]
    assert found["ratio"]["value"] > 0


def test_too_few_radiographs_for_a_floor_give_neither_control_nor_ratio():
    synthetic, real = halves(6, count=80, dim=32)
    found = fidelity(FRECHET, synthetic, real, blurred=real)
    assert "give 40" in found["control"]["reason"]
    assert "give 40" in found["ratio"]["reason"]


def test_radiographs_that_are_all_alike_but_one_give_no_ratio_but_no_fault():
    synthetic, real = halves(4)
    real = np.tile(real[:1], (150, 1))
    real[0] += 1
    found = fidelity(KERNEL, synthetic, real)
    assert found["value"] is not None
    assert found["ratio"]["value"] is None or found["ratio"]["low"] is not None
