import numpy as np
import pytest

from xrarchive.validation.vendi import vendi


def by_kernel(rows):
    """Definition 3.1 of the paper on the N x N kernel of cosines."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(units @ units.T / len(units))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (12, 12)])
def test_it_is_that_of_the_kernel_whichever_side_is_smaller(rng, shape):
    rows = rng.normal(0.5, 1, shape)
    assert vendi(rows).value == pytest.approx(by_kernel(rows), rel=1e-9)


def test_one_image_many_times_is_one_and_orthogonal_rows_are_all_there_are(rng):
    row = rng.normal(size=9)
    same = vendi(np.tile(row, (30, 1)) * rng.uniform(0.5, 2, (30, 1)))
    assert (same.value, same.low, same.high) == pytest.approx((1, 1, 1), abs=1e-6)
    assert vendi(np.eye(7)).value == pytest.approx(7)


def test_repeats_count_against_a_set_and_their_order_does_not(rng):
    rows = rng.normal(size=(200, 30))
    few = np.repeat(rows[:10], 20, axis=0)
    assert vendi(few).value == pytest.approx(vendi(rows[:10]).value)
    assert vendi(few).high < vendi(rows).low
    assert vendi(rows[::-1]).value == pytest.approx(vendi(rows).value)


def test_the_interval_is_that_of_drawing_anew():
    spread = np.linspace(0.1, 1, 12)

    def draw(seed):
        return np.random.default_rng(seed).normal(0.3, 1, (300, 12)) * spread

    values = [vendi(draw(seed)).value for seed in range(150)]
    found = vendi(draw(1000))
    assert found.high - found.low == pytest.approx(np.subtract(*np.quantile(values, [0.975, 0.025])), rel=0.25)


def test_films_of_one_patient_are_not_independent(rng):
    rows = np.repeat(rng.normal(size=(50, 8)), 4, axis=0) + 0.01 * rng.normal(size=(200, 8))
    alone, together = vendi(rows), vendi(rows, groups=np.repeat(np.arange(50), 4).astype(str))
    assert together.value == alone.value
    assert together.high - together.low > 1.7 * (alone.high - alone.low)


@pytest.mark.parametrize("rows", [np.zeros((3, 2)), [[1.0, np.nan]], np.ones(4), np.empty((0, 3)), [[np.inf, 1.0]]])
def test_rows_without_a_direction_are_a_bug(rows):
    with pytest.raises(ValueError, match="no row all 0"):
        vendi(rows)
