"""The search finds what a slow loop finds, whatever the blocks."""

import numpy as np
import pytest

from xrarchive.validation.privacy import search
from xrarchive.validation.privacy.films import mirrored_films, shifted_films, to_search_size
from xrarchive.validation.privacy.search import FeatureRows, Within, nearest_neighbours


def slow_distances(queries, gallery):
    """Of nearest rows: float64 [N, M]."""
    asked = queries.rows(np.arange(len(queries))).astype(np.float64).reshape(len(queries), queries.each, -1)
    there = gallery.rows(np.arange(len(gallery))).astype(np.float64).reshape(len(gallery), gallery.each, -1)
    return np.array(
        [[min(np.linalg.norm(a - b) for a in views for b in rows) for rows in there] for views in asked]
    ).reshape(len(asked), len(there))


def smooth_films(seed, count, size=16):
    rng = np.random.default_rng(seed)
    films = np.cumsum(np.cumsum(rng.normal(size=(count, size, size)), axis=1), axis=2)
    films -= films.min(axis=(1, 2), keepdims=True)
    return np.rint(films * (255 / films.max(axis=(1, 2), keepdims=True))).astype(np.uint8)


def correlated(seed, count, dims=30):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dims)) * np.linspace(3, 0.01, dims)


SIDES = {
    "features": lambda: (FeatureRows(correlated(1, 40)), FeatureRows(correlated(2, 60))),
    "films": lambda: (shifted_films(smooth_films(1, 9)), mirrored_films(smooth_films(2, 15))),
}


@pytest.fixture(params=SIDES, ids=str)
def sides(request):
    return SIDES[request.param]()


@pytest.fixture(params=[4, 128], ids=["few directions", "all directions"])
def _directions(request, monkeypatch):
    monkeypatch.setattr(search, "_SKETCH", request.param)


@pytest.mark.usefixtures("_directions")
def test_neighbours_are_those_of_a_slow_loop(sides):
    queries, gallery = sides
    slow = slow_distances(queries, gallery)
    found = nearest_neighbours(queries, gallery, 3)
    order = np.argsort(slow, axis=1, kind="stable")[:, :3]
    assert np.array_equal(found.index, order)
    np.testing.assert_allclose(found.distance, np.take_along_axis(slow, order, 1), rtol=1e-9)


@pytest.mark.usefixtures("_directions")
def test_blocks_change_nothing(sides):
    whole = nearest_neighbours(*sides, within=Within(np.full(len(sides[0]), 1.0)))
    for block_bytes in (1, 3_000, 50_000):
        found = nearest_neighbours(*sides, within=Within(np.full(len(sides[0]), 1.0)), block_bytes=block_bytes)
        for name in ("distance", "index", "within_query", "within_index"):
            assert np.array_equal(getattr(found, name), getattr(whole, name)), name


@pytest.mark.usefixtures("_directions")
def test_all_within_a_distance_are_given_nearest_first(sides):
    queries, gallery = sides
    slow = slow_distances(queries, gallery)
    limits = np.median(slow, axis=1) * 1.000001
    found = nearest_neighbours(queries, gallery, 1, within=Within(limits))
    expected = [(row, item) for row, line in enumerate(slow) for item in np.argsort(line) if line[item] < limits[row]]
    assert list(zip(found.within_query.tolist(), found.within_index.tolist(), strict=True)) == expected


def test_of_all_within_a_distance_only_some_may_be_wanted():
    queries, gallery = SIDES["features"]()
    slow = slow_distances(queries, gallery)
    among = np.arange(60) % 3 == 0
    found = nearest_neighbours(queries, gallery, 1, within=Within(np.full(40, 6.0), 2, among))
    expected = []
    for row, line in enumerate(slow):
        near = [item for item in np.argsort(line) if line[item] < 6 and among[item]]
        expected += [(row, item) for item in near[:2]]
    assert list(zip(found.within_query.tolist(), found.within_index.tolist(), strict=True)) == expected


def test_rows_without_any_structure_are_found_as_well(monkeypatch):
    monkeypatch.setattr(search, "_SKETCH", 4)
    rng = np.random.default_rng(0)
    queries, gallery = FeatureRows(rng.normal(size=(30, 64))), FeatureRows(rng.normal(size=(50, 64)))
    assert np.array_equal(
        nearest_neighbours(queries, gallery, 1).index[:, 0], slow_distances(queries, gallery).argmin(axis=1)
    )


def test_a_query_may_skip_itself():
    films = FeatureRows(correlated(1, 20))
    slow = slow_distances(films, films)
    np.fill_diagonal(slow, np.inf)
    found = nearest_neighbours(films, films, skip=np.arange(20))
    assert np.array_equal(found.index[:, 0], slow.argmin(axis=1))
    assert (found.distance > 0).all()


def test_one_film_and_fewer_films_than_neighbours():
    found = nearest_neighbours(FeatureRows(np.ones((2, 3))), FeatureRows(np.zeros((1, 3))), 2)
    assert found.index.tolist() == [[0, -1]] * 2
    np.testing.assert_allclose(found.distance, [[3**0.5, np.inf]] * 2)
    alone = nearest_neighbours(FeatureRows(np.ones((1, 3))), FeatureRows(np.ones((1, 3))), 1, skip=[0])
    assert alone.index.tolist() == [[-1]]
    assert np.isinf(alone.distance).all()


def test_equal_rows_are_at_distance_0_and_the_first_comes_first():
    rows = FeatureRows(np.repeat(correlated(3, 4), 3, axis=0) + 1000)
    found = nearest_neighbours(rows, rows, 3)
    assert not found.distance.any()
    assert np.array_equal(found.index, np.repeat(np.arange(12).reshape(4, 3), 3, axis=0))


@pytest.mark.parametrize(
    ("queries", "gallery", "k", "said"),
    [
        (np.ones((0, 2)), np.ones((1, 2)), 1, "nothing to search"),
        (np.ones((1, 2)), np.ones((0, 2)), 1, "nothing to search"),
        (np.ones((1, 2)), np.ones((1, 2)), 0, "nothing to search"),
        (np.ones((1, 2)), np.ones((1, 3)), 1, "different lengths"),
    ],
)
def test_what_cannot_be_searched_is_refused(queries, gallery, k, said):
    with pytest.raises(ValueError, match=said):
        nearest_neighbours(FeatureRows(queries), FeatureRows(gallery), k)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        FeatureRows(np.array([[1.0, bad]]))
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        FeatureRows(np.ones(3))


def test_shifted_mirrored_and_recoloured_films_are_at_distance_0():
    films = smooth_films(5, 12, size=32)
    copies = [np.roll(film, (4, -3), (0, 1)) for film in films[:3]]
    copies += [films[3][:, ::-1], films[4] // 2 + 60, films[5]]
    found = nearest_neighbours(shifted_films(np.stack(copies)), mirrored_films(films), 2)
    assert found.index[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert (found.distance[[0, 1, 2, 3, 5], 0] == 0).all()
    assert found.distance[4, 0] < 0.05 < found.distance[:, 1].min()


def test_blank_films_are_near_each_other_and_far_from_all_others():
    films = np.stack([np.zeros((16, 16), np.uint8), np.full((16, 16), 200, np.uint8), *smooth_films(1, 2)])
    found = nearest_neighbours(shifted_films(films), mirrored_films(films), 2)
    np.testing.assert_allclose(found.distance[:2], 0)
    np.testing.assert_allclose(found.distance[2:, 0], 0, atol=1e-12)
    assert (found.distance[2:, 1] > 0.3).all()


def test_large_films_are_averaged_and_odd_ones_searched_as_they_are():
    assert to_search_size(np.zeros((2, 256, 256), np.uint8)).shape == (2, 64, 64)
    assert to_search_size(np.zeros((2, 96, 96), np.uint8)).shape == (2, 96, 96)
    assert shifted_films(np.zeros((2, 8, 8), np.uint8)).shift == 2
    with pytest.raises(ValueError, match="uint8"):
        to_search_size(np.zeros((2, 8, 8)))
