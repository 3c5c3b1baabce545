"""Files that survive crashes: atomic writes, hashes, locks. The only module that renames or fsyncs.

A file is written beside its target, fsynced, renamed over it, and the folder is fsynced. A crash leaves the old
file or the new one, and at worst a `.tmp-` file that the next run removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import filelock

from xrarchive.errors import DamageError, InputDataError, LockedError, storage_errors

TEMPORARY_PREFIX = ".tmp-"
_HASH_BLOCK_BYTES = 1 << 20


def sha256_bytes(data: bytes) -> str:
    """Hex sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's content, read in 1 MiB blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A path to write to that becomes `target` when the block ends well, and vanishes when it does not.

    Raises:
        StorageError: If the disk refuses.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{target.name}")
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(target)
            fsync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_open(target: Path) -> Iterator[IO[bytes]]:
    """Like `atomic_path`, as an open binary stream."""
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        yield stream


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill that becomes `target` when the block ends well, and vanishes when it does not.

    Raises:
        InputDataError: If `target` is there and not an empty folder.
        StorageError: If the disk refuses.
    """
    with storage_errors(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputDataError(f"{target} is there and not empty.", fix="Give a new or empty folder.", path=target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{target.name}")
        try:
            temporary.mkdir()
            yield temporary
            os.sync()  # once for all files, of which there may be thousands
            temporary.replace(target)
            fsync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sync(stream: IO[bytes]) -> None:
    """Put on the disk what was written to an open file."""
    stream.flush()
    os.fsync(stream.fileno())


def move_into_place(source: Path, target: Path) -> None:
    """Give a finished file that was synced its name, over whatever has it.

    Raises:
        StorageError: If the disk refuses.
    """
    with storage_errors(target):
        source.replace(target)
        fsync_folder(target.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_open(target) as stream:
        stream.write(data)


def write_json(target: Path, value: object) -> None:
    """Write JSON atomically: sorted keys, two spaces, one newline at the end; no NaN (it is not JSON)."""
    write_bytes(target, dump_json(value))


def dump_json(value: object) -> bytes:
    """The bytes `write_json` writes: the same value always gives the same bytes."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_json(path: Path, *, what: str, fix: str) -> Any:
    """Read a JSON file that one of our stages wrote.

    Raises:
        InputDataError: If it is missing.
        DamageError: If it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as err:
        raise InputDataError(f"No {what} at {path}.", fix=fix, path=path) from err
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise DamageError(f"{path} is damaged: {err}.", fix=fix, path=path) from err


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed writer left below `folder`. Call only while holding the folder's lock."""
    for path in sorted(folder.rglob(f"{TEMPORARY_PREFIX}*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def leased(path: Path) -> Iterator[bool]:
    """Whether we may do the work that `path` stands for: False while another process does it.

    The kernel frees the lease of a process that ends, however it ends: no clock and no heartbeat is asked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextlib.contextmanager
def locked(folder: Path, *, wait_s: float = 0, clean: bool = True) -> Iterator[None]:
    """Hold `folder` for writing, creating it if needed; freed by the kernel if we are killed.

    The lock lives in `.lock` inside the folder, with the holder's process written in `.lock-holder`.

    Args:
        folder: To hold.
        wait_s: How long to wait for another holder.
        clean: Whether to remove what killed writers left; not while others write files there.

    Raises:
        LockedError: At once, if another process holds it, naming that process.
        StorageError: If the folder cannot be made or written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        holder = folder / ".lock-holder"
        try:
            lock.acquire(timeout=wait_s)
        except filelock.Timeout as err:
            raise LockedError(
                f"{folder} is in use by {_holder(holder)}.",
                fix="Wait for it to end, stop it, or choose another output folder.",
                path=folder,
            ) from err
    try:
        with storage_errors(folder):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        if clean:
            remove_leftovers(folder)
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether another process holds `folder`, found out without getting in its way.

    A lock is looked at only if the process that wrote `.lock-holder` may still be there: to look at a lock that turns
    out to be free is to hold it for a moment.
    """
    try:
        holder = (folder / ".lock-holder").read_text()
        stream = (folder / ".lock").open("rb")
    except OSError:
        return False
    with stream:
        if _ended(holder):
            return False
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file lets go
        except OSError:
            return True
    return False


def _ended(holder: str) -> bool:
    """Whether the process that `locked` named runs no more; False for one of another machine."""
    found = re.fullmatch(r"process (\d+) on (.+)", holder)
    if not found or found[2] != socket.gethostname():
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is there, and not ours
        return False
    return False


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):  # it may have let go since
        return path.read_text() or "another process"
    return "another process"
