"""Which split an image belongs to: decided by its id alone, so that nothing moves when an archive grows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa


def assign_split(image_id: str, shares: Mapping[str, float]) -> str:
    """The split of an id: its hash, as a number in [0, 1), held against the running sum of the shares.

    Two archives with the same shares agree on every id.
    """
    digest = hashlib.sha256(f"xrarchive.split/{image_id}".encode()).digest()
    place, reached = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for split, share in shares.items():
        reached += share
        if place < reached:
            return split
    return list(shares)[-1]  # the sum of the shares may fall short of 1 by rounding


def rows_of_split(table: pa.Table, split: str, shares: Mapping[str, float]) -> pa.Table:
    """The rows of a table with the column `image_id` that belong to a split."""
    if len(shares) == 1:
        return table
    return table.filter(np.array([assign_split(name, shares) == split for name in table["image_id"].to_pylist()], bool))
