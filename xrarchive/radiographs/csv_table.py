"""Tables that come with images: CSV files read strictly, with the line of everything that is refused.

Used for the layouts of radiographs and for folders of synthetic images that are to be audited.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_bytes
from xrarchive.findings import DECLARE_FIX, NO_FINDING, nearest, require_known


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
    """Read a CSV file (UTF-8, BOM and any line end allowed), cells stripped, blank lines dropped.

    Args:
        path: The file.
        required: Columns that must be there.
        exact: Refuse records with more or fewer cells than the header.

    Raises:
        InputDataError: Naming file and line.
    """
    data = path.read_bytes()
    reader = csv.reader(io.StringIO(decode_text(path, data), newline=""), strict=True)
    try:
        columns = tuple(cell.strip() for cell in next(reader, []))
        _require_columns(path, columns, required)
        records = tuple(_read_records(path, reader, columns, required, exact=exact))
    except csv.Error as err:
        raise InputDataError(f"{path}:{reader.line_num}: {err}.", fix="Correct the quoting there.", path=path) from err
    if not records:
        raise InputDataError(f"{path} lists no radiograph.", fix="Write one line for each image.", path=path)
    return LabelTable(path, sha256_bytes(data), columns, records)


def _read_records(
    path: Path, reader: Iterator[list[str]], columns: Sequence[str], required: Sequence[str], *, exact: bool
) -> Iterator[tuple[int, dict[str, str]]]:
    needed = len(columns) if exact else 1 + max(columns.index(name) for name in required)
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
        yield line, {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}


def decode_text(path: Path, data: bytes) -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        InputDataError: Naming the line that is something else.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise InputDataError(
            f"{path}:{line}: expected UTF-8, found byte 0x{data[err.start]:02x}.",
            fix=f"Save the file as UTF-8, for example: iconv -f latin1 -t utf8 {path.name}",
            path=path,
        ) from err


def _require_columns(path: Path, columns: Collection[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
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


def inside(text: str, *, where: str) -> str:
    """A path of a table, normalised.

    Raises:
        InputDataError: If it is blank or leaves the folder.
    """
    path = PurePosixPath(text)
    if not path.name or path.is_absolute() or ".." in path.parts or PureWindowsPath(text).drive:
        raise InputDataError(
            f"{where}: {text!r} is not a path inside the folder.",
            fix="Write image paths relative to the folder that holds the table, without '..'.",
        )
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
