import pytest

from xrarchive.errors import InputDataError
from xrarchive.findings import (
    NIH_FINDINGS,
    NIH_VOCABULARY,
    NO_FINDING,
    make_vocabulary,
    nearest,
    require_known,
)


def test_the_order_of_nih_is_frozen():
    assert NIH_VOCABULARY == (
        "No Finding", "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
        "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
    )  # fmt: skip
    assert make_vocabulary(NIH_FINDINGS) == NIH_VOCABULARY


@pytest.mark.parametrize(
    ("declared", "vocabulary"),
    [
        ([], (NO_FINDING,)),
        (["Mass", "Effusion"], (NO_FINDING, "Mass", "Effusion")),
        (["Mass", "No Finding"], (NO_FINDING, "Mass")),
        ([" Mass ", "Covid-19"], (NO_FINDING, "Mass", "Covid-19")),
    ],
)
def test_no_finding_comes_first_and_the_rest_as_declared(declared, vocabulary):
    assert make_vocabulary(declared) == vocabulary


@pytest.mark.parametrize(
    "name", ["", "  ", "1st", "_x", "a|b", "a,b", "a+b", "a/b", "a.b", "Ödem", "x" * 64, "a\nb", "-x"]
)
def test_a_name_that_cannot_be_a_column_is_refused(name):
    with pytest.raises(InputDataError, match="cannot be used"):
        make_vocabulary(["Mass", name])


@pytest.mark.parametrize(
    "name", ["image", "image_id", "label", "findings", "soft_label", "synthetic", "guide_Mass", "judge_x"]
)
def test_a_name_of_another_column_is_refused(name):
    with pytest.raises(InputDataError, match="no name of an archive's other columns"):
        make_vocabulary([name])


def test_every_column_of_an_archive_is_reserved():
    from xrarchive.archive.schema import DATA, features_of

    for column in set(features_of(DATA, make_vocabulary(["Mass"]))) - {NO_FINDING, "Mass"}:
        with pytest.raises(InputDataError):
            make_vocabulary([column])


@pytest.mark.parametrize(
    "declared", [["Mass", "Mass"], ["Mass", " Mass"], ["Pleural Thickening", "Pleural_Thickening"], ["No_Finding"]]
)
def test_a_name_declared_twice_is_refused(declared):
    with pytest.raises(InputDataError, match=f"Declared twice: .*{declared[-1].strip()}"):
        make_vocabulary(declared)


@pytest.mark.parametrize(
    ("name", "near"), [("effusion", "Effusion"), ("Efusion", "Effusion"), ("EDEMA", "Edema"), ("qqq", None), ("", None)]
)
def test_nearest(name, near):
    assert nearest(name, NIH_VOCABULARY) == near


def test_known_names_pass():
    require_known(NIH_VOCABULARY, NIH_VOCABULARY, where="labels.csv")
    require_known([], (), where="labels.csv")


def test_an_undeclared_name_is_refused_with_place_and_nearest():
    with pytest.raises(InputDataError) as caught:
        require_known(["Mass", "Nodul", "Xyz"], ("No Finding", "Mass", "Nodule"), where="labels.csv:7")
    assert str(caught.value) == (
        "labels.csv:7: the finding 'Nodul' was not declared. The nearest declared one is 'Nodule'. "
        "Declared: No Finding, Mass, Nodule."
    )
    assert "--findings" in caught.value.fix
