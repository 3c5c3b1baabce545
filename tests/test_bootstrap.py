import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrarchive.bootstrap import disjoint_halves, draw_multiplicities, group_codes, make_rng


def test_rows_of_one_patient_share_a_code_and_blanks_do_not():
    codes = group_codes(["b", "", "a", "b", ""], 5)
    assert codes[0] == codes[3]
    assert len(set(codes.tolist())) == 4
    with pytest.raises(ValueError, match="groups"):
        group_codes(["a"], 2)


def test_every_resample_draws_as_many_groups_as_there_are(rng):
    drawn = draw_multiplicities(np.array([0, 0, 1, 2]), 50, rng)
    assert drawn.shape == (50, 3)
    assert (drawn.sum(axis=1) == 3).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=60), st.integers(1, 40), st.integers(0, 999))
def test_halves_share_no_patient_and_are_equal_in_size(groups, count, seed):
    codes = group_codes(np.array(groups), len(groups))
    first, second = disjoint_halves(codes, count, np.random.default_rng(seed))
    assert len(first) == len(second) <= count
    assert not set(codes[first]) & set(codes[second])
    assert len(set(first)) == len(first)


def test_streams_differ_by_name_and_repeat_by_seed():
    assert make_rng(0, "a").random() == make_rng(0, "a").random()
    assert len({make_rng(0, "a").random(), make_rng(0, "b").random(), make_rng(1, "a").random()}) == 3
