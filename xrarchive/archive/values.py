"""Columns of a shard as 64-bit numbers, so that those of two archives are compared in little memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_HASH_BYTES = 8  # of 150,000 rows in 60 columns, that a change hides behind equal hashes has a chance of 5e-13
_NO_TEXT = b"\xff"  # no UTF-8
_NULL = np.uint64(0x7FF8_6E75_6C6C_0001)  # stands for null: as a float no number, as an integer larger than any of ours


def as_numbers(column: pa.ChunkedArray | pa.Array) -> NDArray[np.uint64]:
    """uint64 [N]: the bits of numbers, hashes of all else; equal values give equal numbers whatever their width."""
    array = _whole(column) if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_list(array.type):
        return _hash_lists(array, as_numbers(array.values))
    if pa.types.is_string(array.type):
        return hash_texts(array)
    if not (pa.types.is_boolean(array.type) or pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        return _hash_all(repr(value).encode() for value in array.to_pylist())
    zero = pa.scalar(False) if pa.types.is_boolean(array.type) else pa.scalar(0, array.type)
    values = pc.fill_null(array, zero).to_numpy(zero_copy_only=False)
    wide = values.astype(np.float64) + 0.0 if values.dtype.kind == "f" else values.astype(np.int64)  # -0.0 is 0.0
    numbers: NDArray[np.uint64] = wide.view(np.uint64)
    if array.null_count:
        numbers[~array.is_valid().to_numpy(zero_copy_only=False)] = _NULL
    return numbers


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def as_named(column: pa.ChunkedArray, names: Sequence[str] | Sequence[int]) -> NDArray[np.uint64]:
    """Positions in `names`, or lists of them, as numbers that stand for the names themselves."""
    array, known = _whole(column), pa.array([*names])
    if pa.types.is_list(array.type):
        return _hash_lists(array, as_numbers(pc.take(known, array.values)))
    return as_numbers(pc.take(known, array))


def _hash_lists(array: pa.ListArray, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash for each list, from the numbers of all values below `array`."""
    data, width = _bytes(values), values.itemsize
    ends = array.offsets.to_numpy() * width
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    rows = zip(valid, ends[:-1], ends[1:], strict=True)
    return _hash_all(data[start:end] if there else b"null" for there, start, end in rows)


def hash_rows(columns: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """uint64 [N]: a hash of each row of some columns [N]; rows of the same columns, in one order, are comparable."""
    width = len(columns) * _HASH_BYTES
    data = _bytes(np.stack(columns, axis=1))
    return _hash_all(data[start : start + width] for start in range(0, len(data), width))


def hash_texts(column: pa.ChunkedArray | pa.Array) -> NDArray[np.uint64]:
    """uint64 [N]: a hash of each text, null another."""
    texts = column.cast(pa.binary()).to_pylist()
    return _hash_all(_NO_TEXT if text is None else text for text in texts)


def _bytes(values: NDArray[np.uint64]) -> memoryview:
    return values.reshape(-1).view(np.uint8).data


def _hash_all(values: Iterable[bytes | memoryview]) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.blake2b(value, digest_size=_HASH_BYTES).digest() for value in values)
    return np.frombuffer(digests, np.uint64)


def hash_value(value: bytes) -> np.uint64:
    """The number that stands for these bytes."""
    return np.uint64(_hash_all([value])[0])
