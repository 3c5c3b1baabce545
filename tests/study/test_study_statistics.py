"""The statistics of studies against published examples, closed formulas and simulated readers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from xrarchive.errors import SettingsError
from xrarchive.study.concordance import fleiss_kappa, krippendorff_alpha, share_alike
from xrarchive.study.coverage import measure_coverage
from xrarchive.study.folder import read_study
from xrarchive.study.intervals import draw_cases, interval, measure_equivalence, pool_readers, wilson
from xrarchive.study.models import ReaderModel
from xrarchive.study.power import (
    plan_power,
    power_of_equivalence,
    power_to_detect,
    reads_for_equivalence,
    reads_to_detect,
)
from xrarchive.study.readings import read_readings, reader_means
from xrarchive.study.realism import measure_realism
from xrarchive.study.results import read_results
from xrarchive.study.scoring import make_score
from xrarchive.study.simulating import draw_ratings, rate, true_values

nan = float("nan")

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: four observers, twelve units.
KRIPPENDORFF = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
    [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
]).T  # fmt: skip
# Fleiss' kappa, the worked example of the article of that name: fourteen raters, ten subjects, five categories.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_published_kappa_and_alphas():
    codes = np.array([[kind for kind, count in enumerate(row) for _ in range(count)] for row in FLEISS], float)
    assert fleiss_kappa(codes).value == pytest.approx(0.210, abs=5e-4)
    assert krippendorff_alpha(KRIPPENDORFF).value == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(KRIPPENDORFF, ordinal=True).value == pytest.approx(0.815, abs=5e-4)


@pytest.mark.parametrize("measure", [fleiss_kappa, krippendorff_alpha])
def test_agreement_is_one_when_all_agree_about_zero_by_chance_and_undefined_without_a_choice(measure, rng):
    codes = rng.integers(0, 2, (300, 1)).astype(float)
    assert measure(np.repeat(codes, 3, axis=1)).value == pytest.approx(1)
    assert measure(rng.integers(0, 2, (2000, 3)).astype(float)).value == pytest.approx(0, abs=0.05)
    for nothing in (np.ones((9, 3)), codes, np.full((9, 3), nan), np.zeros((0, 2))):
        assert not measure(nothing).defined


def test_cases_that_nobody_read_twice_count_for_nothing():
    more = np.vstack([KRIPPENDORFF, [[nan, nan, nan, 5]]])
    assert krippendorff_alpha(more).value == krippendorff_alpha(KRIPPENDORFF).value
    assert share_alike([1, 0, nan, 1], [1, 1, 1, nan]) == (1, 2)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (97, 194), (1781, 3000)])
def test_wilson_is_scipys(k, n):
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert all(math.isnan(end) for end in wilson(0, 0))


def test_the_planner_gives_the_numbers_of_the_field():
    assert (reads_to_detect(0.6), reads_to_detect(0.55)) == (194, 783)
    assert [reads_for_equivalence(margin) for margin in (0.1, 0.075, 0.05)] == [215, 381, 857]
    assert power_to_detect(194, 0.6) == pytest.approx(0.8, abs=0.005)
    assert power_of_equivalence(215, 0.1) == pytest.approx(0.8, abs=0.005)
    assert power_of_equivalence(5, 0.1) == 0


def test_power_is_what_simulated_studies_reach(rng):
    reads = 194
    told = rng.binomial(reads, 0.6, 20_000)
    z = (told / reads - 0.5) / math.sqrt(0.25 / reads)
    assert (z > stats.norm.ppf(0.975)).mean() == pytest.approx(power_to_detect(reads, 0.6), abs=0.03)


def test_readers_of_the_same_cases_are_worth_less_than_so_many_cases():
    power = plan_power(200, 3, margin=0.1)
    assert power.reads == pytest.approx(500)
    assert power.detect[0] < power.detect[1]
    assert 0.5 < power.smallest < 0.6
    few = plan_power(10, 1, margin=0.1)
    assert few.smallest > 0.8


def test_one_reader_gets_the_interval_of_cases_alone(rng):
    correct = (rng.random((200, 1)) < 0.7).astype(float)
    found = pool_readers(lambda weights: reader_means(correct, weights), np.zeros(200, int), name="x")
    assert (found.low, found.high) == found.cases
    assert (found.low, found.high) == pytest.approx(wilson(correct.sum(), 200), abs=0.02)
    assert math.isinf(found.freedom)


def test_readers_who_differ_widen_the_interval_for_others_and_not_their_own(rng):
    alike = (rng.random((200, 4)) < 0.7).astype(float)
    apart = (rng.random((200, 4)) < np.array([0.5, 0.6, 0.8, 0.9])).astype(float)
    one, other = (pool_readers(lambda w, c=c: reader_means(c, w), np.zeros(200, int), name="x") for c in (alike, apart))
    assert other.high - other.low > 2 * (one.high - one.low)
    assert other.cases[1] - other.cases[0] < 1.2 * (one.cases[1] - one.cases[0])
    assert 0 < other.low < other.value < other.high < 1


def test_perfect_readers_get_no_interval_of_width_zero():
    correct = np.ones((50, 3))
    found = pool_readers(lambda weights: reader_means(correct, weights), np.zeros(50, int), name="x")
    assert found.value == found.high == 1
    assert found.low == pytest.approx(wilson(50, 50)[0])


def test_readers_who_differ_by_rounding_alone_do_not_differ():
    correct = np.zeros((7, 3))
    correct[:2] = 1
    shifted = correct + np.array([0, 1e-16, 2e-16])
    found = pool_readers(lambda weights: reader_means(shifted, weights) + 1e-17, np.zeros(7, int), name="x")
    assert (found.low, found.high) == found.cases


def test_a_reader_without_readings_is_left_out(rng):
    correct = (rng.random((60, 3)) < 0.7).astype(float)
    more = np.column_stack([correct, np.full(60, nan)])
    one, other = (pool_readers(lambda w, c=c: reader_means(c, w), np.zeros(60, int), name="x") for c in (correct, more))
    assert (one.value, one.low, one.high) == (other.value, other.low, other.high)
    assert math.isnan(other.readers[3])
    nobody = pool_readers(lambda w: reader_means(np.full((60, 2), nan), w), np.zeros(60, int), name="x")
    assert not nobody.defined


def test_strata_keep_their_numbers(rng):
    strata = np.array([0] * 30 + [1] * 12)
    drawn = draw_cases(strata, 50, rng)
    assert (drawn[:, :30].sum(axis=1) == 30).all()
    assert (drawn[:, 30:].sum(axis=1) == 12).all()


def test_the_same_seed_gives_the_same_interval(rng):
    correct = (rng.random((60, 3)) < 0.7).astype(float)
    first, second, third = (
        pool_readers(lambda w: reader_means(correct, w), np.zeros(60, int), name="x", seed=seed) for seed in (1, 1, 2)
    )
    assert first == second
    assert first.cases != third.cases


def test_equivalence_holds_with_the_90_percent_interval_inside_the_margin(rng):
    for share in (0.5, 0.55, 0.62):
        correct = (rng.random((400, 3)) < share).astype(float)
        found = pool_readers(lambda w, c=correct: reader_means(c, w), np.zeros(400, int), name="x")
        test = measure_equivalence(found, 0.1)
        assert (test.p < 0.05) == (test.low > 0.4 and test.high < 0.6)
    assert measure_equivalence(found, 0.05).p > 0.05


def test_shares_stay_inside_and_other_numbers_are_symmetric():
    low, high = interval(0.97, 0.02, 10, share=True, n=100)
    assert 0 < low < 0.97 < high < 1
    low, high = interval(0.3, 0.2, math.inf, share=False, n=100)
    assert (low + high) / 2 == pytest.approx(0.3)


# ---- figures of the question itself ----


def scored(studies, answered, seed=0, settings=None, **model):
    folder = studies(**(settings or {"task": "realism"}))
    study, key = read_study(folder)
    results = read_results(answered(folder, seed=seed, **model), study, key)
    return study, key, results, read_readings(results, study, key)


def test_a_score_by_hand(studies, answered):
    study, key, results, readings = scored(studies, answered)
    found = measure_realism(readings, pairs=False, margin=0.1)
    for column, result in enumerate(results):
        called = {}
        for trial, answer in zip(study.trials[result.reader], result.answers, strict=True):
            if trial.part == "main":
                called[trial.images[0]] = answer.rating >= 4
        assert len(called) == 20
        hits = [called[image] for image in called if key.images[image].synthetic]
        false = [called[image] for image in called if not key.images[image].synthetic]
        own = found["readers"][result.reader]
        assert own["sensitivity"]["value"] == pytest.approx(np.mean(hits))
        assert own["specificity"]["value"] == pytest.approx(1 - np.mean(false))
        assert own["accuracy"]["value"] == pytest.approx((sum(hits) + 10 - sum(false)) / 20)
        z = [stats.norm.ppf((sum(flags) + 0.5) / 11) for flags in (hits, false)]
        assert own["d_prime"]["value"] == pytest.approx(z[0] - z[1], rel=1e-4)
        assert own["criterion"]["value"] == pytest.approx(-(z[0] + z[1]) / 2, rel=1e-4, abs=1e-6)
        low, high = wilson(sum(hits), 10)
        assert (own["sensitivity"]["low"], own["sensitivity"]["high"]) == pytest.approx((low, high), abs=1e-5)
        assert found["sensitivity"]["readers"][readings.readers[column]] == pytest.approx(np.mean(hits))
    mean = np.mean([found["readers"][name]["sensitivity"]["value"] for name in readings.readers])
    assert found["synthetic_called_real"]["value"] == pytest.approx(1 - mean, abs=1e-5)
    assert found["by_size_px"].keys() == {"12"}
    assert found["agreement"]["with_themselves"]["n"] == 6


def test_readers_who_know_are_told_from_readers_who_guess(studies, answered):
    _, _, _, readings = scored(studies, answered, sensitivity=8, bias_sd=0, reader_sd=0, case_sd=0)
    found = measure_realism(readings, pairs=False, margin=0.1)
    assert found["accuracy"]["value"] == found["auc"]["value"] == 1
    assert found["accuracy"]["high"] == 1
    assert found["agreement"]["fleiss_kappa"]["value"] == 1
    assert found["agreement"]["with_themselves"]["value"] == 1
    assert found["equivalence"]["shown"] is False


def test_pairs_are_scored_by_who_was_chosen(studies, answered):
    settings = {"layout": "pairs", "cases": 20}
    _, _, _, readings = scored(studies, answered, settings=settings, sensitivity=9, reader_sd=0, case_sd=0)
    found = measure_realism(readings, pairs=True, margin=0.1)
    assert found["accuracy"]["value"] == 1
    z = stats.norm.ppf(20.5 / 21)
    assert found["d_prime"]["value"] == pytest.approx(math.sqrt(2) * z, rel=1e-4)
    assert "sensitivity" not in found


def test_findings_are_counted_where_asked_and_elsewhere(studies, answered):
    settings = {"task": "findings"}
    study, key, results, _ = scored(studies, answered, settings=settings, seen=1.0, imagined=0.0)
    found = make_score(study, key, results)["findings"]
    assert found["confirmed"]["synthetic"]["value"] == found["confirmed"]["real"]["value"] == 1
    mass = found["by_finding"]["Mass"]
    assert (mass["synthetic_there"]["value"], mass["synthetic_elsewhere"]["value"]) == (1, 0)
    assert mass["fleiss_kappa"]["value"] == 1
    study, key, results, _ = scored(studies, answered, settings=settings, seen=0.0, imagined=0.0)
    found = make_score(study, key, results)["findings"]
    assert found["by_finding"]["Mass"]["synthetic_there"]["value"] == 0


def test_reviews_give_frequencies_and_lifts_beside_the_labels(studies, answered):
    study, key, results, readings = scored(studies, answered, settings={"task": "review"}, seen=1.0, imagined=0.3)
    review = make_score(study, key, results)["review"]
    assert sorted(review) == ["Effusion", "Mass", "No Finding"]
    for name, found in review.items():
        for item, sides in found["items"].items():
            for side in sides.values():
                assert sum(share["value"] for share in side.values()) == pytest.approx(1, abs=1e-4), item
        assert name not in found["lifts"]
    mass = review["Mass"]["lifts"]["Effusion"]
    own = (readings.finding == "Mass") & readings.synthetic
    expected = readings.ticked[own][:, :, 0].mean() / readings.ticked[readings.synthetic][:, :, 0].mean()
    assert mass["synthetic"]["value"] == pytest.approx(expected, rel=1e-4)
    assert mass["real"]["floor"]["value"] == key.lifts["Mass"]["Effusion"]


# ---- simulated readers and the calibration of the intervals ----


def test_the_integrated_truth_is_that_of_very_many_readers_and_films():
    model = ReaderModel(sensitivity=1.2, bias=0.3, reader_sd=0.4, bias_sd=0.3, case_sd=0.6)
    truth, rng = true_values(model), np.random.default_rng(0)
    synthetic = np.arange(4000) % 2
    ratings = np.concatenate([draw_ratings(synthetic, 50, model, rng) for _ in range(6)], axis=1)
    hits, alarms = ratings[synthetic == 1] >= 4, ratings[synthetic == 0] >= 4
    assert hits.mean() == pytest.approx(truth["sensitivity"], abs=0.01)
    assert 1 - alarms.mean() == pytest.approx(truth["specificity"], abs=0.01)
    assert (hits.mean() + 1 - alarms.mean()) / 2 == pytest.approx(truth["accuracy"], abs=0.01)
    assert truth["synthetic_called_real"] == pytest.approx(1 - truth["sensitivity"])
    counts = [[(ratings[synthetic == kind] == rating).mean() for rating in range(1, 7)] for kind in (0, 1)]
    below = np.cumsum(counts[0]) - np.array(counts[0]) / 2
    assert np.dot(counts[1], below) < truth["auc"] + 0.03  # of all readers mixed; never above their mean by much


def test_guessing_readers_are_at_one_half_whatever_their_bias():
    truth = true_values(ReaderModel(sensitivity=0, reader_sd=0, bias=0.7))
    assert truth["accuracy"] == pytest.approx(0.5)
    assert truth["auc"] == pytest.approx(0.5)
    assert truth["sensitivity"] < 0.4


def test_ratings_go_from_one_to_six():
    assert [rate(x, 0.0) for x in (-9, -0.8, -0.1, 0.1, 0.8, 9)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("settings", [{"reader_sd": -1}, {"seen": 2}, {"sensitivity": nan}, {"case_sd": 1e9}])
def test_impossible_readers_are_refused(settings):
    with pytest.raises(SettingsError):
        ReaderModel(**settings)


def test_simulated_results_are_reproducible_and_scored_like_any(studies, answered):
    folder = studies(task="realism")
    first = [path.read_bytes() for path in answered(folder, seed=4)]
    again = [path.read_bytes() for path in answered(folder, seed=4)]
    other = [path.read_bytes() for path in answered(folder, seed=5)]
    assert first == again
    assert first[0] != other[0]


# Each with 1,000 studies, which know a share of .93 or .97 to about .01; measured: .933 to .976.
MODELS = [
    (200, 3, ReaderModel()),
    (200, 5, ReaderModel()),
    (60, 3, ReaderModel()),
    (200, 3, ReaderModel(sensitivity=0.3, reader_sd=0, bias_sd=0, case_sd=0)),
    (200, 6, ReaderModel(sensitivity=0, reader_sd=0)),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("cases", "readers", "model"), MODELS)
def test_intervals_hold_the_truth_as_often_as_they_promise(cases, readers, model):
    for found in measure_coverage(cases, readers, model, studies=1000):
        assert 0.92 <= found.readers_and_cases <= 0.98, found


def test_coverage_is_reproducible_and_counts():
    one, again = (measure_coverage(20, 3, ReaderModel(), studies=4) for _ in range(2))
    assert one == again
    assert {found.studies for found in one} == {4}
    assert {found.figure for found in one} >= {"accuracy", "synthetic_called_real", "auc", "d_prime"}
