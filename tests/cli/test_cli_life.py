"""The commands of an archive's life on a real one: exit codes, words, JSON."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import click.testing
import pytest

import xrarchive.pipeline
from xrarchive.archive.reader import read_table
from xrarchive.cli.main import main
from xrarchive.files import locked

sys.path.append(str(Path(__file__).parents[1] / "archive"))
import made_archive
from made_archive import make_archive, make_image, make_plan


@pytest.fixture(autouse=True)
def pipeline():
    """The real one, in the place of the stand-in."""
    return xrarchive.pipeline


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("made") / "archive", rows_per_shard=6)


@pytest.fixture
def archive(made, folder):
    return shutil.copytree(made, folder / "archive")


@pytest.fixture
def call():
    def run(*words):
        found = click.testing.CliRunner().invoke(main, list(map(str, words)))
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found

    return run


def test_withdraw_says_what_it_did_and_log_remembers(archive, call):
    told = call("withdraw", archive, "--ids", "s3-Mass-000001", "--reason", "صورة 🫁", "--json")
    assert told.exit_code == 0
    result = json.loads(told.stdout)
    assert (result["removed"], result["rows"], result["version"]) == (["s3-Mass-000001"], 8, "2.0.0")
    told = call("withdraw", archive, "--ids", "s3-Mass-000001", "--reason", "again")
    assert (told.exit_code, "They were withdrawn before." in told.output) == (0, True)
    log = json.loads(call("log", archive, "--json").stdout)
    assert [item["change"] for item in log["history"]] == ["build", "withdraw"]
    assert [item["image_id"] for item in log["withdrawn"]] == ["s3-Mass-000001"]
    assert "صورة 🫁" in call("log", archive).output


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--reason", "x"), 2, "Give --ids or --where"),
        (("--ids", "a"), 2, "--reason"),
        (("--ids", "a", "--reason", " "), 2, "--reason is empty"),
        (("--ids", "a", "--reason", "\udcff"), 2, "no UTF-8"),
        (("--ids", "a", "--reason", "x", "--date", "tomorrow"), 2, "tomorrow"),
        (("--ids", "nobody", "--reason", "x"), 3, "nobody"),
        (("--where", "steps", "--reason", "x"), 3, "yes or no"),
        (("--where", "soft_label >= 0", "--reason", "x"), 3, "withdraw all 9 images"),
    ],
)
def test_withdraw_refuses(archive, call, words, code, message):
    told = call("withdraw", archive, *words)
    assert told.exit_code == code
    assert message in told.output


def test_ids_with_commas_come_from_a_file_and_ids_add_up(folder, call, monkeypatch):
    def with_commas(plan, planned):
        image = make_image(plan, planned)
        return dataclasses.replace(image, image_id=image.image_id.replace("-Mass-", ", Mass, "))

    monkeypatch.setattr(made_archive, "make_image", with_commas)
    archive = make_archive(folder / "odd")
    present = sorted(read_table(archive, ["image_id"])["image_id"].to_pylist())
    odd, plain = ([name for name in present if ("," in name) == holds][:2] for holds in (True, False))
    (folder / "ids.txt").write_text(f"{odd[0]}\r\n\n{odd[1]}", newline="")
    words = ("--ids", f"@{folder / 'ids.txt'}", "--ids", plain[0], "--ids", plain[1])
    told = call("withdraw", archive, *words, "--reason", "x", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["removed"] == sorted([*odd, *plain])


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff"])
def test_a_file_of_ids_that_says_nothing_is_refused(archive, folder, call, content):
    if content is not None:
        (folder / "ids.txt").write_bytes(content)
    told = call("withdraw", archive, "--ids", f"@{folder / 'ids.txt'}", "--reason", "x")
    assert (told.exit_code, "ids.txt" in told.output) == (2, True)


def test_a_share_with_workers_is_refused(archive, call):
    for command in (("build",), ("extend", archive, "--per-class", 9)):
        told = call(*command, "--units", "1/2", "--workers", "2")
        assert (told.exit_code, "one process" in told.output) == (2, True)


def test_split(archive, call):
    assert call("split", archive, "--train", ".5").exit_code == 2
    told = call("split", archive, "--train", ".5", "--validation", "0", "--test", ".5", "--json")
    assert (told.exit_code, json.loads(told.stdout)["version"]) == (0, "2.0.0")
    assert call("check", archive, "--read-data").exit_code == 0


def test_merge(archive, folder, call):
    make_archive(folder / "other", make_plan(seed=4))
    told = call("merge", archive, folder / "other", "--out", folder / "both", "--json")
    assert (told.exit_code, json.loads(told.stdout)["rows"]) == (0, 18)
    told = call("merge", archive, archive, "--out", folder / "twice")
    assert (told.exit_code, "9 ids in both" in told.output) == (3, True)
    assert call("merge", folder / "other", archive, "--out", folder / "both").exit_code == 9


def test_gc_shows_and_only_with_yes_removes(archive, call):
    leftover = archive / "data/train-00009.parquet"
    shutil.copy(archive / "data/train-00000.parquet", leftover)
    told = call("gc", archive)
    assert (told.exit_code, "train-00009" in told.output, leftover.exists()) == (0, True, True)
    told = call("gc", archive, "--yes", "--json")
    assert (json.loads(told.stdout)["removed"], leftover.exists()) == (True, False)
    assert "Nothing is left over." in call("gc", archive).output


def test_codes_of_what_the_world_does(archive, folder, call):
    with locked(archive):
        assert call("gc", archive).exit_code == 0
    assert call("log", folder / "nowhere").exit_code == 3
    text = (archive / "manifest.json").read_text()
    (archive / "manifest.json").write_text(text.replace('"seed": 3', '"seed": 4'))
    for command in (("log",), ("split",), ("withdraw", "--ids", "a", "--reason", "x")):
        assert call(command[0], archive, *command[1:]).exit_code == 6
    assert call("extend", archive).exit_code == 2
