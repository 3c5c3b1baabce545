"""Mistakes people make with a source: each is answered by one message, and doing what it says helps."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from published_trees import png, put, write_tar, write_zip
from tiny_source import write_nih

from xrarchive.errors import InputDataError, SettingsError
from xrarchive.radiographs import Choices, ingest

NAMES = [f"images/{index}.png" for index in range(4)]


def own(root: Path, *lines: str, encoding: str = "utf-8", images: bool = True) -> Path:
    """Four films with a labels.csv of these lines."""
    root.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in lines or good())
    (root / "labels.csv").write_bytes(text.encode(encoding))
    for index, name in enumerate(NAMES if images else []):
        put(root / name, png(index))
    return root


def good(**changes: str) -> list[str]:
    """Lines of a labels.csv without fault, words replaced."""
    lines = ["image,labels,patient_id", *(f"{name},Effusion,1200{i}" for i, name in enumerate(NAMES))]
    for old, new in changes.items():
        lines = [line.replace(old, new) for line in lines]
    return lines


def rewrite(root: Path) -> Path:
    (root / "labels.csv").write_text("".join(f"{line}\n" for line in good()))
    return root


def too_deep(root: Path) -> tuple[Path, Callable[[], Path]]:
    return own(root / "set") / "images", lambda: root / "set"


def the_table_itself(root: Path) -> tuple[Path, Callable[[], Path]]:
    return own(root / "set") / "labels.csv", lambda: root / "set"


def too_high(root: Path) -> tuple[Path, Callable[[], Path]]:
    own(root / "downloads" / "set")
    return root / "downloads", lambda: root / "downloads" / "set"


def other_edition(root: Path) -> tuple[Path, Callable[[], Path]]:
    """Official lists of another edition than the table."""
    nih = write_nih(root / "nih")
    (nih / "train_val_list.txt").write_text("00000001_000.png\n")
    (nih / "test_list.txt").write_text("00000099_000.png\n")

    def repair() -> Path:
        (nih / "train_val_list.txt").unlink()
        (nih / "test_list.txt").unlink()
        return nih

    return nih, repair


def images_missing(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", images=False)
    return source, lambda: own(source)


def mangled_ids(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *[re.sub(r"1200\d", "8.39860488694292E+35", line) for line in good()])
    return source, lambda: rewrite(source)


def semicolons(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *[line.replace(",", ";") for line in good()])
    return source, lambda: rewrite(source)


def a_table_nobody_knows(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *[line.replace(",", ";") for line in good()])
    (source / "labels.csv").rename(source / "films.csv")
    return source, lambda: rewrite(source)


def two_tables(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set")
    shutil.copy(source / "labels.csv", source / "a.csv")
    (source / "labels.csv").rename(source / "b.csv")

    def repair() -> Path:
        (source / "a.csv").unlink()
        return source

    return source, repair


def half_a_download(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = write_nih(root / "nih")
    images = [(f"images/{path.name}", path.read_bytes()) for path in sorted((source / "images").iterdir())]
    shutil.rmtree(source / "images")
    write_tar(source / "images_001.tar.gz", images)
    whole = (source / "images_001.tar.gz").read_bytes()
    put(source / "images_001.tar.gz", whole[: len(whole) // 2])

    def repair() -> Path:
        put(source / "images_001.tar.gz", whole)
        return source

    return source, repair


def latin1(root: Path) -> tuple[Path, Callable[[], Path]]:
    lines = [f"{line},{'note' if index == 0 else 'Größe'}" for index, line in enumerate(good())]
    source = own(root / "set", *lines, encoding="latin-1")
    return source, lambda: own(source, *lines)


def utf16(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *good(), encoding="utf-16")
    return source, lambda: own(source)


def other_suffix(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *[line.replace(".png", ".jpg") for line in good()])
    return source, lambda: rewrite(source)


def other_case(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *[line.replace(".png", ".PNG") for line in good()])
    return source, lambda: rewrite(source)


def absolute_paths(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *[line.replace("images/", f"{root}/set/images/") for line in good()])
    return source, lambda: rewrite(source)


def no_folder_in_paths(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *[line.replace("images/", "") for line in good()])
    return source, lambda: rewrite(source)


def title_line(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", "Labels of our films, 2026", *good())
    return source, lambda: rewrite(source)


def other_columns(root: Path) -> tuple[Path, Callable[[], Path]]:
    source = own(root / "set", *[line.replace("image,labels", "images,labels") for line in good()])
    return source, lambda: rewrite(source)


def undeclared(root: Path) -> tuple[Path, Callable[[], Path]]:
    lines = good()
    lines[1:3] = [line.replace("Effusion", "Efusion|Pneumonai") for line in lines[1:3]]
    source = own(root / "set", *lines)
    return source, lambda: rewrite(source)


def split_patient(root: Path) -> tuple[Path, Callable[[], Path]]:
    splits = ("split", "train", "test", "train", "train")
    lines = [f"{re.sub('1200.', '12000', line)},{split}" for line, split in zip(good(), splits, strict=True)]
    source = own(root / "set", *lines)
    return source, lambda: rewrite(source)


MISTAKES = [
    (too_deep, r"has no table of its own; .*/set is a folder with labels\.csv", r"ingest .*/set "),
    (the_table_itself, r"labels\.csv is a file, expected a folder", r"ingest .*/set$"),
    (too_high, r"has no table of its own; .*/downloads/set is", r"ingest .*/downloads/set "),
    (
        other_edition,
        r"stands in neither train_val_list\.txt nor test_list\.txt",
        "from the same download, or remove both",
    ),
    (images_missing, r"4 of 4 radiographs cannot be read .*not there.*'images/0\.png'; no image", "Add the images"),
    (
        mangled_ids,
        r"csv:2: '8\.39860488694292E\+35' is an id that a spreadsheet has rounded",
        "import the column as text",
    ),
    (semicolons, r"csv:1: cells are separated by ';'", "CSV UTF-8"),
    (a_table_nobody_knows, r"images and films\.csv: expected one table we know\. .*: image;labels", "comma-separated"),
    (
        two_tables,
        r"images and a\.csv, b\.csv: expected one .*: image, labels",
        "Give one table",
    ),
    (half_a_download, r"images_001\.tar\.gz is damaged", "Download the file again"),
    (latin1, r"csv:2: expected UTF-8, found byte 0xf6", "iconv -f latin1"),
    (utf16, r"expected UTF-8, found UTF-16", "iconv -f utf-16"),
    (other_suffix, r"'images/0\.jpg'; there is 'images/0\.png'", r"Write \.png instead of \.jpg"),
    (other_case, r"'images/0\.PNG'; there is 'images/0\.png'", "capitals matter"),
    (absolute_paths, r"csv:2: '/.*/set/images/0\.png' is not a path inside", r"Write 'images/0\.png' there"),
    (no_folder_in_paths, r"'0\.png'; there is 'images/0\.png'", r"'images/0\.png' instead of '0\.png'"),
    (title_line, r"the columns image, labels stand in line 2, expected in line 1", r"tail -n \+2 labels\.csv"),
    (other_columns, r"the column 'image' is missing\. Is 'images' meant\?", "first line must name"),
    (undeclared, r"2 findings were not declared: 'Efusion' \(2 lines\).*Efusion is perhaps Effusion", "--findings"),
    (split_patient, r"Patient '12000' is in 2 splits", "Put all images of a patient into one split"),
]


@pytest.mark.parametrize(("mistake", "message", "fix"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_one_message_that_fixes_it(
    tmp_path: Path, mistake: Callable[[Path], tuple[Path, Callable[[], Path]]], message: str, fix: str
) -> None:
    source, repair = mistake(tmp_path)
    with pytest.raises(InputDataError, match=message) as caught:
        ingest(source, tmp_path / "out", size_px=16)
    assert re.search(fix, caught.value.fix)
    assert not (tmp_path / "out").exists()
    assert ingest(repair(), tmp_path / "out", size_px=16).images in (4, 6)


def test_images_in_a_zip_beside_the_table_are_no_mistake(tmp_path: Path) -> None:
    source = own(tmp_path / "set", images=False)
    write_zip(source / "images.zip", [(name, png(index)) for index, name in enumerate(NAMES)])
    assert ingest(source, tmp_path / "one", size_px=16).images == 4
    write_zip(source / "images.zip", [(name.removeprefix("images/"), png(index)) for index, name in enumerate(NAMES)])
    assert ingest(source, tmp_path / "two", size_px=16).images == 4


@pytest.mark.parametrize(
    ("choices", "findings", "expected"),
    [
        (Choices(layout="nih"), None, r"Unknown layout 'nih'"),
        (Choices(views=("sideways",)), None, r"Unknown view 'sideways'"),
        (Choices(uncertain=("maybe",)), None, r"Unknown policy 'maybe'"),
        (Choices(uncertain=("Edma=ones",)), None, r"the finding 'Edma' is not among"),
        (Choices(), ("Hernai",), r"nih-chestxray14 names no finding 'Hernai'"),
    ],
)
def test_choices_that_are_none(
    tmp_path: Path, choices: Choices, findings: tuple[str, ...] | None, expected: str
) -> None:
    with pytest.raises(SettingsError, match=expected) as caught:
        ingest(write_nih(tmp_path / "nih"), tmp_path / "out", size_px=16, findings=findings, choices=choices)
    assert caught.value.fix


def test_all_findings_of_a_table_of_ones_own_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--findings all goes with public sets"):
        ingest(own(tmp_path / "set"), tmp_path / "out", findings=("all",))


def test_a_layout_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"holds nothing of CheXpert; it holds"):
        ingest(write_nih(tmp_path / "nih"), tmp_path / "out", choices=Choices(layout="chexpert"))
