import numpy as np
import pytest

from xrarchive.validation.cooccurrence import (
    as_lists,
    co_occurrence,
    co_occurrence_distance,
    co_occurrence_estimate,
    real_distance,
)


def distance_by_loops(first, second):
    def shares(flags, i, j):
        rows = flags[flags[:, i]]
        return rows[:, j].mean() if len(rows) else None

    total = weight = 0.0
    for i in range(first.shape[1]):
        others = [j for j in range(first.shape[1]) if j != i]
        if not (first[:, i].any() and second[:, i].any()):
            continue
        w = first[:, i].mean() + second[:, i].mean()
        total += w * np.mean([abs(shares(first, i, j) - shares(second, i, j)) for j in others])
        weight += w
    return total / weight


def draw(rng, count, together=0.5):
    first = rng.random(count) < 0.4
    second = np.where(first, rng.random(count) < together, rng.random(count) < 0.2)
    return np.stack([first, second, rng.random(count) < 0.3], axis=1)


def test_the_matrix_is_of_shares_given_a_finding():
    flags = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], bool)
    matrix = co_occurrence(flags)
    np.testing.assert_allclose(matrix[:2], [[1, 2 / 3, 0], [2 / 3, 1, 0]])
    assert np.isnan(matrix[2]).all()
    assert as_lists(matrix) == [[1, 0.6667, 0], [0.6667, 1, 0], [None] * 3]


def test_the_distance_is_that_of_the_formula_and_a_distance(rng):
    first, second = draw(rng, 60), draw(rng, 45, together=0.9)
    second[:, 2] = False
    assert co_occurrence_distance(first, second) == pytest.approx(distance_by_loops(first, second))
    assert co_occurrence_distance(second, first) == pytest.approx(co_occurrence_distance(first, second))
    assert co_occurrence_distance(first, first) == 0


def test_it_is_bounded_and_blind_to_how_common_a_finding_is():
    alone, together = np.eye(4, dtype=bool), np.ones((5, 4), bool)
    assert co_occurrence_distance(alone, together) == 1
    assert co_occurrence_distance(np.repeat(alone, [1, 5, 9, 2], axis=0), alone) == 0


def test_nothing_in_common_is_undefined():
    assert np.isnan(co_occurrence_distance([[True, False]], [[False, True]]))
    assert np.isnan(co_occurrence_distance([[True]], [[True]]))
    assert not co_occurrence_estimate(np.eye(2, dtype=bool)[:1], np.eye(2, dtype=bool)[1:], seed=0).defined


def test_the_interval_holds_the_value_and_sees_a_difference(rng):
    real = draw(rng, 800)
    alike, other = (co_occurrence_estimate(draw(rng, 400, share), real, seed=0, resamples=200) for share in (0.5, 0.9))
    floor, count = real_distance(real, count=400, groups=None, seed=0)
    assert count == 400
    assert alike.low <= alike.value <= alike.high
    assert alike.low < floor < other.low


def test_patients_are_drawn_whole(rng):
    real = np.repeat(draw(rng, 60), 5, axis=0)
    ours = draw(rng, 2_000)
    patients = np.repeat(np.arange(60), 5).astype(str)
    together = co_occurrence_estimate(ours, real, groups=patients, seed=0, resamples=300)
    alone = co_occurrence_estimate(ours, real, seed=0, resamples=300)
    assert together.value == alone.value
    assert together.high > alone.high
    _, count = real_distance(real, count=1_000, groups=patients, seed=0)
    assert count == 150


def test_paired_rows_are_drawn_once(rng):
    asked = draw(rng, 200)
    same = co_occurrence_estimate(asked, asked, paired=True, seed=0, resamples=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert co_occurrence_estimate(asked, asked, seed=0, resamples=50).high > 0
    with pytest.raises(ValueError, match="same rows"):
        co_occurrence_estimate(asked, asked[:-1], paired=True, seed=0)


@pytest.mark.parametrize("flags", [np.ones((2, 2)), np.ones(3, bool), np.empty((0, 2), bool)])
def test_other_shapes_are_a_bug(flags):
    with pytest.raises(ValueError, match="bool"):
        co_occurrence(flags)
