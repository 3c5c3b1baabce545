from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrarchive.errors import InputDataError
from xrarchive.plan import Plan, SearchSettings, read_requests, requests_per_class
from xrarchive.records import ImageRequest

VOCABULARY = ("No Finding", "Edema", "Effusion", "Pleural_Thickening")
WEIGHTS = {"generator": "a" * 64, "guide": "b" * 64, "judge": "c" * 64}


def make_plan(*counts: int, **search: int) -> Plan:
    requests = tuple(ImageRequest((name,), count) for name, count in zip(VOCABULARY, counts, strict=False))
    return Plan(requests, WEIGHTS, 3, SearchSettings(**search))  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(1, 50))
def test_units_divide_the_images_and_every_image_is_unique(counts: list[int], unit_images: int) -> None:
    plan = make_plan(*counts, unit_images=unit_images)
    units = [plan.unit(index) for index in range(plan.units)]
    assert [image for unit in units for image in unit] == list(plan.images)
    assert all(len(unit) == unit_images for unit in units[:-1])
    assert 1 <= len(units[-1]) <= unit_images
    assert len({image.image_id for image in plan.images}) == len({image.seed for image in plan.images}) == sum(counts)
    assert [sum(image.request == index for image in plan.images) for index in range(len(counts))] == counts


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_classes_take_turns(counts: list[int]) -> None:
    order = [image.request for image in make_plan(*counts).images]
    expected = [request for turn in range(20) for request, count in enumerate(counts) if turn < count]
    assert order == expected


def test_an_image_keeps_name_and_seed_when_more_are_asked_for() -> None:
    few, many = make_plan(3, 2), make_plan(9, 9, unit_images=5)
    assert {image.image_id: image.seed for image in few.images}.items() <= {
        image.image_id: image.seed for image in many.images
    }.items()
    assert few.images[0].image_id == "s3-No_Finding-000000"
    assert 0 <= few.images[0].seed < 2**63


def test_another_seed_names_and_draws_other_images() -> None:
    plan = make_plan(3, 3)
    other = dataclasses.replace(plan, seed=4)
    assert not {image.image_id for image in plan.images} & {image.image_id for image in other.images}
    assert not {image.seed for image in plan.images} & {image.seed for image in other.images}


PLAN = make_plan(3, 2)
OTHERS = {
    "counts": make_plan(3, 3),
    "order": dataclasses.replace(PLAN, requests=PLAN.requests[::-1]),
    "seed": dataclasses.replace(PLAN, seed=4),
    **{role: dataclasses.replace(PLAN, weights=WEIGHTS | {role: "0" * 64}) for role in WEIGHTS},
    **{
        field.name: make_plan(3, 2, **{field.name: getattr(PLAN.search, field.name) + 1})
        for field in dataclasses.fields(SearchSettings)
    },
}


@pytest.mark.parametrize("field", OTHERS)
def test_the_resume_token_changes_with_every_field(field: str) -> None:
    assert OTHERS[field].sha256 != PLAN.sha256
    assert len({plan.sha256 for plan in OTHERS.values()}) == len(OTHERS)


def test_the_resume_token_of_equal_plans_is_equal() -> None:
    weights = dict(reversed(WEIGHTS.items()))
    assert dataclasses.replace(PLAN, weights=weights).sha256 == PLAN.sha256 == make_plan(3, 2).sha256


def test_requests_per_class_ask_for_each_finding_alone() -> None:
    assert requests_per_class(("A", "B"), 5) == (ImageRequest(("A",), 5), ImageRequest(("B",), 5))


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8-sig"))
    return path


def test_a_requests_file_is_read_in_its_order(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "count,findings,note\n 3 ,Effusion | Edema,x\n2,No Finding,\n")
    assert read_requests(path, VOCABULARY) == (ImageRequest(("Effusion", "Edema"), 3), ImageRequest(("No Finding",), 2))


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
        ("findings,count\nEdema|Edema,2\n", r"r\.csv:2: a finding is named twice"),
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
