"""A tar for each shard, as WebDataset reads it: `<key>.png`, `<key>.json` (all columns), `<key>.cls` (class index).

    OUT/train-00000.tar

Rows keep their order; no member carries a date or an owner, so that the same archive gives the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from xrarchive.archive.exporting.rows import Row, Shard
from xrarchive.archive.manifest import Manifest


def write_webdataset(shards: Iterable[Shard], _manifest: Manifest, out: Path) -> None:
    """Write a tar for each shard."""
    for shard in shards:
        with tarfile.open(out / f"{shard.name}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            for row in shard.rows:
                for suffix, data in _members(row).items():
                    member = tarfile.TarInfo(f"{row.name}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def _members(row: Row) -> dict[str, bytes]:
    text = json.dumps(row.values, ensure_ascii=False, allow_nan=False)
    return {"png": row.png, "json": text.encode(), "cls": str(row.label_index).encode()}
