import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_formulas import manifold_by_loops

from xrarchive.validation.coverage import coverage_ratio, macro_coverage_ratio, manifold


def values(found):
    return [found.precision.value, found.density.value, found.recall.value, found.coverage.value]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 12), st.integers(1, 4), st.integers(1, 2))
def test_agrees_with_the_definitions(seed, count, dim, k):
    rng = np.random.default_rng(seed)
    real, made = rng.normal(size=(count, dim)), rng.normal(size=(count, dim)) + 0.5
    assert values(manifold(real, made, k, resamples=2)) == pytest.approx(manifold_by_loops(real, made, k), abs=1e-12)


def test_a_line_by_hand():
    """Radii of 0, 1, 3, 10 for k = 1 are 1, 1, 2, 7."""
    real, made = np.array([[0.0], [1], [3], [10]]), np.array([[0.5], [0.6], [0.7], [20]])
    found = manifold(real, made, 1, resamples=2)
    assert found.precision.value == 3 / 4
    assert found.coverage.value == 2 / 4
    assert found.density.value == 6 / 4
    assert found.recall.value == 3 / 4  # all but the film at 0 lie within 19.3 of 20


def test_of_a_set_with_itself(rng):
    real = rng.normal(size=(80, 6))
    found = manifold(real, real, resamples=20)
    assert (found.precision.value, found.recall.value, found.coverage.value) == (1, 1, 1)
    assert (found.coverage.low, found.coverage.high) == (1, 1)


def test_two_draws_of_one_distribution_and_a_lost_mode(rng):
    real, made = rng.normal(size=(2, 400, 4))
    alike = manifold(real, made)
    assert alike.coverage.low > 0.85
    assert alike.density.low < 1 < alike.density.high
    narrow = manifold(real, 0.2 * made)
    assert narrow.precision.value == 1
    assert narrow.density.low > 1.2
    assert narrow.recall.high < 0.5
    assert narrow.coverage.high < alike.coverage.low


def test_precision_and_recall_change_places_with_the_sides(rng):
    real, made = rng.normal(size=(2, 100, 3)) * [[[1]], [[1.6]]]
    assert manifold(real, made).precision.value == manifold(made, real).recall.value


@pytest.mark.parametrize("cells", [1, 200, 1050])
def test_memory_bound_changes_nothing(rng, cells):
    real, made = rng.normal(size=(2, 100, 5))
    assert manifold(real, made, block_cells=cells) == manifold(real, made)


def test_far_from_the_origin_nothing_changes(rng):
    real, made = rng.normal(size=(2, 100, 5))
    assert values(manifold(real + 1e5, made + 1e5)) == values(manifold(real, made))


def test_patients_widen_the_intervals_of_real_shares(rng):
    real = np.repeat(rng.normal(size=(30, 2)), 10, axis=0) + 0.01 * rng.normal(size=(300, 2))
    made = rng.normal(size=(300, 2))
    by_film, by_patient = manifold(real, made), manifold(real, made, groups=np.arange(300) // 10)
    assert by_patient.coverage.high - by_patient.coverage.low > 1.5 * (by_film.coverage.high - by_film.coverage.low)
    assert by_patient.precision == by_film.precision
    assert by_film == manifold(real, made) != manifold(real, made, seed=1)


def test_ratio_is_of_the_two_coverages(rng):
    real, ours, theirs = rng.normal(size=(3, 300, 4))
    theirs = 0.5 * theirs
    found = coverage_ratio(real, ours, theirs, seed=0)
    expected = manifold(real, ours).coverage.value / manifold(real, theirs).coverage.value
    assert found.value == pytest.approx(expected)
    assert 1 < found.low < found.value < found.high
    same = coverage_ratio(real, ours, ours, seed=0)
    assert (same.value, same.low, same.high) == (1, 1, 1)
    assert found == coverage_ratio(real, ours, theirs, seed=0) != coverage_ratio(real, ours, theirs, seed=1)


def test_nothing_covered_by_theirs_is_undefined(rng):
    real, ours = rng.normal(size=(2, 50, 3))
    found = coverage_ratio(real, ours, ours + 1e3, seed=0)
    assert not found.defined
    assert found.left_out == 1


def test_macro_averages_before_it_divides(rng):
    sets = [(rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), 0.4 * rng.normal(size=(n, 3))) for n in (60, 200)]
    shares = [[manifold(real, made, resamples=2).coverage.value for made in pair] for real, *pair in sets]
    ours, theirs = np.mean(shares, axis=0)
    found = macro_coverage_ratio(*zip(*sets, strict=True), seed=0)
    assert found.value == pytest.approx(ours / theirs)
    assert found.low < found.value < found.high


def test_macro_draws_a_patient_once_for_all_findings(rng):
    """The same films under two findings are no more films than under one."""
    real, ours, theirs = rng.normal(size=(3, 120, 4)) * [[[1]], [[0.8]], [[0.5]]]
    names = [f"p{n // 2}" for n in range(120)]
    once = coverage_ratio(real, ours, theirs, groups=names, seed=0)
    twice = macro_coverage_ratio([real] * 2, [ours] * 2, [theirs] * 2, groups=[names] * 2, seed=0)
    assert twice == once
    apart = macro_coverage_ratio([real] * 2, [ours] * 2, [theirs] * 2, seed=0)
    assert apart.high - apart.low < once.high - once.low


def test_refuses_unequal_sides_and_too_few_rows(rng):
    real = rng.normal(size=(10, 3))
    for other in (real[:9], real[:, :2]):
        with pytest.raises(ValueError, match="one shape"):
            manifold(real, other)
        with pytest.raises(ValueError, match="one shape"):
            coverage_ratio(real, real, other, seed=0)
    for k in (0, 10):
        with pytest.raises(ValueError, match="k must be"):
            manifold(real, real, k)
    with pytest.raises(ValueError, match="finite"):
        manifold(real, np.full_like(real, np.nan))
    with pytest.raises(ValueError, match="one finding"):
        macro_coverage_ratio([], [], [], seed=0)
    with pytest.raises(ValueError, match="shorter"):
        macro_coverage_ratio([real, real], [real, real], [real], seed=0)
