import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_formulas import transfer_by_pairs

from xrarchive import estimates
from xrarchive.estimates import bootstrap_estimates, weighted_mean
from xrarchive.validation import labels
from xrarchive.validation.labels import dose, exaggeration, exaggeration_excess, transfer

NORMAL_95 = 1.6449


def films(seed=0, count=600, accepted_shift=1.2):
    """Judge logits, labels and which films a guide that agrees with the judge would accept."""
    rng = np.random.default_rng(seed)
    present = rng.random(count) < 0.3
    judge = rng.normal(size=count) + accepted_shift * present
    accepted = (rng.normal(size=count) + accepted_shift * present) > 1.0
    return judge, present, accepted


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8), st.integers(3, 9))
def test_transfer_agrees_with_pairs(seed, asked_count, random_count, real_count):
    rng = np.random.default_rng(seed)
    asked, random, real = (rng.integers(0, 5, n).astype(float) for n in (asked_count, random_count, real_count))
    accepted = real >= np.sort(real)[-2]
    ratio, synthetic, control = transfer_by_pairs(asked, random, real, accepted)
    found = transfer(asked, random, real, accepted, seed=0, resamples=20)
    assert found.synthetic.value == pytest.approx(synthetic, abs=1e-12)
    assert found.control.value == pytest.approx(control, abs=1e-12)
    if control > 0.5:
        assert found.transfer.value == pytest.approx(ratio, abs=1e-12)
    else:
        assert not found.transfer.defined


def test_images_no_different_from_accepted_films_transfer_fully():
    judge, _, accepted = films(1, 2000)
    other, _, other_accepted = films(2, 2000)
    found = transfer(other[other_accepted], other, judge, accepted, seed=0)
    assert found.transfer.low < 1 < found.transfer.high
    assert found.transfer.low > 0.7
    assert found.transfer.left_out == 0


def test_images_that_fool_the_guide_alone_do_not_transfer():
    judge, _, accepted = films(1)
    rng = np.random.default_rng(3)
    found = transfer(rng.normal(size=300), rng.normal(size=300), judge, accepted, seed=0)
    assert found.transfer.low < 0 < found.transfer.high
    assert found.control.low > 0.5


def test_transfer_covers_the_truth_about_as_often_as_it_says():
    judge, _, accepted = films(0, 200_000)
    control = np.searchsorted(np.sort(judge), judge[accepted]).mean() / judge.size
    truth = (0.7602 - 0.5) / (control - 0.5)  # unit normals one apart: Phi(1 / sqrt 2)
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        some, _, chosen = films(seed, 300)
        found = transfer(rng.normal(1, 1, 100), rng.normal(size=100), some, chosen, seed=seed, resamples=200)
        covered += found.transfer.low <= truth <= found.transfer.high
    assert covered >= 51


def test_resamples_without_a_control_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    asked, random, real = rng.normal(1, 1, 50), rng.normal(size=50), rng.normal(size=40)
    accepted = np.arange(40) < 10
    real[:10] += 0.4 - real[:10].mean() + real[10:].mean()
    found = transfer(asked, random, real, accepted, seed=0)
    assert found.control.low < 0.5
    assert 0.01 < found.transfer.left_out < 0.5
    assert found.transfer.low > 0


def test_no_ratio_where_the_guide_knows_nothing_of_real_films():
    real = np.arange(20.0)
    found = transfer(real, real, real, real < 5, seed=0, resamples=50)
    assert found.control.value < 0.5
    assert found.synthetic.value == 0.5
    assert not found.transfer.defined
    assert np.isnan([found.transfer.low, found.transfer.high]).all()


def test_patients_widen_the_interval():
    judge, _, accepted = films(4, 60)
    judge, accepted = np.repeat(judge, 10), np.repeat(accepted, 10)
    asked, random = np.random.default_rng(0).normal(size=(2, 300))
    by_patient, by_film = (
        transfer(asked, random, judge, accepted, groups=groups, seed=0).control
        for groups in (np.arange(600) // 10, None)
    )
    assert by_patient.value == by_film.value
    assert by_patient.high - by_patient.low > 2 * (by_film.high - by_film.low)


def test_dose_puts_real_negatives_at_0_and_real_positives_at_1(rng):
    negative, positive = rng.normal(size=200), rng.normal(2, 1, 80)
    for asked, expected in ((negative, 0), (positive, 1), (2 * positive - negative.mean(), 2)):
        assert dose(asked, positive, negative, seed=0, resamples=20).value == pytest.approx(expected, abs=1e-12)
    assert dose([3.0], [2.0, 4.0], [0.0, 2.0], seed=0, resamples=20).value == 1.0
    between = dose(rng.normal(1, 1, 200), positive, negative, seed=0)
    assert between.low < 0.5 < between.high
    assert not dose(positive, negative, positive, seed=0, resamples=20).defined


def test_a_patient_on_two_sides_is_drawn_once_for_both(rng):
    """The control's films are among the positives: drawn together their dose cannot vary, drawn apart it does."""
    positive, negative, names = rng.normal(2, 1, 40), np.zeros(10), np.arange(40)
    together = dose(positive, positive, negative, asked_groups=names, positive_groups=names, seed=0)
    apart = dose(positive, positive, negative, positive_groups=names, seed=0)
    assert (together.low, together.high) == pytest.approx((1, 1))
    assert apart.high - apart.low > 0.1


def test_five_percent_of_real_positives_are_exaggerated_by_definition(rng):
    positive = rng.normal(size=400)
    assert exaggeration(positive, positive, seed=0, resamples=20).value == 0.05
    assert exaggeration([0.96, 0.95, 7], np.arange(1, 101) / 100, seed=0, resamples=20).value == pytest.approx(2 / 3)
    found = exaggeration(rng.normal(NORMAL_95, 1, 400), positive, seed=0)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.3


def test_excess_over_the_control(rng):
    positive, control = rng.normal(size=500), rng.normal(size=300)
    same = exaggeration_excess(rng.normal(size=500), control, positive, seed=0)
    assert same.low < 0 < same.high
    more = exaggeration_excess(rng.normal(1, 1, 500), control, positive, seed=0)
    assert more.low > 0.05
    expected = (
        exaggeration(control + 1, positive, seed=0, resamples=5).value
        - exaggeration(control, positive, seed=0, resamples=5).value
    )
    assert exaggeration_excess(control + 1, control, positive, seed=0, resamples=5).value == pytest.approx(expected)


def test_weighted_quantile_counts_rows_as_copies_would(rng):
    values, times = rng.integers(0, 30, 50).astype(float), rng.integers(0, 4, (20, 50)).astype(float)
    found = labels._quantile(values, times, 0.95)
    for row, cut in zip(times, found, strict=True):
        assert cut == np.quantile(np.repeat(values, row.astype(int)), 0.95, method="inverted_cdf")


def test_same_seed_same_interval_and_blocks_change_nothing(monkeypatch):
    judge, _, accepted = films(5)
    asked, random = np.random.default_rng(0).normal(size=(2, 100))
    names = [f"p{n // 3}" for n in range(600)]
    one, again, other = (
        transfer(asked, random, judge, accepted, groups=names, seed=seed, resamples=100) for seed in (0, 0, 1)
    )
    assert one == again != other
    monkeypatch.setattr(estimates, "_BLOCK_CELLS", 5000)
    assert transfer(asked, random, judge, accepted, groups=names, seed=0, resamples=100) == one


def test_adding_a_number_leaves_the_others_as_they_were(rng):
    values = rng.normal(size=30)

    def once(times):
        return weighted_mean(values, times)[None]

    def thrice(times):
        return np.repeat(once(times), 3, axis=0)

    single = bootstrap_estimates(once, [(30, None)], name="x", seed=0)[0]
    assert bootstrap_estimates(thrice, [(30, None)], name="x", seed=0) == [single] * 3
    assert bootstrap_estimates(once, [(30, None)], name="y", seed=0)[0] != single


def test_refuses_what_is_no_side():
    judge, _, accepted = films()
    with pytest.raises(ValueError, match="asked must be finite"):
        transfer([np.nan], judge, judge, accepted, seed=0)
    with pytest.raises(ValueError, match="random must be finite"):
        transfer(judge, [], judge, accepted, seed=0)
    with pytest.raises(ValueError, match="accepted must be"):
        transfer(judge, judge, judge, np.zeros(600, bool), seed=0)
    with pytest.raises(ValueError, match="accepted must be"):
        transfer(judge, judge, judge, accepted[:-1], seed=0)
    with pytest.raises(ValueError, match="groups must be"):
        dose(judge, judge, judge, positive_groups=["a"], seed=0)
