"""Any text as a file name: safe, short, and different for different texts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrarchive.archive.exporting.names import folder_names, safe_name

ODD = [
    "",
    ".",
    "..",
    "../../x",
    "a/b",
    "-rf",
    ".hidden",
    "__x__",
    "=1+1",
    "a.b",
    "😀",
    "\u202egnp.exe",
    "x" * 255,
    "a\0b",
]
TEXT = st.one_of(st.text(), st.sampled_from(ODD), st.text("aAbB_ .-+/", max_size=4))


@given(TEXT)
def test_a_name_is_safe(text):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,199}", safe_name(text))


@given(TEXT, TEXT)
def test_different_texts_have_different_names(one, other):
    assert (safe_name(one) == safe_name(other)) == (one == other)
    assert safe_name(safe_name("..") if one == ".." else one) != safe_name("..")


@given(st.lists(TEXT, unique=True, max_size=6))
def test_labels_never_share_a_folder_whatever_the_case(labels):
    names = folder_names(labels)
    assert list(names) == labels
    assert len({name.casefold() for name in names.values()}) == len(labels)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,199}", name) for name in names.values())


@pytest.mark.parametrize("text", ["Effusion+Edema-00001", "a", "9_-+"])
def test_plain_ids_stay(text):
    assert safe_name(text) == text


def test_spaces_in_labels_become_underscores():
    assert folder_names(["No Finding", "Mass"]) == {"No Finding": "No_Finding", "Mass": "Mass"}
