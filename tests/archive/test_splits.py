"""Splits are dealt by ids alone."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrarchive.archive.splits import assign_split, rows_of_split

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
IDS = [f"s0-Effusion-{number:06d}" for number in range(4_000)]


KNOWN = {
    "s0-Effusion-000000": "train",
    "s0-Effusion-000001": "train",
    "s0-Effusion-000002": "train",
    "s0-Effusion-000006": "validation",
    "s0-Effusion-000018": "validation",
    "s0-Effusion-000027": "validation",
    "s0-Effusion-000008": "test",
    "s0-Effusion-000012": "test",
    "s0-Effusion-000023": "test",
    "": "train",
    "é": "train",
}


def shares_of(first, second):
    low, high = sorted((first, second))
    return {"train": low, "validation": high - low, "test": 1 - high}


@given(st.floats(0, 1), st.floats(0, 1))
def test_shares_are_met(first, second):
    """Within 4.5 standard deviations of a binomial: by chance one of 100,000 would be further off."""
    shares = shares_of(first, second)
    found = [assign_split(name, shares) for name in IDS]
    for split, share in shares.items():
        allowed = 4.5 * math.sqrt(len(IDS) * share * (1 - share)) + 1
        assert abs(found.count(split) - len(IDS) * share) <= allowed


def test_ids_stay_where_they_were():
    """Of another implementation of the rule: the first eight bytes of a sha256, as a share of all."""
    assert {name: assign_split(name, SHARES) for name in KNOWN} == KNOWN


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_of_train_only_takes_in(name, first, second):
    small, large = sorted((first, second))
    before, after = (assign_split(name, {"train": share, "test": 1 - share}) for share in (small, large))
    assert (before, after) != ("train", "test")


@given(st.text())
def test_everything_belongs_somewhere_though_shares_add_up_to_less(name):
    assert assign_split(name, {"train": 0.1, "test": 0.2}) in {"train", "test"}
    assert assign_split(name, {"train": 1.0}) == "train"
    assert assign_split(name, {"train": 0.0, "test": 1.0}) == "test"


@pytest.mark.parametrize("shares", [SHARES, {"train": 1.0}, {"test": 0.5, "train": 0.5}])
def test_rows_are_dealt_once_and_keep_their_order(shares):
    table = pa.table({"image_id": IDS[:200], "row": range(200)})
    parts = [rows_of_split(table, split, shares)["row"].to_pylist() for split in shares]
    assert sorted(row for part in parts for row in part) == list(range(200))
    assert all(part == sorted(part) for part in parts)
    assert rows_of_split(table.slice(0, 0), "train", shares).num_rows == 0
