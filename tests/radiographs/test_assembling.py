"""The source's words in ours: views, findings, uncertain labels, splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from xrarchive.errors import InputDataError, SettingsError
from xrarchive.radiographs.layouts.assembling import assemble, choose_vocabulary, parse_uncertain
from xrarchive.radiographs.layouts.chexpert import parse_answers
from xrarchive.radiographs.layouts.names import CHEXPERT, NIH, OPENI, PADCHEST, VINDR, VINDR_KAGGLE, Names
from xrarchive.radiographs.layouts.padchest import parse_list, to_answers
from xrarchive.radiographs.layouts.rows import Answers, Choices, Film, Label, Listing, Reading
from xrarchive.radiographs.layouts.rsna import rsna_answers
from xrarchive.radiographs.layouts.vindr import vote
from xrarchive.radiographs.layouts.words import parse_view
from xrarchive.radiographs.places import Place

NAMES = Names({"clear": "No Finding", "mass": "Mass", "lung mass": "Mass", "edema": "Edema"})


def listing(*answers: Answers | None, complete: bool = False, names: Names = NAMES, **choices: object) -> Listing:
    films = [
        Film(f"{index}.png", Place(Path("x")), answers=answer, complete=complete, view="PA")
        for index, answer in enumerate(answers)
    ]
    vocabulary = choose_vocabulary(("Mass", "Edema"), names)
    return assemble(Reading(tuple(films), {}), names, vocabulary, Choices(**choices), "test")


def labels(*answers: Answers | None, **how: object) -> list[tuple[Label, ...]]:
    return [row.labels for row in listing(*answers, **how).rows]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("pa", ("PA", "")),
        ("AP_horizontal", ("AP", "")),
        ("ANTEROPOSTERIOR", ("AP", "")),
        ("LL", ("LATERAL", "view-lateral")),
        ("LARGE LATERAL", ("LATERAL", "view-lateral")),
        ("AP LLD", ("AP LLD", "view-rotated")),
        ("COSTAL", ("COSTAL", "view-other")),
        ("", ("", "view-unknown")),
        ("LAPA", ("LAPA", "view-unknown")),
    ],
)
def test_views_are_whole_words(word: str, expected: tuple[str, str]) -> None:
    assert parse_view(word) == expected


@pytest.mark.parametrize(
    ("views", "taken"),
    [
        (("frontal",), ["PA", "AP", "", "ODD"]),
        (("all",), ["PA", "AP", "LATERAL", "", "ODD"]),
        (("PA",), ["PA"]),
        (("PA", "lateral"), ["PA", "LATERAL"]),
        (("AP", "unknown"), ["AP", "", "ODD"]),
    ],
)
def test_which_views_are_taken(views: tuple[str, ...], taken: list[str]) -> None:
    films = tuple(Film(f"{word}.png", Place(Path("x")), view=word) for word in ("PA", "AP", "L", "", "odd"))
    found = assemble(Reading(films, {}), NAMES, ("No Finding",), Choices(views=views), "test")
    assert [row.view for row in found.rows] == taken
    assert len(found.left_out) == 5 - len(taken)


def test_the_strongest_of_several_words_counts() -> None:
    assert labels(
        (("mass", 0), ("lung mass", 1)), (("mass", 1), ("lung mass", -1)), (("mass", -1), ("lung mass", 0))
    ) == [
        (None, 1, None),
        (None, 1, None),
        (None, -1, None),
    ]


def test_what_is_not_named_is_absent_only_where_all_was_looked_for() -> None:
    assert labels((("mass", 1),), None, (), complete=True) == [(0, 1, 0), (None, None, None), (0, 0, 0)]
    assert labels((("mass", 1),), ()) == [(None, 1, None), (None, None, None)]


def test_policies_change_uncertain_labels_only() -> None:
    given: Answers = (("clear", -1), ("mass", -1), ("edema", -1))
    found = listing(given, uncertain=("zeros", "Mass=ones"))
    assert [row.labels for row in found.rows] == [(-1, 1, 0)]
    assert found.policies == {"uncertain": "zeros", "uncertain Mass": "ones"}
    assert listing((("mass", 1),), uncertain=("zeros",)).policies == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), {"": "ignore"}), (("ones",), {"": "ones"}), (("ones", "Mass=zeros"), {"": "ones", "Mass": "zeros"})],
)
def test_uncertain_words(words: tuple[str, ...], expected: dict[str, str]) -> None:
    assert parse_uncertain(words, ("No Finding", "Mass")) == expected


@pytest.mark.parametrize("word", ["", "one", "Mass=", "=ones=", "No Finding=ones", "Mas=ones"])
def test_uncertain_words_that_are_none(word: str) -> None:
    with pytest.raises(SettingsError):
        parse_uncertain((word,), ("No Finding", "Mass"))


def test_what_no_finding_stands_for_is_counted() -> None:
    found = listing((("breast mass", 1), ("mass", 0)), (("breast mass", 1),), (("scar", -1), ("clip", 0)))
    assert found.unmapped == {"breast mass": 2, "scar": 1}
    assert [row.labels[1] for row in found.rows] == [0, None, None]


def test_nothing_left_and_images_listed_twice() -> None:
    lateral = Film("a.png", Place(Path("x")), view="L")
    with pytest.raises(InputDataError, match="None of 1 radiographs may be taken: 1 x view-lateral"):
        assemble(Reading((lateral,), {}), NAMES, ("No Finding",), Choices(), "test")
    film = Film("a.png", Place(Path("x")))
    with pytest.raises(InputDataError, match=r"listed by more than one table, the first is 'a\.png'"):
        assemble(Reading((film, film), {}), NAMES, ("No Finding",), Choices(), "test")


def test_chexperts_no_finding() -> None:
    healthy = dict(parse_answers({"No Finding": "1.0", "Support Devices": "", "Fracture": ""}, ""))
    assert healthy == {name: int(name == "No Finding") for name in CHEXPERT.table if name != "Support Devices"}
    assert dict(parse_answers({"Edema": "1.0"}, "")) == {"Edema": 1, "No Finding": 0}
    assert dict(parse_answers({"Edema": "-1.0"}, "")) == {"Edema": -1}
    assert dict(parse_answers({"Support Devices": "1.0"}, "")) == {"Support Devices": 1}
    with pytest.raises(InputDataError, match="Edema is '2', expected 1, 0, -1 or blank"):
        parse_answers({"Edema": "2"}, "t.csv:1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("['a', ' b', 'a', '']", ("a", "b", "")),
        ("[]", ()),
        ("nan", None),
        ("['a'", None),
        ("__import__('os').system('x')", None),
        ("{'a': 1}", None),
        ("[1]", None),
        ("[" * 5000, None),
        ("['" + "a" * 20_000 + "']", None),
    ],
)
def test_padchests_lists_are_words_and_never_code(text: str, words: tuple[str, ...] | None) -> None:
    assert parse_list(text) == words


def test_padchests_words() -> None:
    assert to_answers(("unchanged", "")) is None
    assert to_answers(("normal", "unchanged")) == (("normal", 1),)
    assert dict(to_answers(("normal", "nodule")) or ()) == {"normal": -1, "nodule": 1}
    assert dict(to_answers(("hydropneumothorax",)) or ()) == {"pleural effusion": 1, "pneumothorax": 1}


def test_rsnas_classes_and_vindrs_votes() -> None:
    assert rsna_answers(0, "Normal") == (("Target", 0), ("Normal", 1))
    assert rsna_answers(0, "No Lung Opacity / Not Normal") == (("Target", 0), ("Normal", 0))
    assert rsna_answers(0, "") == (("Target", 0),)
    said = [{"Edema"}, {"Edema", "Mass"}, {"No finding"}]
    assert dict(vote(said, ("Edema", "No finding"), "any")) == {"Edema": 1, "No finding": 0, "Mass": 1}
    assert dict(vote(said, ("Edema", "No finding"), "majority")) == {"Edema": 1, "No finding": 0, "Mass": 0}
    assert dict(vote(said, ("Edema", "No finding"), "all")) == {"Edema": 0, "No finding": 0, "Mass": 0}


@pytest.mark.parametrize("names", [NIH, CHEXPERT, VINDR, VINDR_KAGGLE, PADCHEST, OPENI])
def test_every_table_of_names_makes_a_vocabulary(names: Names) -> None:
    assert choose_vocabulary(("all",), names)[0] == "No Finding"
    assert set(choose_vocabulary(None, names)) <= set(choose_vocabulary(("all",), names))
