"""The entry of a version: written from what differs, on top, once."""

import shutil

import pytest

from xrarchive.archive.changelog import put_entry, render_entry, write_entry
from xrarchive.archive.changing import withdraw
from xrarchive.archive.diffing import diff_archives
from xrarchive.archive.source import open_folder
from xrarchive.errors import InputDataError

ENTRY = "## 1.1.0\n\nNew.\n"


@pytest.fixture
def found(made, archive):
    withdraw(archive, ids=["s3-Mass-000001"], reason="burned-in\n## 9.9.9 text", date="2026-01-02")
    return diff_archives(open_folder(made), open_folder(archive))


def test_an_entry_says_what_happened_and_why(found):
    assert render_entry(found) == (
        "## 2.0.0\n\nSince 1.0.0: 0 rows added, 1 removed, 0 changed; 8 rows in all.\n\n"
        "- 2.0.0, withdraw on 2026-01-02 (1 removed): burned-in ## 9.9.9 text\n"
        "- `Mass`: 4 images → 3\n"
    )


def test_nothing_differs(made):
    same = diff_archives(open_folder(made), open_folder(made))
    assert render_entry(same) == "## 1.0.0\n\nSince 1.0.0: 0 rows added, 0 removed, 0 changed; 9 rows in all.\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "# Changelog\n\n## 1.1.0\n\nNew.\n"),
        ("# Chests\n\nAll of it.\n", "# Chests\n\nAll of it.\n\n## 1.1.0\n\nNew.\n"),
        ("# Chests\n\n## 1.0.0\n\nFirst.\n", "# Chests\n\n## 1.1.0\n\nNew.\n\n## 1.0.0\n\nFirst.\n"),
        ("# C\n\n## 1.1.0 (2026)\n\nOld.\n\n## 1.0.0\n", "# C\n\n## 1.1.0\n\nNew.\n\n## 1.0.0\n"),
        ("# C\n\n## [1.1.0]\nOld.\n", "# C\n\n## 1.1.0\n\nNew.\n"),
        ("# C\n\n## 2.0.0\n\n## 1.1.0\n\nOld\n\n## 1.0.0\n", "# C\n\n## 2.0.0\n\n## 1.1.0\n\nNew.\n\n## 1.0.0\n"),
        ("# C\n\n## 1.1.01\n", "# C\n\n## 1.1.0\n\nNew.\n\n## 1.1.01\n"),
    ],
)
def test_where_an_entry_goes(before, after):
    assert put_entry(before, ENTRY) == after
    assert put_entry(after, ENTRY) == after


def test_a_file_is_made_and_then_left_alone(found, tmp_path):
    path = tmp_path / "new" / "CHANGELOG.md"
    write_entry(path, found)
    first = path.stat()
    write_entry(path, found)
    assert path.read_text() == f"# Changelog\n\n{render_entry(found)}"
    assert path.stat().st_ino == first.st_ino
    assert [item.name for item in path.parent.iterdir()] == ["CHANGELOG.md"]


def test_it_may_stand_in_the_archive(found, archive):
    from xrarchive.archive.reader import check_archive

    write_entry(archive / "CHANGELOG.md", found)
    assert check_archive(archive).sound


@pytest.mark.parametrize("name", ["binary", "folder"])
def test_what_is_no_text_is_refused(found, tmp_path, name):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputDataError, match="no text file"):
        write_entry(tmp_path / name, found)
    assert (tmp_path / "binary").read_bytes() == b"\xff\xfe\x00"


def test_line_ends_of_windows(found, tmp_path):
    path = tmp_path / "CHANGELOG.md"
    path.write_bytes(b"# C\r\n\r\n## 1.0.0\r\n\r\nFirst.\r\n")
    write_entry(path, found)
    shutil.copy(path, tmp_path / "copy")
    assert path.read_bytes().decode() == f"# C\n\n{render_entry(found)}\n## 1.0.0\n\nFirst.\n"
