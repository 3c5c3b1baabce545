import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_build import file_size_limit

from xrarchive.errors import DamageError, InputDataError, LockedError, StorageError
from xrarchive.files import (
    atomic_open,
    atomic_path,
    dump_json,
    locked,
    read_json,
    remove_leftovers,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def python(script, *arguments, **options):
    """A process that runs `script` and prints a line when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_hashes(tmp_path):
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "a").write_bytes(data)
    assert sha256_file(tmp_path / "a") == sha256_bytes(data)
    assert sha256_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_write_makes_folders_and_leaves_nothing_else(tmp_path):
    write_bytes(tmp_path / "a/b/c.bin", b"new")
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"new"
    assert names(tmp_path) == ["a", "a/b", "a/b/c.bin"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(TypeError), atomic_open(tmp_path / "a") as stream:
        stream.writelines([b"half of ", "the new"])
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_the_target_changes_only_at_the_end(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new"


KILLED = """
import sys, time
from pathlib import Path
from xrarchive.files import atomic_open
with atomic_open(Path(sys.argv[1])) as stream:
    stream.write(b"half of the ne")
    stream.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_kill_while_writing_leaves_the_old_file_and_the_next_run_clears_up(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    writer = python(KILLED, tmp_path / "a")
    writer.kill()
    writer.communicate()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == [f".tmp-{writer.pid}-a", "a"]
    with locked(tmp_path):
        assert names(tmp_path) == [".lock", ".lock-holder", "a"]


def test_leftovers_are_removed_at_any_depth_and_nothing_else(tmp_path):
    for path in (".tmp-1-a", "b/.tmp-2-c", "b/d", ".lock"):
        write_bytes(tmp_path / path, b"")
    (tmp_path / "b/.tmp-checkpoint/deep").mkdir(parents=True)
    (tmp_path / "b/.tmp-checkpoint/.tmp-3").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".lock", "b", "b/d"]


HOLDER = """
import sys, time
from pathlib import Path
from xrarchive.files import locked
with locked(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_refused_at_once_naming_the_holder_and_freed_by_its_death(tmp_path):
    holder = python(HOLDER, tmp_path)
    start = time.monotonic()
    with pytest.raises(LockedError, match=f"is in use by process {holder.pid} on ") as caught, locked(tmp_path):
        pass
    assert time.monotonic() - start < 10  # the holder sleeps for 60
    assert caught.value.path == str(tmp_path)
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        assert (tmp_path / ".lock-holder").read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / ".lock-holder").exists()


@pytest.mark.parametrize("holder", [None, ""])
def test_a_holder_that_left_no_name(tmp_path, holder):
    with locked(tmp_path):
        (tmp_path / ".lock-holder").unlink() if holder is None else (tmp_path / ".lock-holder").write_text(holder)
        with pytest.raises(LockedError, match="is in use by another process"), locked(tmp_path):
            pass


def test_a_lock_is_let_go_when_the_work_fails(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_a_lock_makes_its_folder(tmp_path):
    with locked(tmp_path / "a/b"):
        assert (tmp_path / "a/b").is_dir()


def test_a_file_over_the_limit_is_a_storage_error_and_leaves_the_old_file(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    with file_size_limit(10_000), pytest.raises(StorageError, match="the file grew over the size limit"):
        write_bytes(tmp_path / "a", bytes(20_000))
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_a_storage_error(tmp_path):
    with (
        pytest.raises(StorageError, match=r"Cannot write .*: the disk is full") as caught,
        atomic_path(tmp_path / "a"),
        Path("/dev/full").open("wb") as stream,
    ):
        stream.write(b"x" * 100_000)
    assert "free some space" in caught.value.fix
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["file/a", "file"])
def test_a_file_where_a_folder_is_needed(tmp_path, target):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file stands where a folder is needed"), locked(tmp_path / target):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="permission denied"):
        write_bytes(tmp_path / "theirs/a", b"")


def test_json_has_one_form(tmp_path):
    write_json(tmp_path / "a.json", {"b": "ü", "a": [1, 2.5, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "a": [\n    1,\n    2.5,\n    null\n  ],\n  "b": "ü"\n}\n'
    assert text.encode() == dump_json(json.loads(text))
    assert read_json(tmp_path / "a.json", what="thing", fix="make it") == {"a": [1, 2.5, None], "b": "ü"}


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": }'])
def test_damaged_json(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamageError, match=r"a\.json is damaged") as caught:
        read_json(tmp_path / "a.json", what="thing", fix="Make it again.")
    assert caught.value.fix == "Make it again."


@pytest.mark.parametrize("path", ["none.json", "folder", "file/a.json"])
def test_json_that_is_not_there(tmp_path, path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputDataError, match="No thing at"):
        read_json(tmp_path / path, what="thing", fix="Make it.")
