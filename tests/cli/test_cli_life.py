"""The commands of an archive's life on a real one: exit codes, words, JSON."""

import json
import shutil
import sys
from pathlib import Path

import click.testing
import pytest

import xrarchive.pipeline
from xrarchive.cli.main import main
from xrarchive.files import locked

sys.path.append(str(Path(__file__).parents[1] / "archive"))
from made_archive import make_archive, make_plan


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
