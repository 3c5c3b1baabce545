from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from xrarchive.classifier.offering import list_offerings


def interval(value: float, low: float = 0.6) -> dict[str, float]:
    return {"value": value, "low": low, "high": 0.99, "n": 50}


GOOD: dict[str, Any] = {
    "vocabulary": ["No Finding", "Edema"],
    "settings": {"withheld": [], "min_positives": 40},
    "figures": {
        name: {
            "positives": 40,
            "cross_fitted": interval(0.65, 0.55),
            "within": {"AP": interval(0.60), "PA": interval(0.60)},
        }
        for name in ("No Finding", "Edema")
    },
}


def changed(path: tuple[str, ...], value: object) -> dict[str, Any]:
    meta = copy.deepcopy(GOOD)
    place = meta
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return meta


ROWS = [
    (("figures", "Edema", "cross_fitted"), interval(0.649), "AUROC 0.65 is below 0.65"),
    (("figures", "Edema", "cross_fitted"), interval(0.9, 0.54), "its lower bound 0.54 is below 0.55"),
    (("figures", "Edema", "cross_fitted"), None, "too few labelled radiographs"),
    (("figures", "Edema", "positives"), 39, "too few labelled radiographs"),
    (("figures", "Edema", "within", "AP"), interval(0.59), "AUROC within AP 0.59 is below 0.60"),
    (("figures", "Edema", "within", "PA"), interval(0.5), "AUROC within PA 0.50 is below 0.60"),
    (("figures", "Edema", "within", "PA"), None, "too few radiographs within PA"),
    (("figures",), {"No Finding": GOOD["figures"]["No Finding"]}, "too few labelled radiographs"),
]


@pytest.mark.parametrize(("path", "value", "reason"), ROWS)
@pytest.mark.parametrize("role", ["guide", "judge"])
def test_one_shortcoming_of_either_withdraws_a_finding_and_says_why(
    role: str, path: tuple[str, ...], value: object, reason: str
) -> None:
    metas = {"guide": GOOD, "judge": GOOD} | {role: changed(path, value)}
    normal, edema = list_offerings(metas["guide"], metas["judge"])
    assert (normal.finding, normal.offered, normal.reasons) == ("No Finding", True, ())
    assert (edema.finding, edema.offered, edema.reasons) == ("Edema", False, (f"{role}: {reason}",))


@pytest.mark.parametrize("role", ["guide", "judge"])
def test_either_publisher_may_withhold_a_finding(role: str) -> None:
    metas = {"guide": GOOD, "judge": GOOD} | {role: changed(("settings", "withheld"), ["Edema"])}
    assert list_offerings(metas["guide"], metas["judge"])[1].reasons == ("withheld by the publisher",)


def test_the_bounds_themselves_are_enough() -> None:
    assert all(item.offered for item in list_offerings(GOOD, GOOD))


def test_a_set_without_views_is_judged_on_the_whole() -> None:
    meta = changed(("figures", "Edema", "within"), {})
    assert list_offerings(meta, meta)[1].offered


def test_every_reason_is_listed() -> None:
    figures = {"positives": 50, "cross_fitted": interval(0.5, 0.4), "within": {"AP": None, "PA": interval(0.4)}}
    meta = changed(("figures", "Edema"), figures)
    assert len(list_offerings(meta, meta)[1].reasons) == 8


def paired(control: dict[str, Any] | None) -> dict[str, Any]:
    return GOOD | {"pair": {"control": {"No Finding": {"0.1": interval(0.9, 0.8)}, "Edema": {"0.1": control}}}}


def test_a_judge_that_agrees_with_its_guide_withdraws_nothing() -> None:
    assert all(item.offered for item in list_offerings(GOOD, paired(interval(0.6, 0.551))))


@pytest.mark.parametrize(
    ("control", "reason"),
    [
        (interval(0.6, 0.55), "guide and judge look at different things: .* AUROC is 0.60, its lower bound 0.55"),
        (interval(0.4, 0.3), "guide and judge look at different things"),
        (None, "too few radiographs to tell"),
    ],
)
def test_a_finding_that_guide_and_judge_see_differently_is_not_offered(control: Any, reason: str) -> None:
    normal, edema = list_offerings(GOOD, paired(control))
    assert normal.offered
    assert not edema.offered
    assert re.search(reason, edema.reasons[0])


def test_a_finding_the_pair_does_not_know_is_not_offered() -> None:
    assert not list_offerings(GOOD, GOOD | {"pair": {"control": {}}})[0].offered
