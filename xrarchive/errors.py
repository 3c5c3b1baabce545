"""What can go wrong in the world, each kind with the exit code the command ends with.

    XrArchiveError
    ├── SettingsError      2   a project file or an option says something we do not know
    ├── InputDataError     3   radiographs, labels, requests or weights are not what they must be
    ├── StorageError       4   the disk is full, read-only or not ours to write
    ├── LockedError        5   another process is writing there
    ├── DamageError        6   bytes are not those the manifest or the checkpoint names
    ├── RemoteError        7   the Hub did not answer as it should; the same command may be run again
    ├── AccessError        8   the Hub refused the token or its rights
    ├── PlanChangedError   9   an output folder belongs to other settings, a tag to other content
    ├── ShortfallError    10   a build reached not one image, so that there is no archive
    ├── GateError         11   something that must hold before the next stage does not
    └── MemoryExhaustedError 12

What the caller got wrong in code stays ``ValueError`` or ``TypeError``; what we got wrong stays a traceback (exit 1).
A build that reached only part of what was asked is not an error: it ends with exit code 10 (`EXIT_SHORTFALL`) as well,
and leaves an archive with a full record.
Codes follow the table in README; an unknown code must be treated as a failure.
"""

from __future__ import annotations

import contextlib
import errno
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_SHORTFALL = 10
EXIT_INTERRUPTED = 130


class XrArchiveError(Exception):
    """Base of all errors the world causes.

    Args:
        message: What happened, where, what was expected and what was found.
        fix: What to do next, as a sentence or a command.
        path: The file or folder concerned, if there is one.
    """

    code: ClassVar[int] = EXIT_BUG
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, *, fix: str, path: Path | str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.path = None if path is None else str(path)

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process borders; by default Python would rebuild them without `fix`."""
        return functools.partial(type(self), fix=self.fix, path=self.path), self.args

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form every command prints under ``--json``."""
        return {"code": self.code, "kind": self.kind, "message": self.message, "fix": self.fix, "path": self.path}


class SettingsError(XrArchiveError):
    """An unknown or mistyped setting."""

    code, kind = EXIT_USAGE, "settings"


class InputDataError(XrArchiveError):
    """Radiographs, labels, requests or weights are not what they must be."""

    code, kind = 3, "input"


class StorageError(XrArchiveError):
    """The disk is full, read-only or not ours to write."""

    code, kind = 4, "storage"


class LockedError(XrArchiveError):
    """Another process is writing the same output."""

    code, kind = 5, "locked"


class DamageError(XrArchiveError):
    """Bytes differ from those recorded."""

    code, kind = 6, "damage"


class RemoteError(XrArchiveError):
    """The Hub failed; running the same command again may succeed."""

    code, kind = 7, "remote"


class AccessError(XrArchiveError):
    """The Hub refused the token, or the token has no right to write there."""

    code, kind = 8, "access"


class PlanChangedError(XrArchiveError):
    """The output already belongs to other settings or other content."""

    code, kind = 9, "plan-changed"


class ShortfallError(XrArchiveError):
    """Not one image of what was asked for could be reached."""

    code, kind = EXIT_SHORTFALL, "shortfall"


class GateError(XrArchiveError):
    """A condition for the next stage does not hold."""

    code, kind = 11, "gate"


class MemoryExhaustedError(XrArchiveError):
    """The machine has too little memory for these settings."""

    code, kind = 12, "memory"


_STORAGE_CAUSES = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again; finished work is kept"),
    errno.EDQUOT: (
        "the disk quota is used up",
        "free some space and run the same command again; finished work is kept",
    ),
    errno.EFBIG: ("the file grew over the size limit", "raise the limit (ulimit -f) and run the same command again"),
    errno.EACCES: ("permission denied", "choose another output folder or change its permissions"),
    errno.EPERM: ("permission denied", "choose another output folder or change its permissions"),
    errno.EEXIST: ("a file stands where a folder is needed", "choose another output folder"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "choose another output folder"),
    errno.EROFS: ("the file system is read-only", "choose an output folder on a writable disk"),
}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write below `path` into `StorageError`.

    Raises:
        StorageError: For a full disk, a quota, a size limit, missing rights or a read-only file system.
    """
    try:
        yield
    except OSError as err:
        if err.errno not in _STORAGE_CAUSES:
            raise
        cause, fix = _STORAGE_CAUSES[err.errno]
        where = err.filename or path
        raise StorageError(f"Cannot write {where}: {cause}.", fix=fix, path=where) from err
