import numpy as np
import pytest

from xrarchive.validation.agreement import MINIMUM_PER_SIDE, measure_agreement

FINDINGS = ("No Finding", "Edema", "Mass")


def table(rng, signal=2.0, per_class=20):
    asked = np.zeros((3 * per_class, 3), bool)
    asked[np.arange(3 * per_class), np.repeat(np.arange(3), per_class)] = True
    logits = rng.normal(size=asked.shape) + signal * asked
    return asked, (1 / (1 + np.exp(-logits))).astype(np.float32)


def test_a_shown_finding_is_seen_beside_the_real_figure(rng):
    asked, judge = table(rng)
    found = measure_agreement(FINDINGS, asked, judge, {"Edema": {"value": 0.8, "low": 0.7, "high": 0.9}}, seed=0)
    edema = found["Edema"]
    assert 0.8 < edema["low"] < edema["value"] < edema["high"] <= 1
    assert (edema["n"], edema["n_not_asked"]) == (20, 40)
    note = "Of the judge on real radiographs, by their labels."
    assert edema["ceiling"] == {"value": 0.8, "low": 0.7, "high": 0.9, "note": note}
    assert edema["floor"]["value"] == 0.5
    assert "no AUROC on real radiographs for Mass" in found["Mass"]["ceiling"]["reason"]


def test_an_image_asked_for_two_findings_counts_for_both(rng):
    asked, judge = table(rng)
    asked[:20, 1] = True
    assert measure_agreement(FINDINGS, asked, judge, {}, seed=0)["Edema"]["n"] == 40


def test_swapped_labels_are_seen(rng):
    asked, judge = table(rng)
    swapped = asked[:, [0, 2, 1]]
    assert measure_agreement(FINDINGS, swapped, judge, {}, seed=0)["Edema"]["high"] < 0.5


def test_what_was_never_asked_is_left_out(rng):
    asked, judge = table(rng)
    asked[:, 2] = False
    assert set(measure_agreement(FINDINGS, asked, judge, {}, seed=0)) == {"No Finding", "Edema"}


@pytest.mark.parametrize("real", [None, {}, {"value": None}, {"value": float("nan")}])
def test_an_unknown_real_figure_has_a_reason(rng, real):
    asked, judge = table(rng)
    found = measure_agreement(FINDINGS, asked, judge, {} if real is None else {"Edema": real}, seed=0)
    assert found["Edema"]["ceiling"]["value"] is None


def test_few_images_one_class_and_unknown_findings_have_reasons(rng):
    asked, judge = table(rng, per_class=MINIMUM_PER_SIDE - 1)
    assert "there are 4 and 8" in measure_agreement(FINDINGS, asked, judge, {}, seed=0)["Mass"]["reason"]
    everywhere = np.ones((30, 1), bool)
    one_class = measure_agreement(("Mass",), everywhere, rng.random((30, 1)), {}, seed=0)
    assert "there are 30 and 0" in one_class["Mass"]["reason"]
    asked, judge = table(rng)
    judge[:, 0] = np.nan
    assert "gives no score" in measure_agreement(FINDINGS, asked, judge, {}, seed=0)["No Finding"]["reason"]
