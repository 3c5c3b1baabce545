from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrarchive.errors import InputDataError
from xrarchive.plan import (
    Plan,
    PlannedImage,
    SearchSettings,
    make_exclusive,
    plan_top_up,
    read_requests,
    requests_like_real,
    requests_per_class,
)
from xrarchive.records import ImageRequest

VOCABULARY = ("No Finding", "Edema", "Effusion", "Pleural_Thickening")
WEIGHTS = {"generator": "a" * 64, "guide": "b" * 64, "judge": "c" * 64}


def make_plan(*counts: int, **search: object) -> Plan:
    requests = tuple(ImageRequest((name,), count) for name, count in zip(VOCABULARY, counts, strict=False))
    return Plan(requests, WEIGHTS, 3, SearchSettings(**search))  # type: ignore[arg-type]


def images_of(plan: Plan) -> list[PlannedImage]:
    return [image for index in range(plan.units) for image in plan.unit(index)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(1, 50))
def test_units_divide_the_images_and_every_image_is_unique(counts: list[int], unit_images: int) -> None:
    plan = make_plan(*counts, unit_images=unit_images)
    units, images = [plan.unit(index) for index in range(plan.units)], images_of(plan)
    assert images == list(dataclasses.replace(plan, search=SearchSettings(unit_images=1_000)).unit(0))
    assert plan.total == len(images) == sum(counts)
    assert all(len(unit) == unit_images for unit in units[:-1])
    assert 1 <= len(units[-1]) <= unit_images
    assert len({image.image_id for image in images}) == len({image.seed for image in images}) == sum(counts)
    assert [sum(image.request == index for image in images) for index in range(len(counts))] == counts
    seeds = {plan.unit_seed(index) for index in range(plan.units)}
    assert len(seeds | {image.seed for image in images}) == plan.units + sum(counts)
    assert all(0 <= seed < 2**63 for seed in seeds)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 30))
def test_classes_take_turns(counts: list[int], unit_images: int) -> None:
    order = [image.request for image in images_of(make_plan(*counts, unit_images=unit_images))]
    expected = [request for turn in range(20) for request, count in enumerate(counts) if turn < count]
    assert order == expected


def test_an_image_keeps_name_and_seed_when_more_are_asked_for() -> None:
    few, many = images_of(make_plan(3, 2)), images_of(make_plan(9, 9, unit_images=5))
    assert {image.image_id: image.seed for image in few}.items() <= {
        image.image_id: image.seed for image in many
    }.items()
    assert few[0].image_id == "s3-No_Finding-000000"
    assert 0 <= few[0].seed < 2**63


def test_the_same_findings_with_others_absent_are_named_apart() -> None:
    requests = (ImageRequest(("Edema",), 2), ImageRequest(("Edema",), 2, ("Effusion",)))
    names = {image.image_id for image in images_of(dataclasses.replace(make_plan(1), requests=requests))}
    assert len(names) == 4
    assert requests[1].slug == ImageRequest(("Edema",), 9, ("Effusion",)).slug != ImageRequest(("Edema",), 9).slug
    both = (ImageRequest(("Edema",), 1, absent) for absent in (("A", "B"), ("B", "A")))
    assert len({request.slug for request in both}) == 1


def test_a_unit_of_a_million_images_is_found_at_once() -> None:
    plan = make_plan(500_000, 3, 499_997, unit_images=4)
    last = plan.unit(plan.units - 1)
    assert [image.image_id[-6:] for image in last] == ["499996", "499997", "499998", "499999"]
    assert [image.request for image in last] == [2, 0, 0, 0]


def test_another_seed_names_and_draws_other_images() -> None:
    plan = make_plan(3, 3)
    other = dataclasses.replace(plan, seed=4)
    for name in ("image_id", "seed"):
        ours, theirs = ({getattr(image, name) for image in images_of(found)} for found in (plan, other))
        assert not ours & theirs
    assert plan.unit_seed(0) != other.unit_seed(0)


PLAN = make_plan(3, 2)
# A value each that is not the default.
CHANGED = {
    "strictness": 0.1, "natural": True, "targets": False, "match": ("view",), "tolerance": 0.5,
    "judge_filter": True, "steps": 3,
    "attempts": 2, "top_ups": 1,
    "step_deg": 4.0, "travel_deg": 30.0, "margin": 0.25, "shift": 0.0, "gain": 0.0, "realism": 0.1,
    "screen": 3, "slots": 8, "unit_images": 5, "dtype": "float32", "threads": 2,
}  # fmt: skip
OTHERS = {
    "counts": make_plan(3, 3),
    "order": dataclasses.replace(PLAN, requests=PLAN.requests[::-1]),
    "absent": dataclasses.replace(PLAN, requests=(dataclasses.replace(PLAN.requests[0], absent=("Edema",)),)),
    "seed": dataclasses.replace(PLAN, seed=4),
    "start": dataclasses.replace(PLAN, requests=(dataclasses.replace(PLAN.requests[0], start=3), PLAN.requests[1])),
    "first unit": dataclasses.replace(PLAN, first_unit=1),
    **{role: dataclasses.replace(PLAN, weights=WEIGHTS | {role: "0" * 64}) for role in WEIGHTS},
    **{name: make_plan(3, 2, **{name: value}) for name, value in CHANGED.items()},
}


@pytest.mark.parametrize("field", OTHERS)
def test_the_resume_token_changes_with_every_field(field: str) -> None:
    assert OTHERS[field].sha256 != PLAN.sha256
    assert len({plan.sha256 for plan in OTHERS.values()}) == len(OTHERS)


def test_every_setting_of_the_search_is_part_of_the_plan() -> None:
    assert set(CHANGED) == {field.name for field in dataclasses.fields(SearchSettings)}
    assert SearchSettings(match=["view"]) == SearchSettings(match=("view",))  # type: ignore[arg-type]


def test_the_resume_token_of_equal_plans_is_equal() -> None:
    weights = dict(reversed(WEIGHTS.items()))
    assert dataclasses.replace(PLAN, weights=weights).sha256 == PLAN.sha256 == make_plan(3, 2).sha256


ROUNDS = st.lists(
    st.integers(1, 40).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count))), min_size=1, max_size=4
)


@given(ROUNDS, st.integers(1, 20))
def test_a_top_up_asks_for_what_is_missing_under_new_numbers_and_from_new_draws(
    made: list[tuple[int, int]], unit_images: int
) -> None:
    plan = make_plan(*(count for count, _ in made), unit_images=unit_images)
    following = plan_top_up(plan, [got for _, got in made])
    missing = {
        name: count - got
        for name, (count, got) in zip(VOCABULARY, made, strict=False)
        if got < count and (got or count < 8)
    }
    if not missing:
        assert following is None
        return
    assert following is not None
    assert {request.findings[0]: request.count for request in following.requests} == missing
    before, after = images_of(plan), images_of(following)
    for field in ("image_id", "seed"):
        names = [getattr(image, field) for image in (*before, *after)]
        assert len(set(names)) == len(names)
    units = [round_.unit_seed(index) for round_ in (plan, following) for index in range(round_.units)]
    assert len(set(units)) == len(units)
    assert following.first_unit == plan.units
    assert (following.seed, following.search, following.weights) == (plan.seed, plan.search, plan.weights)


def test_numbers_never_come_again_however_many_rounds() -> None:
    """Half of each round is reached; numbers of what was not stay unused."""
    plan: Plan | None = make_plan(20, 9, unit_images=8)
    names: list[str] = []
    while plan is not None:
        names += [image.image_id for image in images_of(plan)]
        plan = plan_top_up(plan, [(request.count + 1) // 2 for request in plan.requests])
    assert len(set(names)) == len(names) == 20 + 10 + 5 + 2 + 1 + 9 + 4 + 2 + 1
    assert max(names) == "s3-No_Finding-000037"


@pytest.mark.parametrize(
    ("counts", "accepted", "wanted"),
    [
        ((5, 5), (5, 5), None),
        ((8,), (0,), None),  # eight tried and none reached: hopeless
        ((7,), (0,), (7,)),  # too few to tell
        ((100,), (1,), (99,)),
        ((8, 3), (0, 2), (1,)),
    ],
)
def test_what_is_done_or_hopeless_is_not_tried_again(
    counts: tuple[int, ...], accepted: tuple[int, ...], wanted: tuple[int, ...] | None
) -> None:
    following = plan_top_up(make_plan(*counts), accepted)
    assert (following and tuple(request.count for request in following.requests)) == wanted


def test_requests_per_class_ask_for_each_finding_alone() -> None:
    assert requests_per_class(("A", "B"), 5) == (ImageRequest(("A",), 5), ImageRequest(("B",), 5))


REAL = {"": 7, "Edema": 50, "Effusion": 30, "Edema|Effusion": 15, "Effusion|Edema": 0, "Rare": 4, "Edema|Rare": 1}


def test_requests_like_real_are_as_common_as_in_reality_by_largest_remainder() -> None:
    asked = requests_like_real(REAL, 10, callable_findings=("Edema", "Effusion"))
    # Of 96 films 51, 30 and 15; tenths 5.31, 3.13, 1.56: the last one has the largest remainder.
    assert asked == (
        ImageRequest(("Edema",), 5),
        ImageRequest(("Effusion",), 3),
        ImageRequest(("Edema", "Effusion"), 2),
    )
    one = requests_like_real(REAL, 1, callable_findings=("Edema", "Effusion"))
    assert one == (ImageRequest(("Edema",), 1),)


def test_boost_makes_rare_sets_more_frequent_up_to_all_alike() -> None:
    shares = [
        {request.findings: request.count for request in requests_like_real(
            REAL, 3_000, callable_findings=("Edema", "Effusion"), boost=boost)}
        for boost in (0.0, 0.5, 1.0)
    ]  # fmt: skip
    rare = [share["Edema", "Effusion"] for share in shares]
    assert rare == sorted(rare)
    assert set(shares[2].values()) == {1_000}
    assert shares[1]["Edema",] / rare[1] == pytest.approx((51 / 15) ** 0.5, rel=0.01)


SETS = st.dictionaries(
    st.lists(st.sampled_from(VOCABULARY), max_size=4, unique=True).map("|".join), st.integers(1, 10_000), max_size=12
)


@given(SETS, st.integers(1, 3_000), st.floats(0, 1))
def test_requests_like_real_add_up_and_ask_for_nothing_impossible(
    sets: dict[str, int], count: int, boost: float
) -> None:
    possible = VOCABULARY[:3]
    try:
        asked = requests_like_real(sets, count, callable_findings=possible, boost=boost)
    except InputDataError:
        names = [set(name.split("|")) & set(possible) for name in sets]
        assert all(not found or (VOCABULARY[0] in found and len(found) > 1) for found in names)
        return
    assert sum(request.count for request in asked) == count
    assert all(request.count >= 1 and not request.absent for request in asked)
    assert len({request.findings for request in asked}) == len(asked)
    for request in asked:
        assert set(request.findings) <= set(possible)
        assert VOCABULARY[0] not in request.findings or len(request.findings) == 1
    assert [request.count for request in asked] == sorted((request.count for request in asked), reverse=True)
    again = requests_like_real(dict(reversed(sets.items())), count, callable_findings=possible, boost=boost)
    assert {request.findings for request in again} == {request.findings for request in asked}


@pytest.mark.parametrize("sets", [{}, {"": 9}, {"Rare": 5}, {"No Finding|Edema": 5}])
def test_requests_like_real_need_a_set_that_can_be_asked_for(sets: dict[str, int]) -> None:
    with pytest.raises(InputDataError, match="bear no set of findings that can be asked for") as caught:
        requests_like_real(sets, 10, callable_findings=("No Finding", "Edema"))
    assert "--per-class" in caught.value.fix


@pytest.mark.parametrize(("count", "boost", "name"), [(0, 0.0, "like_real"), (5, -0.1, "boost"), (5, 1.1, "boost")])
def test_shares_that_are_none_are_the_callers_mistake(count: int, boost: float, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must"):
        requests_like_real(REAL, count, callable_findings=("Edema",), boost=boost)


def test_exclusive_requests_want_all_others_absent() -> None:
    asked = (ImageRequest(("Effusion",), 2), ImageRequest(("No Finding",), 1), ImageRequest(("Edema", "Effusion"), 3))
    exclusive = make_exclusive(asked, VOCABULARY[:3])
    assert [request.absent for request in exclusive] == [("No Finding", "Edema"), ("Edema", "Effusion"), VOCABULARY[:1]]
    assert [(request.findings, request.count) for request in exclusive] == [(r.findings, r.count) for r in asked]
    with pytest.raises(InputDataError, match="--exclusive asks twice for Edema"):
        make_exclusive((ImageRequest(("Edema",), 2), ImageRequest(("Edema",), 2, ("Effusion",))), VOCABULARY)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8-sig"))
    return path


def test_a_requests_file_is_read_in_its_order(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "count,findings,note\n 3 ,Effusion | Edema,x\n2,No Finding,\n")
    assert read_requests(path, VOCABULARY) == (ImageRequest(("Effusion", "Edema"), 3), ImageRequest(("No Finding",), 2))


def test_a_requests_file_may_say_what_is_to_be_absent(tmp_path: Path) -> None:
    text = "findings,count,absent\nEdema,3,Effusion | No Finding\nEdema,2,\nEffusion,1\n"
    assert read_requests(write(tmp_path / "r.csv", text), VOCABULARY) == (
        ImageRequest(("Edema",), 3, ("Effusion", "No Finding")),
        ImageRequest(("Edema",), 2),
        ImageRequest(("Effusion",), 1),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("findings,count\nEdema,2\nEfusion,2\n", r"r\.csv:3: the finding 'Efusion' .* nearest .* 'Effusion'"),
        ("findings,count\n,2\n", r"r\.csv:2: the finding ''"),
        ("findings,count\nEdema,0\n", r"r\.csv:2: count is '0'"),
        ("findings,count\nEdema,-1\n", r"r\.csv:2: count is '-1'"),
        ("findings,count\nEdema,2.5\n", r"r\.csv:2: count is '2.5'"),
        ("findings,count\nEdema,²\n", r"r\.csv:2: count is '²'"),
        ("findings,count\nEdema\n", r"r\.csv:2: count is ''"),
        ("findings,count\nEdema|Edema,2\n", r"r\.csv:2: 'Edema' is named twice in Edema\|Edema, absent none"),
        ("findings,count,absent\nEdema,2,Edema\n", r"r\.csv:2: 'Edema' is named twice in Edema, absent Edema"),
        ("findings,count,absent\nEdema,2,Effusion|Effusion\n", r"r\.csv:2: 'Effusion' is named twice"),
        ("findings,count,absent\nEdema,2,Efusion\n", r"r\.csv:2: the finding 'Efusion' .* nearest .* 'Effusion'"),
        ("findings,count,absent\nEdema,2,Effusion\nEdema,1,Effusion\n", r"r\.csv asks twice for Edema"),
        ("findings,count\nEdema|No Finding,2\n", r"r\.csv:2: 'No Finding' cannot be asked for together"),
        ("findings,count\nEdema|Effusion,2\nEffusion|Edema,1\n", r"r\.csv asks twice for Edema\|Effusion"),
        ("findings,count\n", r"r\.csv asks for nothing"),
        ("finding,count\nEdema,2\n", r"r\.csv lacks the column\(s\) findings; found: finding, count"),
        ("", r"r\.csv lacks the column\(s\) findings, count; found: none"),
        ('findings,count\n"' + "x" * 200_000 + '",2\n', r"r\.csv is not a UTF-8 CSV: field larger"),
    ],
)
def test_what_is_wrong_with_a_requests_file_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputDataError, match=message):
        read_requests(write(tmp_path / "r.csv", text), VOCABULARY)


def test_a_requests_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputDataError, match="No requests file"):
            read_requests(path, VOCABULARY)
    (tmp_path / "latin.csv").write_bytes(b"findings,count\n\xe9,2\n")
    with pytest.raises(InputDataError, match="not a UTF-8 CSV"):
        read_requests(tmp_path / "latin.csv", VOCABULARY)
