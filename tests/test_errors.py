import errno
import inspect
import re
from pathlib import Path

import pytest

from xrarchive import errors
from xrarchive.errors import StorageError, XrArchiveError, storage_errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, XrArchiveError)]
CONCRETE = [kind for kind in KINDS if kind is not XrArchiveError]
# The table every command promises; scripts of users depend on it.
CODES = {
    "SettingsError": 2, "InputDataError": 3, "StorageError": 4, "LockedError": 5, "DamageError": 6, "RemoteError": 7,
    "AccessError": 8, "PlanChangedError": 9, "ShortfallError": 10, "GateError": 11, "MemoryExhaustedError": 12,
}  # fmt: skip


def test_codes_are_those_promised_and_unique():
    assert {kind.__name__: kind.code for kind in CONCRETE} == CODES
    assert len(set(CODES.values())) == len(CODES)
    assert not set(CODES.values()) & {errors.EXIT_OK, errors.EXIT_BUG, errors.EXIT_INTERRUPTED}
    assert CODES["SettingsError"] == errors.EXIT_USAGE
    assert CODES["ShortfallError"] == errors.EXIT_SHORTFALL


def test_kinds_are_unique_words():
    kinds = [kind.kind for kind in CONCRETE]
    assert len(set(kinds)) == len(kinds)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind) for kind in kinds)


def test_the_tree_is_drawn_as_it_is():
    drawn = re.findall(r"── (\w+)\s+(\d+)", inspect.getdoc(errors) or "")
    assert {name: int(code) for name, code in drawn} == CODES
    assert all(kind.__bases__ == (XrArchiveError,) for kind in CONCRETE)


@pytest.mark.parametrize("kind", CONCRETE)
def test_an_error_says_what_and_what_next(kind):
    err = kind("It broke.", fix="Mend it.", path=Path("a/b"))
    assert str(err) == err.message == "It broke."
    assert err.as_dict() == {
        "code": kind.code, "kind": kind.kind, "message": "It broke.", "fix": "Mend it.", "path": "a/b",
    }  # fmt: skip


def test_a_fix_is_never_left_out():
    with pytest.raises(TypeError, match="fix"):
        XrArchiveError("It broke.")  # type: ignore[call-arg]
    assert XrArchiveError("It broke.", fix="Mend it.").path is None


CAUSES = [
    (errno.ENOSPC, "the disk is full"),
    (errno.EDQUOT, "the disk quota is used up"),
    (errno.EFBIG, "the file grew over the size limit"),
    (errno.EACCES, "permission denied"),
    (errno.EPERM, "permission denied"),
    (errno.EROFS, "the file system is read-only"),
    (errno.EEXIST, "a file stands where a folder is needed"),
    (errno.ENOTDIR, "a file stands where a folder is needed"),
]


@pytest.mark.parametrize(("number", "cause"), CAUSES)
def test_refusals_of_the_disk(number, cause):
    with pytest.raises(StorageError, match=f"^Cannot write out: {cause}\\.$") as caught, storage_errors(Path("out")):
        raise OSError(number, "no")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.path == "out"


def test_the_file_the_system_names_is_the_one_reported():
    with pytest.raises(StorageError, match="Cannot write deep/file"), storage_errors(Path("out")):
        raise OSError(errno.ENOSPC, "no", "deep/file")


@pytest.mark.parametrize("err", [OSError(errno.ENOENT, "no"), OSError(errno.EIO, "no"), ValueError("no"), KeyError(1)])
def test_everything_else_passes_through(err):
    with pytest.raises(type(err)) as caught, storage_errors(Path("out")):
        raise err
    assert caught.value is err
