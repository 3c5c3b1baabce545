"""The content store behind the loopback Hub's Xet mode: a folder that hf_xet itself reads and writes as `local://`.

A client uploads straight into the folder, so the Hub never sees the bytes; at commit time it only knows a
file's sha256. The shard files hf_xet leaves behind tie a sha256 to a Xet hash, by which hf_xet gives the bytes back.

Shard layout (all little-endian, records of 48 bytes; an undocumented format, read with hf-xet 1.8):
    header | per file: hash 32, flags u32, segments u32, 8 unused
           |           segments x (…, bytes u32 at 36, …)
           |           if flags & 1<<31: segments x verification
           |           if flags & 1<<30: sha256 in the first 32
    end: hash of 32 x 0xff
"""

from __future__ import annotations

import functools
import hashlib
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_RECORD_BYTES = 48
_HAS_VERIFICATION, _HAS_SHA256 = 1 << 31, 1 << 30
_END = b"\xff" * 32


@dataclass(frozen=True)
class XetFile:
    """A file of a store: its hashes as recorded, its content read when asked for."""

    url: str
    xet_hash: str
    sha256: str
    size: int

    @functools.cached_property
    def content(self) -> bytes:
        """The file, put together again by hf_xet."""
        import hf_xet

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "file"
            group = hf_xet.XetSession().new_file_download_group(endpoint=self.url)
            group.start_download_file(hf_xet.XetFileInfo(self.xet_hash, self.size), str(target))
            group.wait_to_finish()
            return target.read_bytes()


@dataclass(frozen=True)
class _Entry:
    xet_hash: str
    sha256: str
    size: int


class XetStore:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"local://{folder}"
        self._shards = folder / "xet" / "xorbs" / "shards"

    def works(self) -> bool:
        """Whether this machine's hf_xet still knows `local://` stores and writes shards as we read them."""
        try:
            import hf_xet

            with hf_xet.XetSession().new_upload_commit(endpoint=self.url) as commit:
                commit.start_upload_bytes(b"probe", sha256=hf_xet.COMPUTE_SHA256)
            found = self.fetch(hashlib.sha256(b"probe").hexdigest())
        except Exception:  # any way of not working will do
            return False
        return found is not None and found.content == b"probe"

    def fetch(self, sha256: str) -> XetFile | None:
        """The stored file with that sha256."""
        found = (entry for shard in self._shards.glob("*.mdb") for entry in _entries(shard) if entry.sha256 == sha256)
        entry = next(found, None)
        return entry and XetFile(self.url, entry.xet_hash, entry.sha256, entry.size)

    def bytes(self) -> int:
        """What the store takes on disk: every chunk once."""
        return sum(path.stat().st_size for path in self._shards.parent.rglob("*") if path.is_file())


def _entries(shard: Path) -> Iterator[_Entry]:
    data, at = shard.read_bytes(), _RECORD_BYTES
    while data[at : at + 32] != _END:
        xet_hash = _hash(data, at)
        flags, segments = struct.unpack_from("<II", data, at + 32)
        at += _RECORD_BYTES
        size = sum(struct.unpack_from("<I", data, at + _RECORD_BYTES * i + 36)[0] for i in range(segments))
        at += _RECORD_BYTES * segments * (2 if flags & _HAS_VERIFICATION else 1)
        if flags & _HAS_SHA256:
            yield _Entry(xet_hash, _hash(data, at), size)
            at += _RECORD_BYTES


def _hash(data: bytes, at: int) -> str:
    """Hashes are written as four 64-bit words."""
    return "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", data, at))
