"""Films as readers get them: one path for real and synthetic, from stored pixels to the bytes in the page.

In: uint8 or uint16 grey or colour [H, W] of an archive or a radiograph set. Out: PNG files of equal length.

Why one path and equal lengths: readers must judge what is in the film. A film that was resized, rounded or compressed
in another way, or is a longer file, can be told from the others without looking at it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from xrarchive.pixels import AnyPixels, Pixels, encode_png, fit_square, to_grey

# Ancillary, private, safe to copy (PNG specification, 5.4): every decoder passes over it.
PADDING = b"paDd"
_CHUNK_BYTES, _IEND_BYTES = 12, 12
_SIGNATURE_BYTES = 8


def present(pixels: AnyPixels, size_px: int) -> Pixels:
    """The film as shown, uint8 [size_px, size_px]: to 8-bit grey, then area-averaged; equal sizes pass unchanged."""
    return fit_square(to_grey(Image.fromarray(np.ascontiguousarray(pixels))), size_px, "crop")


def encode_films(films: Sequence[Pixels]) -> list[bytes]:
    """PNG of each film without any text, all padded to the length of the longest."""
    files = [encode_png(film) for film in films]
    length = max(map(len, files), default=0) + _CHUNK_BYTES
    return [pad_png(data, length) for data in files]


def pad_png(data: bytes, length: int) -> bytes:
    """The same image in a file of exactly `length` bytes.

    Raises:
        ValueError: If there is no room for the padding chunk's own twelve bytes.
    """
    filling = length - len(data) - _CHUNK_BYTES
    if filling < 0:
        raise ValueError(f"a PNG of {len(data)} bytes cannot be padded to {length}")
    body = PADDING + bytes(filling)
    chunk = struct.pack(">I", filling) + body + struct.pack(">I", zlib.crc32(body))
    return data[:-_IEND_BYTES] + chunk + data[-_IEND_BYTES:]


def read_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and contents of a PNG's chunks, in order."""
    chunks, start = [], _SIGNATURE_BYTES
    while start < len(data):
        (size,) = struct.unpack(">I", data[start : start + 4])
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + size]))
        start += size + _CHUNK_BYTES
    return chunks
