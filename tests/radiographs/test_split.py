from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrarchive.errors import InputDataError
from xrarchive.radiographs import patient_folds
from xrarchive.radiographs.split import assign_split, carve_validation, parse_split, require_whole_patients

PATIENTS = [f"p{index}" for index in range(20_000)]


def test_shares_are_80_10_10() -> None:
    shares = Counter(map(assign_split, PATIENTS))
    assert shares["train"] / len(PATIENTS) == pytest.approx(0.8, abs=0.01)
    assert shares["validation"] / len(PATIENTS) == pytest.approx(0.1, abs=0.01)
    assert shares["test"] / len(PATIENTS) == pytest.approx(0.1, abs=0.01)


def test_a_split_never_changes() -> None:
    """Golden: made by this function on 2026-11-23; another value would move patients between train and test."""
    assert [assign_split(name) for name in ("1", "2", "nih00001", "image:a.png")] == [
        "validation",
        "train",
        "train",
        "train",
    ]


def test_validation_is_a_ninth_of_what_is_not_test() -> None:
    shares = Counter(map(carve_validation, PATIENTS))
    assert shares["validation"] / len(PATIENTS) == pytest.approx(1 / 9, abs=0.01)
    assert set(shares) == {"train", "validation"}


@pytest.mark.parametrize(
    ("word", "split"), [("val", "validation"), ("Validation", "validation"), (" TEST ", "test"), ("holdout", "holdout")]
)
def test_split_words(word: str, split: str) -> None:
    assert parse_split(word, where="labels.csv:2") == split


@pytest.mark.parametrize(("word", "hint"), [("tain", "'train'"), ("vall", "'validation'"), ("", "not a split")])
def test_unknown_split_words_name_line_and_nearest(word: str, hint: str) -> None:
    with pytest.raises(InputDataError, match=rf"labels.csv:2: .*{hint}"):
        parse_split(word, where="labels.csv:2")


def test_a_torn_patient_is_named_with_splits_and_images() -> None:
    rows = [("p1", "train", "a.png"), ("p2", "test", "b.png"), ("p1", "test", "c.png"), ("p1", "train", "d.png")]
    with pytest.raises(InputDataError) as caught:
        require_whole_patients(rows)
    assert caught.value.message == "Patient 'p1' is in 2 splits (test: c.png; train: a.png, d.png)."
    assert caught.value.code == 3


@given(st.lists(st.sampled_from(PATIENTS[:40]), min_size=1, max_size=80), st.integers(2, 6), st.integers(0, 9))
def test_folds_keep_patients_whole_balanced_and_in_place(patients: list[str], folds: int, seed: int) -> None:
    distinct = set(patients)
    if len(distinct) < folds:
        with pytest.raises(ValueError, match="cannot deal"):
            patient_folds(patients, folds, seed)
        return
    fold = patient_folds(patients, folds, seed)
    assert fold.dtype == np.int64
    assert fold.shape == (len(patients),)
    fold_of = dict(zip(patients, fold.tolist(), strict=True))
    assert all(fold_of[patient] == place for patient, place in zip(patients, fold.tolist(), strict=True))
    sizes = Counter(fold_of.values())
    assert set(sizes) == set(range(folds))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert patient_folds(patients[::-1], folds, seed).tolist() == fold.tolist()[::-1]


def test_another_seed_deals_other_folds() -> None:
    assert patient_folds(PATIENTS[:100], 5, 0).tolist() != patient_folds(PATIENTS[:100], 5, 1).tolist()


def test_one_fold_is_no_cross_fitting() -> None:
    with pytest.raises(ValueError, match="cannot deal 3 patients into 1 folds"):
        patient_folds(["a", "b", "c"], 1, 0)
