import numpy as np
import pytest

from xrarchive.validation.columns import ArchiveImages
from xrarchive.validation.purity import rogan_gladen, score_mixture
from xrarchive.validation.raters import PURITY, Rater, measure_labels

FINDINGS = ("Edema", "Mass")
CALLS = {"tp": 16, "fn": 4, "fp": 8, "tn": 72}


def archive(edema=20, mass=10, *, scores=None, soft=0.25):
    """`edema` images labelled Edema, then `mass` labelled Mass, of which the last shows Edema too."""
    count = edema + mass
    labels = np.repeat([0, 1], [edema, mass])
    asked = np.eye(2, dtype=bool)[labels]
    asked[-1] = True
    if scores is None:
        scores = np.tile(np.linspace(0.05, 0.95, count, dtype=np.float32)[:, None], 2)
    return ArchiveImages(
        [str(n) for n in range(count)],
        np.zeros((count, 2, 2), np.uint8),
        asked,
        scores,
        scores,
        labels,
        np.full(count, soft, np.float32),
        *np.zeros((2, count, 0), np.float32),
    )


def measured(images, *, role="judge", filtered=False, figures=None, thresholds=(0.5, 0.5)):
    given = {"cross_fitted": None, "calls": CALLS} if figures is None else figures
    rater = Rater(role, "a" * 64, images.judge, np.array(thresholds, np.float32), dict.fromkeys(FINDINGS, given))
    return measure_labels(FINDINGS, images, rater, filtered=filtered, seed=0)


def test_purity_is_that_of_the_formulas_on_the_counted_calls():
    images = archive()
    purity = measured(images)["Edema"]["purity"]
    asked = images.judge[images.asked[:, 0], 0]
    real = np.repeat([True, False, True, False], list(CALLS.values())), np.repeat([1.0, 0.0], [20, 80])
    for name, noise in (("rogan_gladen", 0), ("with_10pct_label_noise", 0.1)):
        expected = rogan_gladen(asked >= 0.5, *real, label_noise=noise, seed=0)
        assert purity[name]["value"] == pytest.approx(expected.value, rel=1e-5)
        assert (purity[name]["low"], purity[name]["high"]) == pytest.approx((expected.low, expected.high), rel=1e-5)
    mixture = score_mixture(asked, 0.2, seed=0)
    assert purity["score_mixture"]["value"] == pytest.approx(mixture.value, rel=1e-5)
    found = purity["rogan_gladen"]
    assert (found["sensitivity"], found["specificity"], found["floor"]["value"], found["n"]) == (0.8, 0.9, 0.2, 21)
    assert found["called"] == pytest.approx((asked >= 0.5).mean(), rel=1e-5)


def test_the_soft_label_is_of_the_class_label_only():
    soft = measured(archive())["Edema"]["purity"]["soft"]
    assert (soft["value"], soft["low"], soft["high"], soft["n"]) == (0.25, 0.25, 0.25, 20)
    second = measured(archive(edema=0, mass=10))["Mass"]["purity"]
    assert second["soft"]["n"] == 10
    without = measured(archive(soft=np.nan))["Edema"]["purity"]
    assert "lack a soft label" in without["soft"]["reason"]
    assert without["rogan_gladen"]["value"] is not None


@pytest.mark.parametrize(
    ("figures", "thresholds", "words"),
    [
        ({"cross_fitted": None}, (0.5, 0.5), "of an older version"),
        ({"cross_fitted": None, "calls": None}, (0.5, 0.5), "no operating threshold for Edema"),
        ({"cross_fitted": None, "calls": CALLS}, (np.nan, 0.5), "no operating threshold for Edema"),
        ({"cross_fitted": None, "calls": CALLS | {"tp": 0, "fn": 0}}, (0.5, 0.5), "both with and without Edema"),
        ({"cross_fitted": None, "calls": {**CALLS, "fp": 0, "tn": 0}}, (0.5, 0.5), "both with and without Edema"),
        ({}, (0.5, 0.5), "of an older version"),
    ],
)
def test_without_a_real_side_nothing_is_measured_but_the_soft_label(figures, thresholds, words):
    purity = measured(archive(), figures=figures, thresholds=thresholds)["Edema"]["purity"]
    for name in PURITY:
        if name == "soft":
            assert purity[name]["value"] == 0.25
        else:
            assert words in purity[name]["reason"]


def test_calls_that_know_nothing_and_labels_too_rare_for_noise_have_reasons():
    useless = measured(archive(), figures={"calls": {"tp": 2, "fn": 8, "fp": 60, "tn": 30}})["Edema"]["purity"]
    assert "sensitivity 0.20 and specificity 0.33" in useless["rogan_gladen"]["reason"]
    rare = measured(archive(), figures={"calls": {"tp": 4, "fn": 1, "fp": 15, "tn": 980}})["Edema"]["purity"]
    assert rare["rogan_gladen"]["value"] is not None
    assert rare["with_10pct_label_noise"]["reason"].startswith("0.5 % of the real radiographs are labelled Edema")
    weak = measured(archive(), figures={"calls": {"tp": 10, "fn": 10, "fp": 45, "tn": 35}})["Edema"]["purity"]
    assert "would tell nothing" in weak["with_10pct_label_noise"]["reason"]


def test_scores_that_say_nothing_have_a_reason():
    scores = np.full((30, 2), np.float32(0.25))
    calls = {"tp": 20, "fn": 5, "fp": 5, "tn": 70}
    purity = measured(archive(scores=scores), figures={"calls": calls})["Edema"]["purity"]
    assert "says nothing" in purity["score_mixture"]["reason"]
    missing = measured(archive(scores=np.full((30, 2), np.nan, np.float32)))["Edema"]
    assert "gives no score" in missing["reason"]
    assert "gives no score" in missing["purity"]["rogan_gladen"]["reason"]


def test_few_images_have_reasons():
    found = measured(archive(edema=3, mass=20))["Edema"]
    assert found["value"] is None
    assert all("there are" in measure["reason"] for measure in found["purity"].values())


def test_who_may_measure():
    images = archive()
    barred = measured(images, filtered=True)
    assert all("judge_filter" in m["reason"] for f in barred.values() for m in (f, *f["purity"].values()))
    referee = measured(images, role="referee", filtered=True)["Edema"]
    assert "referee's calls" in referee["purity"]["rogan_gladen"]["note"]
    assert "judge_filter" in referee["purity"]["soft"]["reason"]
    assert measured(images, role="referee")["Edema"]["purity"]["soft"]["value"] is None
