"""Images in a folder for each split and label, with a CSV beside them; or the CSV alone.

    OUT/train/metadata.csv                  a row for each image; `file_name` is relative to its folder
    OUT/train/Pleural_Thickening/<id>.png   the bytes of the shard
    OUT/train.csv                           of the CSV alone, without `file_name`

`datasets` looks for metadata.csv below the folder of a split only (tried with 5.2): one at the top is passed over.
In a CSV, true is 1, false 0 and null blank, as in the label files of the field; lists are joined by ``|``.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xrarchive.archive.exporting.names import folder_names
from xrarchive.archive.exporting.rows import Row, Shard
from xrarchive.archive.manifest import Manifest
from xrarchive.errors import DamageError

METADATA_NAME = "metadata.csv"
# A spreadsheet runs a cell that begins with one of these.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\0", "\r")
_Append = Callable[[Path, Mapping[str, Any]], None]


def write_folder(shards: Iterable[Shard], manifest: Manifest, out: Path) -> None:
    """Write every image as it stands, and metadata.csv for each split."""
    write_files(shards, manifest, out, suffix=".png", encode=lambda row: row.png)


def write_csv(shards: Iterable[Shard], _manifest: Manifest, out: Path) -> None:
    """Write a CSV for each split, without images."""
    with _tables() as append:
        for shard in shards:
            for row in shard.rows:
                append(out / f"{shard.split}.csv", row.values)


def write_files(
    shards: Iterable[Shard], manifest: Manifest, out: Path, *, suffix: str, encode: Callable[[Row], bytes]
) -> None:
    """Write a file for each image, and metadata.csv for each split."""
    folders = folder_names(manifest.findings)
    with _tables() as append:
        for shard in shards:
            top = out / shard.split
            for name in folders.values():
                (top / name).mkdir(parents=True, exist_ok=True)
            for row in shard.rows:
                file_name = f"{folders[row.label]}/{row.name}{suffix}"
                _write_new(top / file_name, encode(row))
                append(top / METADATA_NAME, {"file_name": file_name, **row.values})
            for name in folders.values():
                with contextlib.suppress(OSError):  # not empty: there are images of this label
                    (top / name).rmdir()


def cell(value: Any) -> str | int | float | None:
    """A value as the CSV holds it; text that a spreadsheet would run gets a leading apostrophe."""
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, int | float):
        return value
    text = "|".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


@contextlib.contextmanager
def _tables() -> Iterator[_Append]:
    """A function that appends a row to the CSV at a path; the first row of each brings its header."""
    with contextlib.ExitStack() as stack:
        writers: dict[Path, Any] = {}

        def append(path: Path, values: Mapping[str, Any]) -> None:
            if path not in writers:
                stream = stack.enter_context(path.open("w", newline="", encoding="utf-8"))
                writers[path] = csv.writer(stream, lineterminator="\n")
                writers[path].writerow([cell(name) for name in values])
            writers[path].writerow([cell(value) for value in values.values()])

        yield append


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as stream:
            stream.write(data)
    except FileExistsError as err:
        raise DamageError(
            f"Two images have the name {path.stem}.", fix="Find out more with `xrarchive check`.", path=path
        ) from err
