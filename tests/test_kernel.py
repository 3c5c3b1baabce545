import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_formulas import kernel_pair, kid_by_loops, kid_of_copies

from xrarchive import kernel
from xrarchive.bootstrap import draw_multiplicities
from xrarchive.kernel import (
    kernel_distance,
    kernel_distance_with_self,
    kernel_resampled,
    kernel_resampled_with_self,
)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(2, 9), st.integers(1, 6))
def test_agrees_with_the_definition(seed, first_count, second_count, dim):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(first_count, dim)), rng.normal(size=(second_count, dim)) + 0.5
    assert kernel_distance(first, second) == pytest.approx(kid_by_loops(first, second), rel=1e-9, abs=1e-9)


def test_does_not_depend_on_row_order(rng):
    first, second = rng.normal(size=(60, 12)), rng.normal(size=(70, 12))
    shuffled = kernel_distance(rng.permutation(first), rng.permutation(second))
    assert shuffled == pytest.approx(kernel_distance(first, second), abs=1e-12)


def test_does_not_depend_on_the_block_size(rng, monkeypatch):
    first, second = rng.normal(size=(60, 12)), rng.normal(size=(70, 12))
    whole = kernel_distance(first, second)
    monkeypatch.setattr(kernel, "_BLOCK_CELLS", 200)
    assert kernel_distance(first, second) == pytest.approx(whole, abs=1e-12)


def test_is_unbiased_at_small_n():
    rng = np.random.default_rng(3)
    values = [kernel_distance(rng.normal(size=(10, 4)), rng.normal(size=(10, 4))) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_patients_drawn_once_give_the_plain_distance(rng):
    first, second = rng.normal(size=(20, 6)), rng.normal(size=(24, 6))
    codes = np.arange(24) // 3
    once = kernel_resampled(first, second, np.ones((1, 20)), np.ones((1, 8)), codes)
    assert once[0] == pytest.approx(kernel_distance(first, second), rel=1e-9)


def test_a_resample_leaves_out_pairs_across_copies(rng):
    first, second = rng.normal(size=(5, 3)), rng.normal(size=(7, 3))
    codes = np.array([0, 0, 1, 2, 2, 2, 3])
    drawn_first, drawn_second = np.array([2.0, 0, 1, 1, 1]), np.array([2.0, 1, 0, 1])
    first_copies = [(i, first[i]) for i in range(5) for _ in range(int(drawn_first[i]))]
    copies = [(p, c, row) for p in range(4) for c in range(int(drawn_second[p])) for row in second[codes == p]]
    expected = kid_of_copies(first_copies, [row for _, _, row in copies], [(p, c) for p, c, _ in copies])
    found = kernel_resampled(first, second, drawn_first[None], drawn_second[None], codes)
    assert found[0] == pytest.approx(expected, rel=1e-9)


def test_resamples_are_not_biased_upward(rng):
    first, second = rng.normal(size=(60, 8)), rng.normal(size=(60, 8)) + 0.3
    codes = np.arange(60) // 2
    drawn = draw_multiplicities(np.arange(60), 2000, rng), draw_multiplicities(codes, 2000, rng)
    resampled = kernel_resampled(first, second, *drawn, codes)
    assert resampled.mean() == pytest.approx(kernel_distance(first, second), abs=0.1 * resampled.std())


def test_refuses_what_has_no_pairs():
    with pytest.raises(ValueError, match="two rows"):
        kernel_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="dimensions"):
        kernel_distance(np.zeros((4, 3)), np.zeros((5, 2)))


def test_with_self_is_the_mean_over_all_pairs(rng):
    first, second = rng.normal(size=(7, 3)), rng.normal(size=(9, 3)) + 0.5
    pairs = [
        np.mean([[kernel_pair(x, y) for x in a] for y in b]) for a, b in ((first,) * 2, (second,) * 2, (first, second))
    ]
    expected = pairs[0] + pairs[1] - 2 * pairs[2]
    assert kernel_distance_with_self(first, second) == pytest.approx(expected, rel=1e-9)
    once = kernel_resampled_with_self(first, second, np.ones((1, 7)), np.ones((1, 9)), np.arange(9))
    assert once[0] == pytest.approx(expected, rel=1e-9)
    assert kernel_distance_with_self(first, first) == pytest.approx(0, abs=1e-9)


@pytest.mark.usefixtures("_torchvision")
def test_agrees_with_torchmetrics(rng):
    theirs = pytest.importorskip("torchmetrics.image.kid", exc_type=ImportError)
    first, second = rng.normal(size=(50, 12)), rng.normal(size=(50, 12)) + 0.3
    expected = float(theirs.poly_mmd(torch.from_numpy(first), torch.from_numpy(second)))
    assert kernel_distance(first, second) == pytest.approx(expected, rel=1e-6)
