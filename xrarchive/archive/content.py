"""Shards read back, and `content_sha256`: what an archive says, whatever it is packed in.

The sha256 of a shard changes with pyarrow, that of a PNG with zlib. This one is over split, id, labels and pixels of
every row, the rows in the order of their digests: it tells new packaging from changed content.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from xrarchive.archive.manifest import Manifest, split_of
from xrarchive.archive.schema import DATA
from xrarchive.errors import DamageError
from xrarchive.files import sha256_file

_FIX = "Find out more with `xrarchive check --read-data`."
# What pyarrow raises on damaged bytes; UnicodeDecodeError for damaged names.
UNREADABLE = (OSError, pa.ArrowException, UnicodeDecodeError)


def read_shard(path: Path, columns: Sequence[str] | None = None, *, fix: str) -> pa.Table:
    """One Parquet file, page checksums verified.

    Raises:
        DamageError: If it is missing or unreadable.
    """
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except UNREADABLE as err:
        raise DamageError(f"{path} cannot be read: {err}.", fix=fix, path=path) from err


def read_groups(path: Path, columns: Sequence[str] | None = None, *, fix: str) -> Iterator[pa.Table]:
    """The row groups of one Parquet file, one in memory at a time, page checksums verified.

    Raises:
        DamageError: If it is missing or unreadable, or lacks a column.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            if lacking := sorted(set(columns or ()) - set(parquet.schema_arrow.names)):
                raise pa.ArrowInvalid(f"no column {', '.join(lacking)}")
            for index in range(parquet.num_row_groups):
                yield parquet.read_row_group(index, columns)
    except UNREADABLE as err:
        raise DamageError(f"{path} cannot be read: {err}.", fix=fix, path=path) from err


def require_sound(folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Refuse shards that are not what the manifest says: whoever writes them anew would give the damage a good hash.

    Raises:
        DamageError: If one is missing or altered.
    """
    for name in names:
        path = folder / name
        if not path.is_file() or sha256_file(path) != manifest.files[name].sha256:
            raise DamageError(
                f"{path} is not the shard the manifest names.",
                fix="Find out more with `xrarchive check --read-data`; restore it from the Hub or a copy.",
                path=path,
            )


def hash_content(folder: Path, manifest: Manifest) -> str:
    """The content hash of the rows now in an archive's shards, by their column `pixels_sha256`.

    Raises:
        DamageError: If a shard cannot be read.
    """
    return read_content(folder, manifest)[0]


def read_content(folder: Path, manifest: Manifest) -> tuple[str, Counter[str]]:
    """The content hash of the rows now in an archive's shards, and how many bear each label.

    Raises:
        DamageError: If a shard cannot be read.
    """
    columns = ["image_id", "label", "findings", *manifest.findings, "pixels_sha256"]
    digests: list[NDArray[np.bytes_]] = []
    counts: Counter[str] = Counter()
    for name in manifest.shards(DATA):
        table = read_shard(folder / name, columns, fix=_FIX)
        counts.update(manifest.findings[label] for label in table["label"].to_pylist())
        own = b"".join(_row_digests(split_of(name), table, manifest))
        digests.append(np.frombuffer(own, f"S{hashlib.sha256().digest_size}"))
    ordered = np.sort(np.concatenate(digests))  # 32 bytes a row; as Python's bytes they would take three times that
    return hashlib.sha256(ordered.tobytes()).hexdigest(), counts


def _row_digests(split: str, table: pa.Table, manifest: Manifest) -> Iterator[bytes]:
    names = manifest.findings
    asked = zip(*(table[name].to_pylist() for name in names), strict=True)
    rows = zip(
        *(table[name].to_pylist() for name in ("image_id", "label", "findings", "pixels_sha256")), asked, strict=True
    )
    for image_id, label, findings, pixels, row in rows:
        absent = [name for name, value in zip(names, row, strict=True) if value is False]
        line = [split, image_id, names[label], [names[index] for index in findings], absent, pixels]
        yield hashlib.sha256(json.dumps(line).encode()).digest()
