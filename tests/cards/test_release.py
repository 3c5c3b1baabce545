"""Every byte of a whole release: nothing unfilled, nothing of the publisher's machine, nothing of a patient."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from tiny_build import archive_bytes

from xrarchive import pipeline
from xrarchive.archive.changing import withdraw
from xrarchive.archive.companions import find_companions
from xrarchive.archive.reader import check_archive, read_table
from xrarchive.cards.addressing import fill_in
from xrarchive.errors import GateError, InputDataError
from xrarchive.hub import plan_publication
from xrarchive.hub.access import Access
from xrarchive.hub.addressing import address
from xrarchive.radiographs import open_set

REPO, VERSION = "jane/chests", "1.0.1"

WAIVERS = {"integrity.near_duplicates": "Images of 16 px are alike."}


def release_of(folder, **more):
    """What goes up, by path."""
    plan = plan_publication(folder, REPO, VERSION, access=Access(private=True), **more)
    return {
        item.path: item.source if isinstance(item.source, bytes) else item.source.read_bytes()
        for item in address(plan.dataset, plan.tag).uploads
    }


@pytest.fixture(scope="module")
def release(archive):
    return release_of(archive)


def test_no_byte_is_unfilled_or_of_the_machine_or_of_a_patient(release, archive, tiny_set, weights):
    films = open_set(tiny_set)
    places = [archive.parent, tiny_set, Path.home(), Path.cwd(), *(path.parent for path in weights.values())]
    strangers = [str(place).encode() for place in places if str(place) != "/"] + [b"/tmp/"]
    strangers += [b"OWNER/NAME", b"vX.Y.Z", b"{{ ", b"{% ", b"[More Information Needed]", b"TODO", b"Undefined"]
    patients = re.compile(rb"\b(%s)\b" % b"|".join(sorted({str(one).encode() for one in films.patients})))
    assert patients.search(b"film of p7")
    for name, content in release.items():
        assert not [word for word in strangers if word in content], name
        if not name.endswith((".parquet", ".png")):  # whose bytes may be anything
            assert not patients.search(content), name
    for config in ("data", "provenance"):
        table = read_table(archive, config=config)
        texts = {value for column in table.columns if column.type == "string" for value in column.to_pylist()}
        assert texts
        assert not [text for text in texts if patients.search(text.encode())]


def test_the_sums_cover_everything_that_goes_up(release):
    lines = dict(reversed(line.split("  ")) for line in release["SHA256SUMS"].decode().splitlines())
    others = {name: hashlib.sha256(content).hexdigest() for name, content in release.items() if name != "SHA256SUMS"}
    assert lines == others


def test_a_copy_of_the_release_is_sound(release, tmp_path):
    for name, content in release.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert check_archive(tmp_path, read_data=True).sound


def test_repository_and_version_are_put_in(release):
    card = release["README.md"].decode()
    assert 'load_dataset("jane/chests", revision="v1.0.1", split="train")' in card
    assert json.loads(release["croissant.json"])["version"] == "1.0.1"
    citation = yaml.safe_load(release["CITATION.cff"])
    assert (citation["version"], citation["url"]) == ("1.0.1", "https://huggingface.co/datasets/jane/chests")
    assert "jane/chests v1.0.1" in release["SCORECARD.md"].decode()


def test_only_what_was_told_is_addressed():
    assert fill_in("notes.md", b"OWNER/NAME", repo=REPO, version=VERSION) == b"OWNER/NAME"
    text = b'{\n  "version": "1.0.0",\n  "x": {\n    "version": "7"\n  }\n}'
    assert fill_in("croissant.json", text, repo=REPO, version=VERSION) == text.replace(b"1.0.0", b"1.0.1")


def test_pictures_the_card_shows_are_there(release):
    shown = set(re.findall(r"\]\((samples/[^)]+)\)", release["README.md"].decode()))
    assert shown == {name for name in release if name.startswith("samples/")}
    assert len(shown) == 3
    for link in re.findall(r"\]\(([A-Z][\w.]+)\)", release["README.md"].decode()):
        assert link in release


def test_the_same_archive_gives_the_same_bytes(mine):
    before = archive_bytes(mine)
    pipeline.write_card(mine)
    assert archive_bytes(mine) == before, "the day of the card stays while the manifest does"
    other = Path(shutil.copytree(mine, mine.parent / "elsewhere" / "chests"))
    for name in find_companions(other):
        (other / name).unlink()
    pipeline.write_card(other, date="2026-11-23")
    assert archive_bytes(other) == before


def test_a_card_of_another_validation_is_refused(mine, weights):
    pipeline.validate(mine, judge=weights["judge"], only=("integrity",), waivers=WAIVERS)
    with pytest.raises(GateError, match="before the archive was validated anew"):
        release_of(mine)


def test_a_withdrawal_leaves_no_picture_and_is_told(mine, weights):
    (gone,) = read_table(mine, ["image_id"])["image_id"].to_pylist()[:1]
    withdraw(mine, ids=[gone], reason="burned-in | <b>text</b>\nof a [film](x)", date="2026-11-24")
    assert find_companions(mine) == []
    pipeline.validate(mine, judge=weights["judge"], only=("integrity",))
    pipeline.write_card(mine)
    card = (mine / "README.md").read_text()
    id_ = gone.replace("_", r"\_")
    row = next(line for line in card.splitlines() if line.startswith("| 2.0.0 | 2026-11-24 |"))
    assert row == rf"| 2.0.0 | 2026-11-24 | 1 | burned-in \| \<b\>text\</b\> of a \[film\](x) | {id_} |"
    assert "| 2.0.0 | withdraw, 2026-11-24 | 0 | 1 |" in card
    assert "Please delete your copies" in card
    assert "2.0.0" in (mine / "CITATION.cff").read_text()


def test_a_publisher_may_bring_templates_and_reads_what_there_is(mine, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "dataset.md").write_text(
        "# Ours: {{ manifest.rows }} of {{ repo }}\n\n| manifest | `{{ manifest.sha256 }}` |"
    )
    pipeline.write_card(mine, templates=own, facts=tmp_path / "facts.json")
    assert "# Ours: 18 of OWNER/NAME" in (mine / "README.md").read_text()
    assert "## Congruence" in (mine / "SCORECARD.md").read_text(), "what is not brought is ours"
    facts = json.loads((tmp_path / "facts.json").read_bytes())
    assert facts["manifest"]["rows"] == 18
    assert len(facts["criteria"]) == 7


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("dataset.md", "{{ colour }}", "'colour' is undefined"),
        ("scorecard.md", "{% if %}", "cannot be filled for scorecard.md"),
        ("croissant.yaml", "a: [", "no YAML"),
        ("croissant.yaml", "- a", "no mapping"),
        ("citation.cff", "title: mine", "does not name the manifest"),
    ],
)
def test_a_template_that_cannot_be_filled_changes_nothing(mine, tmp_path, name, text, words):
    before = archive_bytes(mine)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).write_text(text)
    with pytest.raises(InputDataError, match=re.escape(words)):
        pipeline.write_card(mine, templates=tmp_path / "own")
    assert archive_bytes(mine) == before
