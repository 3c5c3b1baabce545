from xrarchive.validation.measures import measure, not_measured
from xrarchive.validation.names import CHEXGENBENCH, peer_names


def test_a_measure_is_named_as_others_name_it_with_where_it_is_and_what_differs():
    kid = measure(0.2, low=0.1, high=0.3, n=50, note="KID.")
    named = peer_names({"fidelity": {"rad-dino": {"kid": kid}}})["CheXGenBench"]
    assert set(named) == set(CHEXGENBENCH)
    found = named["KID (RadDino)"]
    assert {key: found[key] for key in ("value", "low", "high", "n")} == {
        "value": 0.2,
        "low": 0.1,
        "high": 0.3,
        "n": 50,
    }
    assert found["at"] == "fidelity/rad-dino/kid"
    assert "299 x 299" in found["differs"]


def test_what_is_not_there_has_the_reason():
    named = peer_names({"fidelity": {"inception": {"kid": not_measured("Too few images.")}}})["CheXGenBench"]
    assert named["KID"]["value"] is None
    assert named["KID"]["reason"] == "Too few images."
    assert named["FID"]["reason"] == "This report has no fidelity/inception/frechet."
    assert named["Precision"]["reason"] == "This report has no diversity."


def test_a_part_that_was_not_measured_as_a_whole_is_no_error():
    named = peer_names({"diversity": {"spaces": not_measured("No films.")}})["CheXGenBench"]
    assert named["Recall"]["reason"] == "This report has no diversity/spaces/rad-dino."
