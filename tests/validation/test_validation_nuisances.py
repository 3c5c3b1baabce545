import numpy as np
import pytest

from xrarchive.validation.columns import ArchiveImages
from xrarchive.validation.nuisances import measure_nuisances

FINDINGS = ("Edema", "Mass", "Hernia")


def archive(start, end, labels):
    count = len(labels)
    start, end = (np.asarray(logits, np.float32).reshape(count, -1) for logits in (start, end))
    nothing = np.zeros((count, 3), np.float32)
    return ArchiveImages(
        [str(n) for n in range(count)], np.zeros((count, 2, 2), np.uint8), nothing > 0, nothing, nothing,
        np.array(labels), nothing[:, 0], end, start,
    )  # fmt: skip


def test_drift_and_shares_by_label():
    start = np.linspace(-1, 1, 20)
    images = archive(start, start + np.repeat([2.0, 0.0], 10), np.repeat([0, 1], 10))
    found = measure_nuisances(["view"], FINDINGS, images, seed=0)["view"]
    assert list(found) == ["Edema", "Mass"]
    edema, mass = found.values()
    assert (edema["drift"]["value"], edema["drift"]["n"]) == (2, 10)
    assert (edema["drift"]["low"], edema["drift"]["high"]) == pytest.approx((2, 2))
    assert (edema["positive_start"]["value"], edema["positive_end"]["value"]) == (0, 1)
    assert edema["coverage_by_stratum"] == {
        "start": {"negative": 10, "positive": 0},
        "end": {"negative": 0, "positive": 10},
    }
    assert mass["drift"]["value"] == 0
    for name in ("drift", "positive_start", "positive_end"):
        assert edema[name]["note"].count("measured by the guide's own head") == 1


def test_start_and_end_of_an_image_belong_together():
    """Drift varies with its images, not with the spread of where they started."""
    rng = np.random.default_rng(0)
    start = rng.normal(0, 10, 50)
    found = measure_nuisances(["view"], FINDINGS, archive(start, start + rng.normal(1, 0.1, 50), [0] * 50), seed=0)
    drift = found["view"]["Edema"]["drift"]
    assert 0.9 < drift["low"] < drift["value"] < drift["high"] < 1.1


def test_a_nuisance_more_leaves_the_others_as_they_were():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 12, 2))
    both = measure_nuisances(["view", "sex"], FINDINGS, archive(start, end, [0] * 12), seed=0)
    one = measure_nuisances(["view"], FINDINGS, archive(start[:, 0], end[:, 0], [0] * 12), seed=0)
    assert both["view"] == one["view"]
    assert both["sex"] != one["view"]


def test_few_images_and_no_numbers_have_reasons():
    few = measure_nuisances(["view"], FINDINGS, archive([0.0] * 4, [1.0] * 4, [2] * 4), seed=0)["view"]["Hernia"]
    assert "there are 4" in few["drift"]["reason"]
    assert few["coverage_by_stratum"]["end"]["positive"] == 4
    broken = measure_nuisances(["view"], FINDINGS, archive([np.nan] * 9, [1.0] * 9, [2] * 9), seed=0)
    assert "no numbers" in broken["view"]["Hernia"]["positive_end"]["reason"]


def test_a_guide_without_nuisances_measures_none():
    assert measure_nuisances([], FINDINGS, archive(np.zeros((6, 0)), np.zeros((6, 0)), [0] * 6), seed=0) == {}
