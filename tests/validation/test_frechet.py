import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_formulas import frechet_by_sqrtm

from xrarchive.validation import frechet
from xrarchive.validation.frechet import (
    fit_gaussian,
    frechet_distance,
    frechet_resampled,
    gaussian_distance,
    images_needed,
)


def draw(rng, count, dim, shift=0.0):
    mixing = np.random.default_rng(dim).normal(size=(dim, dim))
    return rng.normal(size=(count, dim)) @ mixing + shift


@pytest.mark.parametrize("dim", [1, 2, 16, 64])
def test_agrees_with_the_matrix_square_root(rng, dim):
    first, second = draw(rng, 400, dim), draw(rng, 300, dim, shift=0.3) * 1.2
    expected = frechet_by_sqrtm(first, second) if dim > 1 else one_dimensional(first, second)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


def one_dimensional(first, second):
    return (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 24))
def test_of_a_set_with_itself_is_zero(seed, count, dim):
    features = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    scale = float(np.var(features, axis=0).sum()) + 1e-12
    assert frechet_distance(features, features) <= 1e-6 * scale


def test_does_not_depend_on_row_order_nor_on_sides(rng):
    first, second = draw(rng, 200, 8), draw(rng, 250, 8, shift=1.0)
    value = frechet_distance(first, second)
    assert frechet_distance(first[::-1], rng.permutation(second)) == pytest.approx(value, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(value, rel=1e-9)


def test_works_without_full_rank(rng):
    first, second = draw(rng, 20, 64), draw(rng, 20, 64)
    first[:, :10] = second[:, :10] = 0
    assert np.isfinite(frechet_distance(first, second))


def test_weights_count_rows_as_copies_would(rng):
    features = draw(rng, 50, 5)
    counts = rng.integers(0, 4, 50).astype(float)
    copies = np.repeat(features, counts.astype(int), axis=0)
    assert gaussian_distance(fit_gaussian(features, counts), fit_gaussian(copies)) < 1e-8


def test_resamples_centre_on_the_estimate(rng):
    first, second = draw(rng, 120, 10), draw(rng, 150, 10, shift=1.0)
    drawn = rng.multinomial(120, np.full(120, 1 / 120), 200), rng.multinomial(150, np.full(150, 1 / 150), 200)
    resampled = frechet_resampled(first, second, *(d.astype(float) for d in drawn), np.arange(150))
    assert resampled.mean() == pytest.approx(frechet_distance(first, second), rel=1e-6)
    assert resampled.std() > 0


def test_the_spread_in_the_leading_components_is_that_of_all_of_them(rng, monkeypatch):
    """With variances that fall as those of image features do; 12 of 48 dimensions hold nearly all of it."""
    scales = 1 / np.arange(1, 49) ** 1.5
    first, second = rng.normal(size=(200, 48)) * scales, rng.normal(size=(220, 48)) * scales * 1.3
    drawn = rng.multinomial(200, np.full(200, 1 / 200), 300), rng.multinomial(220, np.full(220, 1 / 220), 300)
    drawn = [d.astype(float) for d in drawn]
    whole = frechet_resampled(first, second, *drawn, np.arange(220))
    monkeypatch.setattr(frechet, "SPREAD_DIMS", 12)
    leading = frechet_resampled(first, second, *drawn, np.arange(220))
    assert leading.mean() == pytest.approx(whole.mean(), rel=1e-9)
    assert leading.std() == pytest.approx(whole.std(), rel=0.1)


@pytest.mark.usefixtures("_torchvision")
@pytest.mark.filterwarnings("ignore:The `disp` argument")  # pytorch-fid 0.3 was written for an older scipy
@pytest.mark.parametrize("dim", [8, 64])
def test_agrees_with_pytorch_fid_and_torchmetrics(rng, dim):
    theirs = pytest.importorskip("pytorch_fid.fid_score", exc_type=ImportError)
    metrics = pytest.importorskip("torchmetrics.image.fid", exc_type=ImportError)
    first, second = draw(rng, 500, dim), draw(rng, 400, dim, shift=0.3) * 1.2
    parts = [part for rows in (first, second) for part in (rows.mean(axis=0), np.cov(rows, rowvar=False))]
    found = frechet_distance(first, second)
    assert found == pytest.approx(float(metrics._compute_fid(*map(torch.from_numpy, parts))), rel=1e-6)
    assert found == pytest.approx(theirs.calculate_frechet_distance(*parts), rel=1e-6)


def test_needs_more_than_twice_the_dimension():
    assert images_needed(1280) == 2561


def test_refuses_a_single_row():
    with pytest.raises(ValueError, match="two rows"):
        fit_gaussian(np.zeros((1, 3)))
