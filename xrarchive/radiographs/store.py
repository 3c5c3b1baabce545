"""Decode once, store once: films go into the pixel files as they come, and a journal says how far that is.

In: the rows of a listing. Out: finished pixel files and what became of each row. Called by `ingest`.

SET/partial/pixels-<px>.npy   the pixels so far, appended
SET/partial/journal.jsonl     first what is being made, then a line for each stretch: films stored, and the rows' fates

A run that ends in whatever way is taken up by the next at the last line of the journal: the pixel files are cut to what
it names, and what it names is not decoded again. A line is written when its pixels are on the disk, every two seconds.

Why one file for each size, and not Parquet: every later stage reads single films at one size in random order, which
these files give by one read at a known place; a Parquet cell would be found, unpacked and copied. The table is Parquet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL

from xrarchive.errors import storage_errors
from xrarchive.files import move_into_place, remove_folder, sync
from xrarchive.radiographs.decode import Reject, SourceFile, source_sha256
from xrarchive.radiographs.layouts import Row
from xrarchive.radiographs.places import Place, read_places
from xrarchive.radiographs.table import pixels_name, pyramid_px
from xrarchive.radiographs.worker import How
from xrarchive.radiographs.workers import decode_all
from xrarchive.records import OnStatus, Status

PARTIAL_NAME = "partial"
JOURNAL_NAME = "journal.jsonl"
# Films between two words to the user.
BATCH = 128
COMMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a row: its index in the listing, and the file it was read from or why there is none."""

    index: int
    file: SourceFile | Reject


def store(out: Path, rows: Sequence[Row], how: How, plan: Mapping[str, Any], on_status: OnStatus) -> list[Fate]:
    """Decode every row that the journal does not name, and append its pixels; all fates, in the order of reading.

    Args:
        out: The set's folder, held by the caller.
        rows: What to read.
        how: What films are to become.
        plan: What the set is made from and how: a journal of another plan is thrown away.
        on_status: Told how many rows are done.

    Raises:
        StorageError: If the disk refuses; what was stored stays.
    """
    folder = out / PARTIAL_NAME
    places = [row.place for row in rows]
    digest = _digest(rows, plan)
    fates = _resume(out, digest, places, how.size_px)
    done = {fate.index for fate in fates}
    left = [index for index in _reading_order(places) if index not in done]
    with storage_errors(folder), ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        journal = _Journal(stack, folder, digest, how.size_px, fates)
        if done:
            on_status(Status(len(done), len(rows), "radiographs", "decoding"))
        order: list[int] = []
        films = decode_all([places[index] for index in left], _contents(places, left, order), how)
        for film in stack.enter_context(contextlib.closing(films)):
            journal.add(order[journal.taken], film)
            if journal.taken % BATCH == 0 or journal.taken == len(left):
                journal.commit(at_once=journal.taken in (BATCH, len(left)))
                on_status(Status(len(done) + journal.taken, len(rows), "radiographs", "decoding"))
    return journal.fates


def finish(out: Path, size_px: int) -> list[Path]:
    """Give the pixel files their names; where they now are."""
    folder, finished = out / PARTIAL_NAME, []
    for px in pyramid_px(size_px):
        finished.append(out / pixels_name(px))
        if (folder / pixels_name(px)).exists():  # else a run that was killed here has done it
            move_into_place(folder / pixels_name(px), finished[-1])
    return finished


def forget(out: Path) -> None:
    """Remove the journal and what is beside it."""
    remove_folder(out / PARTIAL_NAME)


def _contents(places: Sequence[Place], left: Sequence[int], order: list[int]) -> Iterator[Any]:
    """The content of each place that is left; its index is appended to `order`, since containers have their own."""
    for at, content in read_places([places[index] for index in left]):
        order.append(left[at])
        yield content


def _reading_order(places: Sequence[Place]) -> list[int]:
    """Indices with the members of a container together: what is left after a stop is then read in the same order."""
    first: dict[Path, int] = {}
    for index, place in enumerate(places):
        if place.member:
            first.setdefault(place.path, index)
    return sorted(range(len(places)), key=lambda index: (_group(places[index], first, index), index))


def _group(place: Place, first: Mapping[Path, int], index: int) -> int:
    return first[place.path] if place.member else index


def _digest(rows: Sequence[Row], plan: Mapping[str, Any]) -> str:
    """Names what is being made: by content and settings, and by the versions that decode."""
    digest = hashlib.sha256(json.dumps(dict(plan), sort_keys=True).encode())
    digest.update(f"\n{PIL.__version__} {np.__version__}\n".encode())
    for row in rows:
        digest.update(f"{row.image}\n{row.place.member}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


class _Journal:
    """The open files of a run: pixels are added, and committed with the fates of their rows."""

    def __init__(self, stack: ExitStack, folder: Path, digest: str, size_px: int, fates: list[Fate]) -> None:
        self.fates, self.taken = fates, 0
        self._stored = sum(isinstance(fate.file, SourceFile) for fate in fates)
        self._committed, self._at_s = len(fates), time.monotonic()
        self._sizes = pyramid_px(size_px)
        self._folder = folder
        self._streams = [stack.enter_context(_open(folder / pixels_name(px))) for px in self._sizes]
        for stream, px in zip(self._streams, self._sizes, strict=True):
            start = _write_header(stream, self._stored, px)
            stream.truncate(start + self._stored * px * px)
            stream.seek(0, 2)
        self._journal = stack.enter_context(_open(folder / JOURNAL_NAME))
        self._journal.seek(0, 2)
        if not self._journal.tell():
            self._write({"digest": digest})

    def add(self, index: int, film: Any) -> None:
        """Append a film to the pixels of every size."""
        self.taken += 1
        if isinstance(film, Reject):
            self.fates.append(Fate(index, film))
            return
        file, levels = film
        for stream, level, px in zip(self._streams, levels, self._sizes, strict=True):
            with storage_errors(self._folder / pixels_name(px)):
                stream.write(level.tobytes())
        self.fates.append(Fate(index, file))
        self._stored += 1

    def commit(self, *, at_once: bool) -> None:
        """Put on the disk what was added, if that is due."""
        if not at_once and time.monotonic() - self._at_s < COMMIT_S:
            return
        for stream, px in zip(self._streams, self._sizes, strict=True):
            with storage_errors(self._folder / pixels_name(px)):
                if at_once:  # the header need not be right before the end
                    _write_header(stream, self._stored, px)
                    stream.seek(0, 2)
                sync(stream)
        self._write({"stored": self._stored, "fates": [_told(fate) for fate in self.fates[self._committed :]]})
        self._committed, self._at_s = len(self.fates), time.monotonic()

    def _write(self, line: Mapping[str, Any]) -> None:
        with storage_errors(self._folder / JOURNAL_NAME):
            self._journal.write((json.dumps(line) + "\n").encode())
            sync(self._journal)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """An open file whose unsynced rest may be lost when it is closed: `commit` has what counts."""
    path.touch()
    stream = path.open("r+b")
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):
            stream.close()


def _write_header(stream: IO[bytes], count: int, px: int) -> int:
    """Start a stream with the .npy header of uint8 [count, px, px]; the position behind it.

    Numpy leaves room for `count` to grow without moving the data.
    """
    stream.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, px, px)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.tell()


def _told(fate: Fate) -> list[Any]:
    if isinstance(fate.file, Reject):
        return [fate.index, [fate.file.reason, fate.file.sha256, fate.file.code]]
    return [fate.index, fate.file.sha256, fate.file.width, fate.file.height, fate.file.lettering]


def _fate(told: Sequence[Any]) -> Fate:
    return Fate(told[0], Reject(*told[1]) if len(told) == 2 else SourceFile(*told[1:]))


def _resume(out: Path, digest: str, places: Sequence[Place], size_px: int) -> list[Fate]:
    """The fates that a stopped run has left, after removing what cannot be gone on with."""
    folder = out / PARTIAL_NAME
    fates = _read_journal(folder / JOURNAL_NAME, digest)
    if fates is not None and _pixels_stand(out, fates, size_px) and _rejects_stand(fates, places):
        return fates
    remove_folder(folder)
    return []


def _pixels_stand(out: Path, fates: Sequence[Fate], size_px: int) -> bool:
    """Whether every pixel file holds what the journal names; one that had its final name is taken back."""
    stored = sum(isinstance(fate.file, SourceFile) for fate in fates)
    for px in pyramid_px(size_px):
        final, path = out / pixels_name(px), out / PARTIAL_NAME / pixels_name(px)
        if final.exists() and not path.exists():
            move_into_place(final, path)
        if not path.exists() or path.stat().st_size < stored * px * px:
            return False
    return True


def _read_journal(path: Path, digest: str) -> list[Fate] | None:
    """All fates in whole lines, the rest of the file cut off; None if it is of another plan, damaged or not there."""
    try:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        first, *lines = [json.loads(line) for line in whole.splitlines()]
        if first != {"digest": digest}:
            return None
        fates = [_fate(told) for line in lines for told in line["fates"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if lines and lines[-1]["stored"] != sum(isinstance(fate.file, SourceFile) for fate in fates):
        return None
    if len(whole) < len(data):
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
    return fates


def _rejects_stand(fates: Sequence[Fate], places: Sequence[Place]) -> bool:
    """Whether the files that were refused are what they were: a repaired one belongs in its place, not at the end."""
    refused = [(fate.index, fate.file) for fate in fates if isinstance(fate.file, Reject)]
    if any(reject.code in ("codec-missing", "timeout", "crashed", "memory") for _, reject in refused):
        return False
    with contextlib.suppress(OSError):
        contents = read_places([places[index] for index, _ in refused])
        return all(source_sha256(content) == refused[at][1].sha256 for at, content in contents)
    return False
