from __future__ import annotations

import pytest

from xrarchive.errors import SettingsError
from xrarchive.terms import TERMS, licence_of, require_terms


def test_every_source_says_how_to_name_link_and_cite_it() -> None:
    for name, terms in TERMS.items():
        assert terms.name == name
        assert terms.url.startswith("https://")
        assert terms.clause_url.startswith("https://")
        assert all((terms.title, terms.licence, terms.notice, terms.citation, terms.clause))
        assert ("forbids sharing" in terms.notice) == (terms.release != "open")
    assert "NIH Clinical Center" in TERMS["nih-chestxray14"].notice
    assert "nihcc.app.box.com/v/ChestXray-NIHCC" in TERMS["nih-chestxray14"].url
    assert "CVPR 2017" in TERMS["nih-chestxray14"].citation


def test_what_may_be_published_is_decided_for_every_layout() -> None:
    found = {name: (terms.release, terms.may_leave) for name, terms in TERMS.items()}
    assert found == {
        "nih-chestxray14": ("open", True),
        "mednist": ("open", True),
        "physionet-credentialed": ("gated", False),
        "chexpert": ("forbidden", False),
        "padchest": ("forbidden", False),
        "rsna-pneumonia": ("open", True),
        "siim-acr": ("forbidden", False),
        "open-i": ("forbidden", True),
        "chestmnist": ("open", True),
    }


@pytest.mark.parametrize(
    ("names", "licence"),
    [
        ([], "other"),
        (["nih-chestxray14"], "other"),
        (["mednist"], "cc-by-sa-4.0"),
        (["nih-chestxray14", "mednist"], "cc-by-sa-4.0"),
        (["chestmnist"], "cc-by-4.0"),
        (["chestmnist", "nih-chestxray14"], "other"),
        (["chestmnist", "mednist"], "cc-by-sa-4.0"),
        (["open-i"], "other"),
        (["chexpert", "mednist"], "other"),
    ],
)
def test_one_licence_fits_all_sources(names: list[str], licence: str) -> None:
    assert licence_of(names) == licence


def test_terms_come_once_and_in_one_order() -> None:
    found = require_terms(["mednist", "nih-chestxray14", "mednist"])
    assert [terms.name for terms in found] == ["nih-chestxray14", "mednist"]


def test_unknown_terms_name_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"'mednst'.*nearest known one is 'mednist'") as caught:
        require_terms(["mednst"])
    assert "nih-chestxray14" in caught.value.fix
