"""Features that were computed before, found again by content: the same pixels through the same weights.

A file for each block of images, named by the sha256 of the pixels, the space, its weights and whatever else decides the
numbers. Files are whole or not there; one that cannot be read is computed again. The folder keeps to a size: what was
not asked for longest goes first.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from xrarchive.errors import StorageError
from xrarchive.features.space import Space
from xrarchive.files import write_bytes
from xrarchive.pixels import Pixels

# Features of 400,000 images with 1,280 numbers each.
MAX_BYTES = 2_000_000_000
# Goes up whenever code changes what a network is shown or what is read off it.
_FORMAT = 1
_SUFFIX = ".npy"


def user_cache() -> Path:
    """The folder of this user's features: XRARCHIVE_CACHE, else below XDG_CACHE_HOME, else below ~/.cache."""
    if named := os.environ.get("XRARCHIVE_CACHE"):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "xrarchive" / "features"


@dataclass(frozen=True)
class FeatureCache:
    """A folder of blocks of features.

    Attributes:
        folder: Made when the first block is kept.
        max_bytes: What `tidy` keeps it below.
    """

    folder: Path
    max_bytes: int = MAX_BYTES

    def find(self, space: Space, block: Pixels) -> npt.NDArray[np.float32] | None:
        """float32 [B, D] of a block uint8 [B, H, H], None if it is not there or cannot be read."""
        path = self._path(space, block)
        try:
            features = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
            os.utime(path)
        except (OSError, EOFError, ValueError):
            return None
        fits = features.dtype == np.float32 and features.shape == (len(block), space.dim)
        return features if fits else None

    def keep(self, space: Space, block: Pixels, features: npt.NDArray[np.float32]) -> None:
        """Write the features of a block; a disk that refuses loses nothing but time."""
        stream = io.BytesIO()
        np.save(stream, np.ascontiguousarray(features))
        try:
            write_bytes(self._path(space, block), stream.getvalue())
        except StorageError:
            return

    def tidy(self) -> int:
        """Remove the blocks that were not asked for longest until the rest fits; how many went."""
        found = []
        for path in self.folder.rglob(f"*{_SUFFIX}"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process was faster
                continue
            found.append((stat.st_mtime, path, stat.st_size))
        total, gone = sum(size for *_, size in found), 0
        for _, path, size in sorted(found):
            if total <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total, gone = total - size, gone + 1
        return gone

    def _path(self, space: Space, block: Pixels) -> Path:
        decides = f"{_FORMAT} {space.name} {space.title} {space.fingerprint} {space.batch} {torch.__version__}"
        digest = hashlib.sha256(f"{decides} {block.dtype} {block.shape}\n".encode())
        digest.update(np.ascontiguousarray(block).data)
        name = digest.hexdigest()
        return self.folder / name[:2] / (name + _SUFFIX)
