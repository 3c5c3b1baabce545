"""The data config as plain rows, shard by shard, whatever columns it has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.archive.content import UNREADABLE
from xrarchive.archive.exporting.names import safe_name
from xrarchive.archive.manifest import Manifest, split_of
from xrarchive.archive.schema import DATA
from xrarchive.errors import DamageError
from xrarchive.records import OnStatus, Status

# Rows in memory at a time; an image of 1024 px is about 1 MB.
_BATCH_ROWS = 64


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        name: Of its files, without folder and suffix.
        png: As it stands in the shard.
        label: Its label.
        label_index: Class index of its label.
        values: All columns but `image` as JSON types; labels as names, NaN and infinity as None.
    """

    name: str
    png: bytes
    label: str
    label_index: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """One shard: `train-00000`, its split, its rows (to be read before the next shard)."""

    name: str
    split: str
    rows: Iterator[Row]


def read_shards(archive_dir: Path, manifest: Manifest, on_status: OnStatus) -> Iterator[Shard]:
    """Every shard of the data config in row order; `on_status` is told after every row.

    Raises:
        DamageError: If a shard is missing, unreadable, or of another number of rows.
    """
    done = 0
    for path in manifest.shards(DATA):

        def rows(path: str = path, before: int = done) -> Iterator[Row]:
            count = 0
            for count, row in enumerate(_read_rows(archive_dir / path, manifest.findings), 1):
                yield row
                on_status(Status(before + count, manifest.rows, "images", path))
            if count != manifest.files[path].rows:
                raise _damaged(archive_dir / path, f"{count} rows, the manifest says {manifest.files[path].rows}")

        yield Shard(Path(path).stem, split_of(path), rows())
        done += manifest.files[path].rows


def _read_rows(path: Path, findings: Sequence[str]) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS):
                columns = {name: _plain(batch[name]) for name in batch.schema.names}
                for values in zip(*columns.values(), strict=True):
                    yield _row(dict(zip(columns, values, strict=True)), findings)
    except UNREADABLE as err:
        raise _damaged(path, str(err)) from err


def _plain(column: pa.Array) -> list[Any]:
    values = column.to_pylist()
    if pa.types.is_float32(column.type):  # 0.1, and not 0.10000000149011612
        values = [None if value is None else float(str(np.float32(value))) for value in values]
    return [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]


def _row(values: dict[str, Any], findings: Sequence[str]) -> Row:
    png, index = values.pop("image")["bytes"], values["label"]
    values |= {"label": findings[index], "findings": [findings[each] for each in values["findings"]]}
    return Row(safe_name(values["image_id"]), png, findings[index], index, values)


def _damaged(path: Path, why: str) -> DamageError:
    return DamageError(
        f"{path} cannot be read: {why}.", fix="Find out more with `xrarchive check --read-data`.", path=path
    )
