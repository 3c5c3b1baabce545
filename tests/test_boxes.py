"""Requests to boxes, with a guide whose scores on real radiographs are known to the last digit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrarchive.boxes import (
    bars_by_stratum,
    draw_targets,
    lowest_bars,
    make_boxes,
    nuisance_tolerance,
    stratum_shifts,
)
from xrarchive.errors import InputDataError
from xrarchive.plan import Plan, PlannedImage, SearchSettings
from xrarchive.records import ImageRequest
from xrarchive.statistics import to_logit


@dataclasses.dataclass(frozen=True)
class KnownGuide:
    """Real radiographs score evenly between 0 and the spread of each output."""

    vocabulary: tuple[str, ...] = ("No Finding", "Edema", "Mass")
    nuisances: tuple[str, ...] = ("view", "sex")
    thresholds: np.ndarray = dataclasses.field(default_factory=lambda: np.array([0.5, 0.2, 0.9], np.float32))

    def bar(self, name: str, strictness: float, *, where: tuple[str, bool] | None = None) -> float:
        spread = {"No Finding": 1.0, "Edema": 10.0, "Mass": 100.0, "view": 4.0, "sex": 8.0}[name]
        return spread * (1 - strictness) * (1 if where is None else 1.5 if where[1] else 0.5)

    def prevalence(self, finding: str) -> float:
        return {"No Finding": 0.5, "Edema": 0.02, "Mass": 0.1}[finding]


GUIDE = KnownGuide()
REQUESTS = (ImageRequest(("Mass",), 400), ImageRequest(("Mass", "Edema"), 3, absent=("No Finding",)))


def make_plan(requests: tuple[ImageRequest, ...] = REQUESTS, **search: object) -> Plan:
    return Plan(requests, {}, 0, SearchSettings(**search))  # type: ignore[arg-type]


def planned(plan: Plan) -> list[PlannedImage]:
    return [image for index in range(plan.units) for image in plan.unit(index)]


def test_targets_are_distributed_as_the_real_radiographs_above_the_bar() -> None:
    plan = make_plan()
    targets = np.array([draw_targets(image, plan, GUIDE)[0] for image in planned(plan) if image.request == 0])
    assert targets.min() >= GUIDE.bar("Mass", 0.05) == pytest.approx(95)
    # Evenly between the bar and the more marked half that is spared, as the radiographs are.
    found = np.sort(targets - 95) / 2.5
    assert np.abs(found - (np.arange(400) + 0.5) / 400).max() < 1.36 / 400**0.5  # Kolmogorov-Smirnov, 5 %
    assert targets.max() <= GUIDE.bar("Mass", 0.025)


@given(st.integers(0, 2**63 - 1), st.floats(1e-5, 0.99))
def test_a_target_never_lies_below_the_bar_of_its_strictness(seed: int, strictness: float) -> None:
    plan = make_plan(strictness=strictness)
    image = PlannedImage("x", 1, seed)
    targets = draw_targets(image, plan, GUIDE)
    bars = tuple(GUIDE.bar(name, strictness) for name in ("Mass", "Edema"))
    assert all(target >= bar for target, bar in zip(targets, bars, strict=True))
    assert targets == draw_targets(image, plan, GUIDE)
    assert draw_targets(image, make_plan(strictness=strictness, targets=False), GUIDE) == bars


def test_findings_of_one_image_have_targets_of_their_own() -> None:
    plan = make_plan(unit_images=1_000)
    pairs = [draw_targets(image, plan, GUIDE) for image in planned(plan) if image.request == 1]
    ranks = [(mass / 100, edema / 10) for mass, edema in pairs]
    assert all(mass != pytest.approx(edema) for mass, edema in ranks)


def test_a_natural_bar_is_reached_by_as_many_as_bear_the_finding() -> None:
    image = PlannedImage("x", 1, 3)
    assert draw_targets(image, make_plan(natural=True, targets=False), GUIDE) == pytest.approx((90, 9.8))
    marked = draw_targets(image, make_plan(natural=True), GUIDE)
    assert all(target > bar for target, bar in zip(marked, (90, 9.8), strict=True))


def test_edges_stand_where_something_was_asked_and_nowhere_else() -> None:
    plan = make_plan(targets=False)
    images = [PlannedImage("a", 0, 0), PlannedImage("b", 1, 1)]
    low, high = make_boxes(plan, images, GUIDE)
    assert low.dtype == high.dtype == np.float32
    none = -np.inf
    np.testing.assert_allclose(low, [[none, none, 95, none, none], [none, 9.5, 95, none, none]])
    assert high[1, 0] == pytest.approx(to_logit(0.5))
    high[1, 0] = np.inf
    assert (high == np.inf).all()


@pytest.mark.parametrize(("name", "column"), [("Edema", 1), ("Mass", 2)])
def test_a_finding_to_be_absent_stays_below_its_operating_threshold(name: str, column: int) -> None:
    plan = make_plan((ImageRequest(("No Finding",), 1, absent=(name,)),))
    _, high = make_boxes(plan, plan.unit(0), GUIDE)
    assert high[0, column] == pytest.approx(to_logit(GUIDE.thresholds[column]))


def test_rows_are_those_of_the_images_and_carry_their_own_targets() -> None:
    plan = make_plan(unit_images=7)
    low, _ = make_boxes(plan, plan.unit(1), GUIDE)
    assert len(low) == 7
    np.testing.assert_allclose(low[:, 2], [draw_targets(image, plan, GUIDE)[0] for image in plan.unit(1)])
    assert len(set(low[:, 2].tolist())) == 7


def test_edges_move_by_the_bar_within_a_stratum_of_a_matched_nuisance() -> None:
    plan = make_plan(match=("sex",), targets=False)
    shifts = stratum_shifts(plan, [PlannedImage("a", 0, 0), PlannedImage("b", 1, 1)], GUIDE)
    assert shifts.shape == (2, 2, 2, 5)
    assert not shifts[0].any()  # view is not matched
    np.testing.assert_allclose(shifts[1, 0], [[0, 0, -47.5, 0, 0], [0, -4.75, -47.5, 0, 0]])
    np.testing.assert_allclose(shifts[1, 1], -shifts[1, 0])
    marked = make_plan(match=("sex",))
    image = PlannedImage("a", 0, 5)
    (target,) = draw_targets(image, marked, GUIDE)
    assert stratum_shifts(marked, [image], GUIDE)[1, 1, 0, 2] == pytest.approx(target / 2, rel=1e-5)
    assert not stratum_shifts(make_plan(), [image], GUIDE).any()


def test_matched_nuisances_get_a_tolerance_in_standard_deviations() -> None:
    tolerance = nuisance_tolerance(SearchSettings(match=("sex",), tolerance=0.5), GUIDE)
    assert tolerance[:4].tolist() == [np.inf] * 4
    assert tolerance[4] == pytest.approx(0.5 * 8 * (0.8413 - 0.1587) / 2)
    assert np.isinf(nuisance_tolerance(SearchSettings(), GUIDE)).all()


def test_a_nuisance_the_guide_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(InputDataError, match="The guide knows no 'age'; it knows view, sex") as caught:
        nuisance_tolerance(SearchSettings(match=("view", "age")), GUIDE)
    assert "--match" in caught.value.fix
    with pytest.raises(InputDataError, match="it knows no nuisance"):
        nuisance_tolerance(SearchSettings(match=("view",)), KnownGuide(nuisances=()))


def test_the_lowest_bar_is_that_of_the_build_or_of_the_least_stratum() -> None:
    names = ("Edema", "Mass", "Hernia")
    plain = lowest_bars(names, SearchSettings(strictness=0.1), GUIDE)
    np.testing.assert_allclose(plain, [9, 90, np.nan])
    natural = lowest_bars(names, SearchSettings(natural=True), GUIDE)
    np.testing.assert_allclose(natural, [9.8, 90, np.nan])
    matched = lowest_bars(names, SearchSettings(strictness=0.1, match=("view", "sex")), GUIDE)
    np.testing.assert_allclose(matched, [9 - 4.5 - 4.5, 90 - 45 - 45, np.nan])


def test_a_natural_bar_needs_a_finding_that_can_be_called() -> None:
    mute = dataclasses.replace(GUIDE, thresholds=np.array([0.5, np.nan, 0.9], np.float32))
    found = lowest_bars(("Edema", "Mass"), SearchSettings(natural=True), mute)
    np.testing.assert_allclose(found, [np.nan, 90])


def test_bars_by_stratum_are_those_images_were_made_with() -> None:
    """As `stratum_shifts` moves the lower edges of a planned image without targets of its own."""
    seen = {"view": np.array([False, True]), "sex": np.array([True, True])}
    search = SearchSettings(strictness=0.1, targets=False, match=("view",))
    bars = bars_by_stratum(("Mass", "Hernia"), search, GUIDE, seen, 2)
    np.testing.assert_allclose(bars, [[45, np.nan], [135, np.nan]])
    plan = make_plan((ImageRequest(("Mass",), 1),), strictness=0.1, targets=False, match=("view",))
    images = planned(plan)
    low, _ = make_boxes(plan, images, GUIDE)
    shifts = stratum_shifts(plan, images, GUIDE)
    for side in (0, 1):
        assert low[0, 2] + shifts[0, side, 0, 2] == pytest.approx(bars[side, 0])
    assert lowest_bars(("Mass",), search, GUIDE)[0] == bars[:, 0].min()
