from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from xrarchive.classifier.nuisances import read_nuisances

NAN = float("nan")


def films(**changes: Any) -> Any:
    columns = {
        "views": ["AP", "PA", "", "LL", "PA", "AP"],
        "sexes": ["M", "F", "", "F", "M", "M"],
        "ages": [10, 20, NAN, 30, 40, 55],
        "sources": ["a", "b", "", "a", "c", "a"],
    }
    return SimpleNamespace(**{name: np.array(values) for name, values in (columns | changes).items()})


def labels(radiographs: Any, name: str, *, rows: Any = range(6), min_positives: int = 1) -> list[float]:
    found = read_nuisances(radiographs, np.array(rows), min_positives)
    assert found.labels.dtype == np.float32
    return found.labels[:, found.names.index(name)].tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("view", [1, 0, NAN, NAN, 0, 1]),
        ("sex", [1, 0, NAN, 0, 1, 1]),
        ("age", [0, 0, NAN, 1, 1, 1]),
        ("source", [1, 0, NAN, 1, 0, 1]),
    ],
)
def test_labels_of_each_nuisance_unknown_is_nan(name: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(labels(films(), name), expected)


def test_what_one_stands_for_is_told() -> None:
    assert read_nuisances(films(), np.arange(6), 1).positive == {
        "view": "AP",
        "sex": "M",
        "age": 30,
        "source": "the commonest",
    }
    # A median between two years: at or above it is at or above the next whole year.
    assert read_nuisances(films(ages=[10, 20, 31, 40, NAN, NAN]), np.arange(6), 1).positive["age"] == 26


def test_only_the_given_rows_count() -> None:
    assert labels(films(), "source", rows=[1, 3, 5]) == [0, 1, 1]
    assert read_nuisances(films(), np.array([0, 4, 5]), 1).positive["age"] == 40


def test_a_nuisance_needs_enough_films_of_both_values() -> None:
    assert read_nuisances(films(), np.arange(6), 2).names == ("view", "sex", "age", "source")
    assert read_nuisances(films(views=["AP"] * 6), np.arange(6), 1).names == ("sex", "age", "source")
    nothing = films(views=[""] * 6, sexes=[""] * 6, ages=[NAN] * 6, sources=[""] * 6)
    assert read_nuisances(nothing, np.arange(6), 1).labels.shape == (6, 0)
