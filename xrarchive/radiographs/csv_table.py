"""Tables that come with images: CSV files read strictly, with the line of everything that is refused.

Used for the layouts of radiographs and for folders of synthetic images that are to be audited.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, cast

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_bytes
from xrarchive.findings import DECLARE_FIX, NO_FINDING, nearest, require_known

# PadChest's table, the largest in use, has 112 MB.
_MAX_UNPACKED_BYTES = 2_000_000_000
_LONGEST_HEADER = 100_000
_HEADER_LINES = 5
_PACKING_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)
_MANGLED = re.compile(r"\d(?:[.,]\d+)?[Ee]\+\d{1,2}")


@dataclass(frozen=True)
class LabelTable:
    """A CSV file: column name -> cell for each record, with the line it ends on."""

    path: Path
    sha256: str
    columns: tuple[str, ...]
    records: tuple[tuple[int, dict[str, str]], ...]

    def where(self, line: int) -> str:
        """File and line, for a message."""
        return f"{self.path}:{line}"


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Turn the operating system's refusals to read below `source` into `InputDataError`."""
    try:
        yield
    except OSError as err:
        where = err.filename or source
        raise InputDataError(
            f"Cannot read {where}: {(err.strerror or str(err)).lower()}.",
            fix="Check that the folder and its tables are there and readable.",
            path=where,
        ) from err


def read_table(path: Path, required: Sequence[str], *, exact: bool) -> LabelTable:
    """`parse_table` of a file."""
    return parse_table(path, path.read_bytes(), required, exact=exact)


def parse_table(
    path: Path, data: bytes, required: Sequence[str], *, exact: bool, optional: Collection[str] | None = None
) -> LabelTable:
    """Read a CSV file (UTF-8, BOM and any line end allowed), cells stripped, blank lines dropped.

    Args:
        path: For messages; a name that ends in .gz or .zip says how `data` is packed.
        data: The bytes of the file.
        required: Columns that must be there.
        exact: Refuse records with more or fewer cells than the header.
        optional: Further columns to keep, if there; None keeps all.

    Raises:
        InputDataError: Naming file and line.
    """
    with _unpacked(path, data) as text:
        reader = csv.reader(text, strict=True)
        try:
            columns = tuple(cell.strip() for cell in next(reader, []))
            _require_columns(path, columns, required, data)
            kept = [(index, name) for index, name in enumerate(columns) if optional is None or name in optional]
            kept += [(columns.index(name), name) for name in required if (columns.index(name), name) not in kept]
            records = tuple(_read_records(path, reader, columns, required, kept, exact=exact))
        except csv.Error as err:
            raise InputDataError(
                f"{path}:{reader.line_num}: {err}.", fix="Correct the quoting there.", path=path
            ) from err
        except UnicodeDecodeError as err:
            raise _not_utf8(path, data, err) from err
        except _PACKING_ERRORS as err:
            raise _cannot_unpack(path, err) from err
    if not records:
        raise InputDataError(f"{path} lists no radiograph.", fix="Write one line for each image.", path=path)
    return LabelTable(path, sha256_bytes(data), columns, records)


def read_columns(path: Path, data: bytes) -> tuple[str, ...]:
    """The cells of the first line, stripped; none if that is no line of a CSV file in UTF-8."""
    try:
        with _unpacked(path, data) as text:
            return tuple(cell.strip() for cell in next(csv.reader(io.StringIO(text.readline(_LONGEST_HEADER))), []))
    except (csv.Error, UnicodeDecodeError, InputDataError, *_PACKING_ERRORS):
        return ()


@contextmanager
def _unpacked(path: Path, data: bytes) -> Iterator[io.TextIOWrapper]:
    """The text of a table, unpacked as it is read."""
    raw: IO[bytes] = io.BytesIO(data)
    with ExitStack() as stack:
        try:
            if path.suffix.lower() == ".gz":
                raw = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=raw)))
            elif path.suffix.lower() == ".zip":
                raw = stack.enter_context(_only_member(path, stack.enter_context(zipfile.ZipFile(raw))))
        except _PACKING_ERRORS as err:
            raise _cannot_unpack(path, err) from err
        limited = raw if raw.seekable() and isinstance(raw, io.BytesIO) else io.BufferedReader(_Limited(path, raw))
        yield stack.enter_context(io.TextIOWrapper(limited, encoding="utf-8-sig", newline=""))


class _Limited(io.RawIOBase):
    """A packed stream that may not grow without end: a table of 2 GB is no table of radiographs."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream, self._left = path, stream, _MAX_UNPACKED_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise InputDataError(
                f"{self._path} unpacks to more than {_MAX_UNPACKED_BYTES:,} bytes.",
                fix="Look at what it holds; a table of radiographs is smaller.",
                path=self._path,
            )
        buffer[: len(data)] = data
        return len(data)


def _only_member(path: Path, archive: zipfile.ZipFile) -> IO[bytes]:
    names = [name for name in archive.namelist() if name.lower().endswith(".csv") and not name.startswith("__MACOSX")]
    if len(names) != 1:
        raise InputDataError(f"{path} holds {len(names)} tables, expected one.", fix="Unpack the right one.", path=path)
    return archive.open(names[0])


def _cannot_unpack(path: Path, err: Exception) -> InputDataError:
    return InputDataError(f"{path} cannot be unpacked: {err}.", fix="Download the file again.", path=path)


def _read_records(
    path: Path,
    reader: Iterator[list[str]],
    columns: Sequence[str],
    required: Sequence[str],
    kept: Sequence[tuple[int, str]],
    *,
    exact: bool,
) -> Iterator[tuple[int, dict[str, str]]]:
    needed = len(columns) if exact else 1 + max((columns.index(name) for name in required), default=0)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        line: int = reader.line_num  # type: ignore[attr-defined]
        if len(cells) < needed or (exact and len(cells) > needed):
            raise InputDataError(
                f"{path}:{line}: expected {needed} cells, found {len(cells)}.",
                fix="Quote cells that hold a comma; findings are joined by '|'.",
                path=path,
            )
        yield line, {name: cells[index].strip() for index, name in kept if index < len(cells)}


def decode_text(path: Path, data: bytes) -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        InputDataError: Naming the line that is something else.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise _not_utf8(path, data, err) from err


def _not_utf8(path: Path, data: bytes, err: UnicodeDecodeError) -> InputDataError:
    """Where the first byte is that is not UTF-8; `err` may count from somewhere within `data`."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return InputDataError(
            f'{path}:1: expected UTF-8, found UTF-16, as spreadsheets save "Unicode text".',
            fix=f'Save it as "CSV UTF-8", for example: iconv -f utf-16 -t utf8 {path.name}',
            path=path,
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as whole:
        err = whole
    line = data.count(b"\n", 0, err.start) + 1
    return InputDataError(
        f"{path}:{line}: expected UTF-8, found byte 0x{err.object[err.start]:02x}.",
        fix=f"Save the file as UTF-8, for example: iconv -f latin1 -t utf8 {path.name}",
        path=path,
    )


def _require_columns(path: Path, columns: Sequence[str], required: Sequence[str], data: bytes) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        _explain_header(path, data, required)
        near = nearest(missing[0], [name for name in columns if name])
        hint = f" Is {near!r} meant?" if near else ""
        raise InputDataError(
            f"{path}:1: the column {missing[0]!r} is missing.{hint} Found: {', '.join(columns) or 'nothing'}.",
            fix=f"The first line must name the columns {', '.join(required)}.",
            path=path,
        )
    doubled = sorted({name for name in columns if name and list(columns).count(name) > 1})
    if doubled:
        raise InputDataError(
            f"{path}:1: the column {doubled[0]!r} stands there twice.", fix="Remove or rename one of them.", path=path
        )


def _explain_header(path: Path, data: bytes, required: Sequence[str]) -> None:
    """Say so where the columns are there, only not between commas or not in the first line."""
    lines = data[:_LONGEST_HEADER].decode("utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines[:_HEADER_LINES], 1):
        for separator, word in ((",", "','"), (";", "';'"), ("\t", "tabs")):
            cells = [cell.strip().strip('"') for cell in line.split(separator)]
            if not set(required) <= set(cells):
                continue
            if separator == "," and number > 1:
                raise InputDataError(
                    f"{path}: the columns {', '.join(required)} stand in line {number}, expected in line 1.",
                    fix=f"Remove what stands before them, for example: tail -n +{number} {path.name}",
                    path=path,
                )
            if separator != ",":
                raise InputDataError(
                    f"{path}:{number}: cells are separated by {word}, expected ','.",
                    fix='Save it as "CSV UTF-8 (comma delimited)"; a cell that holds a comma then stands in quotes.',
                    path=path,
                )


def require_unmangled(text: str, *, where: str) -> str:
    """An id or file name as it stands, unless a spreadsheet has made a number of it: the digits are lost then.

    Raises:
        InputDataError: For something like 1.23E+18.
    """
    if _MANGLED.fullmatch(text):
        raise InputDataError(
            f"{where}: {text!r} is an id that a spreadsheet has rounded; others may be equal to it now.",
            fix="Take the table as it was downloaded; to edit it, import the column as text.",
        )
    return text


def require_distinct(images: Sequence[str], table: LabelTable) -> None:
    """Refuse an image that is listed twice: its two records may disagree, and it would count double.

    Args:
        images: The image of each record of `table`.
        table: For the message.

    Raises:
        InputDataError: Naming the image and both lines.
    """
    seen: dict[str, int] = {}
    for image, (line, _) in zip(images, table.records, strict=True):
        if image in seen:
            raise InputDataError(
                f"{table.where(line)}: the image {image!r} was already listed in line {seen[image]}.",
                fix="Keep one line for each image.",
                path=table.path,
            )
        seen[image] = line


def inside(text: str, *, where: str, root: Path | None = None) -> str:
    """A path of a table, normalised.

    Args:
        text: The cell.
        where: For the message.
        root: The folder, if the message should say how to shorten a path that lies in it.

    Raises:
        InputDataError: If it is blank or leaves the folder.
    """
    path = PurePosixPath(text)
    if not path.name or path.is_absolute() or ".." in path.parts or PureWindowsPath(text).drive:
        fix = "Write image paths relative to the folder that holds the table, without '..'."
        if root and path.is_relative_to(root.absolute()):
            fix = f"Write {path.relative_to(root.absolute()).as_posix()!r} there, and so for all images."
        raise InputDataError(f"{where}: {text!r} is not a path inside the folder.", fix=fix)
    return path.as_posix()


def parse_labels(text: str, vocabulary: Sequence[str], *, where: str, fix: str = DECLARE_FIX) -> tuple[str, ...] | None:
    """Findings joined by '|', None for a blank cell.

    Raises:
        InputDataError: If one is unknown (then `fix` says what to do), or stands beside `No Finding`.
    """
    if not text:
        return None
    names = tuple(name.strip() for name in text.split("|"))
    require_known(names, vocabulary, where=where, fix=fix)
    if NO_FINDING in names and len(set(names)) > 1:
        raise InputDataError(
            f"{where}: {text!r} says {NO_FINDING!r} together with a finding.", fix="Keep what the report says."
        )
    return names
