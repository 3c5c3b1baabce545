import re

import pytest

from xrarchive.errors import GateError, SettingsError
from xrarchive.validation.gates import (
    GateSettings,
    Occasion,
    gates_section,
    judge_gates,
    keeps_back_weights,
    require_open,
)
from xrarchive.validation.measures import measure, not_measured

PLENTY = Occasion(images=1000, asked={"Edema": 500, "Mass": 500}, radiographs=True)


def number(value, low=None, high=None, **extra):
    return measure(value, low=low, high=high, n=1000, note="A number.", extra=extra)


def good():
    edema, mass = (number(0.9, 0.85, 0.95, transfer=number(0.95, 0.9, 1.0)) for _ in range(2))
    return {
        "integrity": {name: number(0) for name in ("files", "exact_duplicates", "near_duplicates")},
        "fidelity": {"imagenet": {"kid": number(0.1, 0.09, 0.12, control={"value": 1.0, "note": "Blurred."})}},
        "labels": {"findings": {"Edema": edema, "Mass": mass}, "reached": number(1.0), "stored_scores": number(0)},
        "utility": {"macro": {"excess_retention": number(0.9, 0.85, 0.95)}},
        "privacy": {
            "copies": number(0),
            "share_nearer": {"pixels": number(0.5, 0.48, 0.52)},
            "reidentification": number(0.01, 0.005, 0.02),
            "membership": {"critic": number(0.52, 0.5, 0.55), "inversion": number(0.5, 0.45, 0.55)},
        },
    }


def judged(parts, occasion=PLENTY, settings=None, waivers=None):
    return {gate.name: gate for gate in judge_gates(parts, occasion, settings or GateSettings(), waivers)}


def changed(path, found):
    parts = good()
    *inner, last = path.split("/")
    place = parts
    for key in inner:
        place = place[key]
    place[last] = found
    return parts


def test_what_is_shown_is_open():
    gates = judged(good())
    assert {gate.status for gate in gates.values()} == {"passed"}
    section = gates_section(list(gates.values()))
    assert section["open"]
    assert section["weights_open"]
    assert keeps_back_weights(section) == []
    require_open(section, where="archive")


BAD = {
    "integrity.files": ("integrity/files", number(1)),
    "integrity.exact_duplicates": ("integrity/exact_duplicates", number(1)),
    "integrity.near_duplicates": ("integrity/near_duplicates", number(11)),
    "fidelity.kid": ("fidelity/imagenet/kid", number(0.45, 0.4, 0.51, control={"value": 1.0})),
    "labels.reached": ("labels/reached", number(0.98)),
    "labels.stored_scores": ("labels/stored_scores", number(1)),
    "labels.agreement.Mass": ("labels/findings/Mass", number(0.55, 0.5, 0.6, transfer=number(1.0, 0.9, 1.1))),
    "labels.transfer.Mass": ("labels/findings/Mass/transfer", number(0.85, 0.79, 0.9)),
    "utility.excess_retention": ("utility/macro/excess_retention", number(0.75, 0.69, 0.8)),
    "privacy.copies": ("privacy/copies", number(1)),
    "privacy.share_nearer.pixels": ("privacy/share_nearer/pixels", number(0.6, 0.56, 0.64)),
    "privacy.reidentification": ("privacy/reidentification", number(0.03, 0.021, 0.04)),
    "privacy.membership.critic": ("privacy/membership/critic", number(0.58, 0.55, 0.61)),
    "privacy.membership.inversion": ("privacy/membership/inversion", number(0.58, 0.55, 0.61)),
}


ASKED_OF_THE_BUILD = {"labels.reached", "labels.stored_scores"}


@pytest.mark.parametrize("name", BAD)
def test_each_bar_closes_its_gate_alone(name):
    gates = judged(changed(*BAD[name]))
    assert [gate.name for gate in gates.values() if gate.status == "failed"] == [name]
    section = gates_section(list(gates.values()))
    assert section["open"] == gates[name].weights == name.startswith("privacy.membership")
    assert not section["weights_open"]
    assert keeps_back_weights(section)[0].startswith(f"{name}: ")
    if not section["open"]:
        with pytest.raises(GateError, match=rf"1 gate of archive closed\. {re.escape(name)}: ") as caught:
            require_open(section, where="archive")
        assert gates[name].help in caught.value.fix
        assert "--waive" in caught.value.fix


def test_what_only_the_classifiers_of_the_build_can_tell_is_not_asked_of_others():
    for name in ASKED_OF_THE_BUILD:
        gate = judged(changed(BAD[name][0], not_measured("The guide is not at hand.")))[name]
        assert (gate.status, gate.message) == ("not measured", "The guide is not at hand.")


@pytest.mark.parametrize("name", sorted(BAD.keys() - ASKED_OF_THE_BUILD))
def test_what_applies_and_was_not_measured_is_closed(name):
    path, found = BAD[name]
    if "transfer" in found:
        found = not_measured("Nobody looked.") | {"transfer": found["transfer"]}
    else:
        found = not_measured("Nobody looked.")
    gate = judged(changed(path, found))[name]
    assert (gate.status, gate.message) == ("failed", "Nobody looked.")


def test_a_part_left_out_is_closed_where_it_applies():
    parts = good()
    del parts["utility"], parts["privacy"], parts["labels"]
    closed = [gate.name for gate in judged(parts).values() if gate.status == "failed"]
    assert {name.partition(".")[0] for name in closed} == {"utility", "privacy", "labels"}
    assert "labels.transfer.Edema" in closed


def test_few_images_or_no_films_need_no_more_than_integrity():
    few = Occasion(images=200, asked={"Edema": 99, "Mass": 101}, radiographs=True)
    gates = judged({"integrity": good()["integrity"]}, few)
    status = {gate.name: gate.status for gate in gates.values()}
    assert status["labels.agreement.Edema"] == "not measured"
    assert status["labels.agreement.Mass"] == "failed"
    assert status["fidelity.kid"] == status["utility.excess_retention"] == "not measured"
    assert "from 100 images of a finding; Edema has 99" in gates["labels.agreement.Edema"].message
    assert "from 500 images; there are 200" in gates["fidelity.kid"].message
    blind = Occasion(images=1000, asked={"Edema": 500}, radiographs=False)
    gates = judged(good() | {"fidelity": {}, "utility": {}, "privacy": {}}, blind)
    assert gates["labels.agreement.Edema"].status == "passed"
    assert "--radiographs" in gates["labels.transfer.Edema"].message
    section = gates_section(list(gates.values()))
    assert section["open"]
    assert not section["weights_open"]
    assert [line.partition(":")[0] for line in keeps_back_weights(section)] == [
        "privacy.membership.critic",
        "privacy.membership.inversion",
    ]


def test_a_copy_is_a_copy_however_few_the_images():
    few = Occasion(images=3, asked={}, radiographs=True)
    assert judged(changed("privacy/copies", number(1)), few)["privacy.copies"].status == "failed"


def test_a_quick_look_opens_nothing_that_needs_radiographs():
    gates = judged(good(), Occasion(images=1000, asked=PLENTY.asked, radiographs=True, quick=True))
    closed = {name.rpartition(".")[0] for name, gate in gates.items() if gate.status == "failed"}
    assert closed == {"fidelity", "utility", "labels.transfer", "privacy", "privacy.share_nearer", "privacy.membership"}
    assert gates["privacy.copies"].status == "passed", "the search is the same"


def test_a_waiver_keeps_what_was_found():
    parts = changed(*BAD["fidelity.kid"])
    gate = judged(parts, waivers={"fidelity.kid": "Texture of JPEG."})["fidelity.kid"]
    assert (gate.status, gate.reason) == ("waived", "Texture of JPEG.")
    assert "0.51" in gate.message
    assert gates_section([gate])["open"]
    few = Occasion(images=3, asked={}, radiographs=False)
    names = ("privacy.membership.critic", "privacy.membership.inversion")
    gates = judged({"integrity": good()["integrity"]}, few, waivers=dict.fromkeys(names, "Public."))
    section = gates_section(list(gates.values()))
    assert section["weights_open"]
    assert keeps_back_weights(section) == []


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("fidelity.fid", "Because.", r"no such gate. Did you mean 'fidelity.kid'\?"),
        ("privacy.copies", "Because.", "that gate is not closed"),
        ("fidelity.kid", " ", "needs a reason"),
    ],
)
def test_a_waiver_must_name_a_closed_gate_and_say_why(name, reason, message):
    with pytest.raises(SettingsError, match=message):
        judged(changed(*BAD["fidelity.kid"]), waivers={name: reason})


def test_a_bar_can_be_met_and_missed():
    for name, value in {"images": 0, "transfer": 1.1, "membership": -0.1, "kid": float("nan")}.items():
        with pytest.raises(ValueError, match=name):
            GateSettings(**{name: value})
    assert judged(good(), settings=GateSettings(kid=0.1))["fidelity.kid"].status == "failed"
