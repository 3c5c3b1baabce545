import numpy as np
import pytest
from scipy.stats import spearmanr

from xrarchive.validation import instruments
from xrarchive.validation.instruments import draw_sides, measure_instruments, measure_snapshots, spearman


def halves(count=120, dim=6):
    pool = np.random.default_rng(0).normal(size=(2 * count, dim))
    return pool[:count], pool[count:]


@pytest.mark.parametrize("series", [[1, 2, 3, 4], [4, 3, 2, 1], [1, 3, 2, 2], [5, 1, 5, 1]])
def test_spearman_is_scipys(series):
    assert spearman(range(4), series) == pytest.approx(spearmanr(range(4), series).statistic)


def test_a_constant_series_correlates_with_nothing():
    assert spearman([1, 2, 3], [4, 4, 4]) == 0


def test_a_defect_that_grows_is_followed():
    clean, real = halves()
    found = measure_instruments(clean, real, {"shift": [clean + 0.3 * level for level in range(1, 6)]})
    for metric in ("kid", "frechet"):
        (row,) = found[metric]["degradations"]
        assert row["name"] == "shift"
        assert row["spearman"]["value"] == 1
        assert row["values"] == sorted(row["values"])
        assert len(row["values"]) == 6


def test_a_measure_that_does_not_follow_is_seen():
    clean, real = halves()
    levels = [clean + shift for shift in (5, 4, 3, 2, 1)]
    found = measure_instruments(clean, real, {"backwards": levels})
    assert found["kid"]["degradations"][0]["spearman"]["value"] < instruments.BAR


def test_too_few_films_for_a_frechet_distance_give_the_reason():
    clean, real = halves(20, 64)
    found = measure_instruments(clean, real, {"shift": [clean]})
    assert "needs 129 images per side" in found["frechet"]["reason"]
    assert found["kid"]["degradations"]


def test_a_training_that_learns_is_followed():
    clean, real = halves()
    found = measure_snapshots({nimg: clean + 1000 / nimg for nimg in (4000, 1000, 2000)}, real)
    assert found["kid"]["value"] == found["frechet"]["value"] == 1
    assert found["kid"]["nimg"] == [1000, 2000, 4000]
    assert "three snapshots" in measure_snapshots({1: clean, 2: clean}, real)["kid"]["reason"]


def test_sides_share_no_patient_and_keep_to_their_size(monkeypatch):
    patients = np.arange(60) // 3
    clean, real = draw_sides(patients, 60, seed=1)
    assert not set(patients[clean]) & set(patients[real])
    assert len(set(patients[clean])) == len(clean) == 10
    assert len(real) == 30
    monkeypatch.setattr(instruments, "FILMS", 7)
    monkeypatch.setattr(instruments, "COMPARED", 9)
    assert [len(rows) for rows in draw_sides(None, 60, seed=1)] == [7, 9]
