"""The files beside README.md: known to check and sums, sent by publish, gone with the state they show."""

import pytest
from life_world import DATE, extend_made

from xrarchive.archive.changing import withdraw
from xrarchive.archive.companions import find_companions, stale_companions
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import check_archive
from xrarchive.archive.sums import write_sums

NAMES = ["croissant.json", "CITATION.cff", "SCORECARD.md", "samples/Effusion.png"]


@pytest.fixture
def carded(archive):
    """With four companions of its manifest."""
    (archive / "samples").mkdir()
    for name in NAMES:
        (archive / name).write_text(f"of {read_manifest(archive).sha256}")
    write_sums(archive, read_manifest(archive))
    return archive


def test_they_are_known_and_hashed(carded):
    assert find_companions(carded) == NAMES
    assert check_archive(carded).sound
    sums = (carded / "SHA256SUMS").read_text()
    assert all(f"  {name}\n" in sums for name in NAMES)
    (carded / "samples/Effusion.png").write_text("another")
    (problem,) = check_archive(carded).problems
    assert (problem.id, problem.path) == ("wrong-sum", "samples/Effusion.png")


def test_what_else_lies_among_the_samples_is_surplus(carded):
    (carded / "samples/notes.txt").write_text("mine")
    (problem,) = check_archive(carded).problems
    assert (problem.id, problem.path) == ("surplus-file", "samples/notes.txt")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: extend_made(folder, 5),
        lambda folder: withdraw(folder, ids=["s3-Mass-000001"], reason="text", date=DATE),
    ],
)
def test_they_go_with_the_state_they_show(carded, change):
    change(carded)
    assert find_companions(carded) == []
    assert not (carded / "samples").exists()
    assert check_archive(carded).sound


def test_a_stale_one_is_named(carded):
    (carded / "CITATION.cff").write_text("of another")
    assert stale_companions(carded, read_manifest(carded)) == ["CITATION.cff"]
