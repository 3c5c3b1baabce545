"""Every way a command can end badly, as code, kind, message and next step.

In: the exception, and the command line it came from. Out: a `Failure`, printed as two lines on stderr, or as one JSON
object on stdout under ``--json``. Exceptions nobody foresaw are our bugs: they keep their traceback and end with 1.
"""

from __future__ import annotations

import errno
import json
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from xrarchive.cli.output import escape
from xrarchive.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    MemoryExhaustedError,
    SettingsError,
    XrArchiveError,
    storage_errors,
)

# The disk can refuse any write; these errnos mean nothing else, wherever they come up.
_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# torch reports a failed allocation as a RuntimeError with one of these texts (c10/core/CPUAllocator, CUDA's allocator).
_MEMORY_TEXTS = ("can't allocate memory", "not enough memory", "out of memory")


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGUSR1: stops as Ctrl-C does, cleaning up, and ends with 128 + its number (143, 138)."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.code = 128 + number


@dataclass(frozen=True)
class Failure:
    """What is printed; `as_dict` of an `XrArchiveError` has the same five keys."""

    code: int
    kind: str
    message: str
    fix: str
    path: str | None = None


def show_failure(err: BaseException, arguments: Sequence[str], *, as_json: bool) -> int:
    """Print what went wrong; the exit code."""
    if isinstance(err, click.exceptions.NoArgsIsHelpError) and not as_json:
        err.show()
        return EXIT_USAGE
    failure = _describe(err, arguments)
    if failure.code == EXIT_BUG:
        traceback.print_exception(err)
    if as_json:
        print(json.dumps(asdict(failure)), flush=True)  # noqa: T201 - stdout is the command's result
    elif failure.code != EXIT_BUG:
        lines = f"Error: {escape(failure.message)}\nFix: {escape(failure.fix)}"
        print(lines, file=sys.stderr, flush=True)  # noqa: T201
    return failure.code


def _describe(err: BaseException, arguments: Sequence[str]) -> Failure:
    command = shlex.join(["xrarchive", *arguments])
    if isinstance(err, XrArchiveError):
        return Failure(err.code, err.kind, err.message, err.fix, err.path)
    if isinstance(err, click.UsageError):
        place = err.ctx.command_path if err.ctx else "xrarchive"
        return Failure(EXIT_USAGE, "usage", err.format_message(), f"See `{place} --help`.")
    if isinstance(err, click.ClickException):
        return Failure(EXIT_USAGE, "usage", err.format_message(), "Correct the command line.")
    if isinstance(err, KeyboardInterrupt | click.Abort):
        stopped = err if isinstance(err, Terminated) else err.__cause__
        code = stopped.code if isinstance(stopped, Terminated) else EXIT_INTERRUPTED
        return Failure(code, "stopped", "Stopped.", f"Finished work is kept; go on with: {command}")
    if _is_memory(err):
        return _from_world(MemoryExhaustedError("The memory of this machine is used up.", fix=_MEMORY_FIX))
    if isinstance(err, OSError) and err.errno in _DISK_ERRNOS:
        return _from_disk(err)
    return Failure(
        EXIT_BUG, "bug", f"{type(err).__name__}: {err}", "Report it with the traceback and `xrarchive doctor`."
    )


_MEMORY_FIX = "Close other programs, or use a smaller --batch or --resolution, and run the same command again."


def _is_memory(err: BaseException) -> bool:
    if isinstance(err, MemoryError):
        return True
    return isinstance(err, RuntimeError) and any(text in str(err).lower() for text in _MEMORY_TEXTS)


def _from_world(err: XrArchiveError) -> Failure:
    return Failure(err.code, err.kind, err.message, err.fix, err.path)


def _from_disk(err: OSError) -> Failure:
    try:
        with storage_errors(Path()):
            raise err
    except XrArchiveError as storage:
        return _from_world(storage)


def missing(option: str, *, before: str = "publishing") -> SettingsError:
    """A command that would have to ask, where nobody can answer."""
    return SettingsError(f"There is no terminal to ask on before {before}.", fix=f"Add {option} to go ahead without.")
