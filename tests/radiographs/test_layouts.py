from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_source import NIH_HEADER, MakeSource, four_rows, gradient, many_rows, write_labels, write_nih

from xrarchive.errors import InputDataError
from xrarchive.findings import NIH_VOCABULARY
from xrarchive.radiographs.layouts import Listing, read_listing
from xrarchive.radiographs.split import assign_split, carve_validation

HEADER = "image,labels,patient_id,split"


def read(source: Path) -> Listing:
    return read_listing(source, NIH_VOCABULARY)


def shown(listing: Listing) -> list[tuple[str, ...] | None]:
    """Findings present on each film, None where all are unknown."""
    return [
        None
        if set(row.labels) == {None}
        else tuple(n for n, x in zip(listing.vocabulary, row.labels, strict=True) if x)
        for row in listing.rows
    ]


def write_lines(source: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    source.mkdir(parents=True, exist_ok=True)
    (source / "labels.csv").write_bytes((end.join(lines) + end).encode(encoding))
    return source


def test_a_full_labels_csv(make_source: MakeSource) -> None:
    listing = read(make_source())
    assert listing.layout == "labels.csv"
    assert listing.ignored_columns == ("note",)
    assert shown(listing) == [("No Finding",), ("Effusion", "Mass"), ("Effusion",), None]
    assert set(listing.rows[0].labels) == {0, 1}
    assert [row.split for row in listing.rows] == ["train", "train", "validation", "unlabelled"]
    assert [row.patient for row in listing.rows] == ["p1", "p1", "p2", "image:images/d.png"]
    first, last = listing.rows[0], listing.rows[-1]
    assert (first.view, first.age, first.sex, first.source) == ("PA", 57, "M", "here")
    assert (last.view, last.age, last.sex, last.source) == ("", None, "", "")


def test_two_columns_are_enough_and_patients_are_split_by_hash(tmp_path: Path) -> None:
    listing = read(write_lines(tmp_path, "image,labels", "a.png,Effusion", "b.png,"))
    assert [row.split for row in listing.rows] == [assign_split("image:a.png"), assign_split("image:b.png")]


def test_a_split_of_ours_is_by_patient(make_source: MakeSource) -> None:
    listing = read(make_source(many_rows(40), columns=("image", "labels", "patient_id")))
    splits: dict[str, set[str]] = {}
    for row in listing.rows:
        splits.setdefault(row.patient, set()).add(row.split)
    assert len(splits) == 20
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize(("end", "encoding"), [("\n", "utf-8"), ("\r\n", "utf-8-sig"), ("\r", "utf-8")])
def test_byte_order_marks_line_ends_blank_lines_and_spaces(tmp_path: Path, end: str, encoding: str) -> None:
    source = write_lines(tmp_path, "image, labels", " a.png , Effusion | Mass ", ",", "", end=end, encoding=encoding)
    listing = read(source)
    assert [row.image for row in listing.rows] == ["a.png"]
    assert shown(listing) == [("Effusion", "Mass")]


def test_quoted_line_ends_do_not_shift_the_line_named(tmp_path: Path) -> None:
    source = write_lines(tmp_path, "image,labels,report", 'a.png,Effusion,"two\nlines, one cell"', "b.png,Efusion,")
    with pytest.raises(InputDataError, match=r"labels\.csv:4: the finding 'Efusion' .*nearest .* 'Effusion'"):
        read(source)


def test_ids_stay_words_whatever_their_size(tmp_path: Path) -> None:
    source = write_lines(tmp_path, HEADER, f"a.png,Mass,{2**70},train", "b.png,Mass,007,train", "c.png,Mass,NaN,test")
    assert [row.patient for row in read(source).rows] == [str(2**70), "007", "NaN"]


@pytest.mark.parametrize(
    ("age", "years"),
    [("57", 57), ("57.0", 57), ("058Y", 58), ("018M", 1), ("003D", 0), ("414", None), ("", None), ("old", None)],
)
def test_ages(tmp_path: Path, age: str, years: int | None) -> None:
    assert read(write_lines(tmp_path, "image,labels,age", f"a.png,Mass,{age}")).rows[0].age == years


@pytest.mark.parametrize(("word", "sex"), [("M", "M"), ("female", "F"), ("O", ""), ("", "")])
def test_sexes(tmp_path: Path, word: str, sex: str) -> None:
    assert read(write_lines(tmp_path, "image,labels,sex", f"a.png,Mass,{word}")).rows[0].sex == sex


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["image,finding", "a.png,Mass"], r"labels\.csv:1: the column 'labels' is missing.* Found: image, finding"),
        (["images,labels", "a.png,Mass"], r"the column 'image' is missing\. Is 'images' meant\?"),
        (["labels", "Mass"], r"the column 'image' is missing"),
        (["image,labels,labels", "a.png,Mass,"], r"the column 'labels' stands there twice"),
        ([""], r"the column 'image' is missing.* Found: nothing"),
        (["image,labels"], r"lists no radiograph"),
        ([HEADER, "a.png,Effusion,Mass,p1,train"], r"labels\.csv:2: expected 4 cells, found 5"),
        ([HEADER, "a.png,Effusion"], r"labels\.csv:2: expected 4 cells, found 2"),
        ([HEADER, "a.png,Efusion,p1,train"], r"labels\.csv:2: the finding 'Efusion' .* 'Effusion'"),
        ([HEADER, "a.png,Effusion|,p1,train"], r"labels\.csv:2: the finding '' was not declared"),
        ([HEADER, "a.png,No Finding|Mass,p1,train"], r"labels\.csv:2: .*'No Finding' together with a finding"),
        ([HEADER, "a.png,Mass,p1,trian"], r"labels\.csv:2: 'trian' is not a split.* 'train'"),
        ([HEADER, "a.png,Mass,p1,"], r"labels\.csv:2: '' is not a split"),
        (
            [HEADER, "a.png,Mass,p1,train", "./a.png,,p1,train"],
            r"csv:3: the image 'a\.png' was already listed in line 2",
        ),
        (
            [HEADER, "a.png,Mass,p1,train", "b.png,Mass,p1,test"],
            r"Patient 'p1' is in 2 splits .*test: b\.png; train: a",
        ),
        ([HEADER, ",Mass,p1,train"], r"labels\.csv:2: '' is not a path inside"),
        ([HEADER, "/etc/a.png,Mass,p1,train"], r"'/etc/a\.png' is not a path inside"),
        ([HEADER, "x/../../a.png,Mass,p1,train"], r"is not a path inside"),
        ([HEADER, "C:/a.png,Mass,p1,train"], r"is not a path inside"),
        ([HEADER, '"a.png,Mass,p1,train'], r"labels\.csv:\d: unexpected end of data"),
        ([HEADER, f"a.png,Mass,p1,{'x' * 200_000}"], r"labels\.csv:2: field larger than field limit"),
    ],
)
def test_a_labels_csv_that_is_refused(tmp_path: Path, lines: list[str], expected: str) -> None:
    with pytest.raises(InputDataError, match=expected) as caught:
        read(write_lines(tmp_path, *lines))
    assert caught.value.fix


def test_latin1_is_named_by_line_and_byte(tmp_path: Path) -> None:
    source = write_lines(tmp_path, "image,labels,note", "a.png,Mass,", "b.png,Mass,Größe", encoding="latin-1")
    with pytest.raises(InputDataError, match=r"labels\.csv:3: expected UTF-8, found byte 0xf6") as caught:
        read(source)
    assert "iconv" in caught.value.fix


def test_missing_empty_and_unknown_folders(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"No folder of radiographs at .*absent: found nothing"):
        read(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(InputDataError, match="file is a file, expected a folder or an archive"):
        read(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputDataError, match=r"no known layout of radiographs: it is empty"):
        read(tmp_path / "empty")
    (tmp_path / "empty" / "train.csv").touch()
    with pytest.raises(InputDataError, match=r"it holds train\.csv"):
        read(tmp_path / "empty")


def test_what_the_system_will_not_read_is_said(make_source: MakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source()

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputDataError, match=r"Cannot read .*labels\.csv: permission denied"):
        read(source)


@pytest.mark.parametrize("edition", ["Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv"])
@pytest.mark.parametrize("folder", ["images", "images_00{}/images", "images_00{}", "."])
def test_nih_in_both_editions_and_all_image_folders(tmp_path: Path, edition: str, folder: str) -> None:
    source = write_nih(tmp_path / "nih", edition=edition, folder=folder)
    listing = read(source)
    assert listing.layout == "nih-chestxray14"
    assert listing.terms == ("nih-chestxray14",)
    assert all(row.place.path.is_file() for row in listing.rows)
    assert [row.patient for row in listing.rows] == ["1", "1", "2", "3", "3", "4"]
    assert shown(listing)[1] == ("Cardiomegaly", "Emphysema")
    assert [row.view for row in listing.rows] == ["PA", "AP", "PA", "PA", "PA", "AP"]
    assert [row.age for row in listing.rows[:3]] == [58, None, 81]
    assert listing.rows[0].sex == "M"
    assert listing.rows[0].split == assign_split("1")
    assert "OriginalImage[Width" in listing.ignored_columns
    assert "" not in listing.ignored_columns


def test_the_corrected_nih_table_wins(tmp_path: Path) -> None:
    source = write_nih(tmp_path / "nih")
    (source / "Data_Entry_2017.csv").write_text(f"{NIH_HEADER},\n")
    assert len(read(source).rows) == 6


def test_nih_official_lists_keep_test_and_carve_validation(tmp_path: Path) -> None:
    source = write_nih(tmp_path / "nih")
    names = [path.name for path in sorted((source / "images").iterdir())]
    (source / "train_val_list.txt").write_text("\n".join(names[:3]))
    (source / "test_list.txt").write_text("\r\n".join(names[3:]) + "\r\n")
    listing = read(source)
    assert [row.split for row in listing.rows[3:]] == ["test"] * 3
    assert [row.split for row in listing.rows[:3]] == [carve_validation(patient) for patient in ("1", "1", "2")]
    assert sorted(listing.tables) == ["Data_Entry_2017_v2020.csv", "test_list.txt", "train_val_list.txt"]


@pytest.mark.parametrize(
    ("train_val", "test", "expected"),
    [
        (slice(0, 6), None, r"one of NIH's two official lists; test_list\.txt is missing"),
        (slice(0, 2), slice(3, 6), r"csv:4: '00000002_000\.png' stands in neither"),
        (slice(0, 4), slice(3, 6), r"'00000003_000\.png' stands in both"),
        (slice(0, 4), slice(4, 6), r"Patient '3' is in 2 splits"),
    ],
)
def test_nih_lists_that_are_refused(tmp_path: Path, train_val: slice, test: slice | None, expected: str) -> None:
    source = write_nih(tmp_path / "nih")
    names = [path.name for path in sorted((source / "images").iterdir())]
    (source / "train_val_list.txt").write_text("\n".join(names[train_val]))
    if test:
        (source / "test_list.txt").write_text("\n".join(names[test]))
    with pytest.raises(InputDataError, match=expected):
        read(source)


def test_an_nih_image_that_is_absent_is_left_for_decoding_to_reject(tmp_path: Path) -> None:
    source = write_nih(tmp_path / "nih")
    (source / "images" / "00000002_000.png").unlink()
    assert not read(source).rows[2].place.path.exists()


def test_linked_image_folders_are_followed(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    shutil.move(source / "images", tmp_path / "elsewhere")
    (source / "images").symlink_to(tmp_path / "elsewhere")
    assert all(row.place.path.is_file() for row in read(source).rows)


def test_odd_file_names_are_only_names(make_source: MakeSource) -> None:
    names = ["images/-rf.png", "images/a b\nc.png", "images/lung 🫁.png", "images/%00..png"]
    source = make_source([{**row, "image": name} for row, name in zip(four_rows(), names, strict=True)])
    assert [row.image for row in read(source).rows] == names
    assert all(row.place.path.is_file() for row in read(source).rows)


def test_declared_findings_replace_nihs(make_source: MakeSource) -> None:
    source = make_source()
    gradient(9).save(source / "images" / "e.png")
    write_labels(source, [{"image": "images/e.png", "labels": "Fracture", "split": "train"}])
    assert shown(read_listing(source, ("No Finding", "Fracture"))) == [("Fracture",)]
    with pytest.raises(InputDataError, match="'Fracture' was not declared"):
        read(source)
