"""The process that decodes: `main` with the fields of `How` as arguments, started and driven by `workers`.

In, on standard input: one message for each source, a head in JSON and then the bytes it announces. Out, on standard
output, in the same form: the file's facts and its pixels at every size of the pyramid, or why there are none. It ends
when its input ends, so that nothing is left behind by a parent that was killed.

Why a process: decoders are native code. One that hangs is killed, one that crashes ends alone, and the limit on memory
holds against both. Why JSON and not pickle: a decoder that a film has taken over could answer anything.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from xrarchive.pixels import Fit, Pixels
from xrarchive.radiographs.decode import Reject, SourceFile, decode, decoder_warnings
from xrarchive.radiographs.places import Content, Unread
from xrarchive.radiographs.table import pyramid_px

# Four times what the largest film we take needs: 32 million pixels as numbers of 8 bytes, twice, and their file.
MEMORY_BYTES = 3 << 30
_LENGTH = struct.Struct("<Q")

Film = tuple[SourceFile, list[Pixels]]


@dataclass(frozen=True)
class How:
    """What a film is to become: see `decode`."""

    size_px: int
    fit: Fit
    keep_burned_in: bool = False
    lettering: bool = False


def decode_pyramid(source: Content, how: How) -> Film | Reject:
    """`decode`, and the pixels of every size of `pyramid_px`."""
    result = decode(source, how.size_px, how.fit, keep_burned_in=how.keep_burned_in, lettering=how.lettering)
    if isinstance(result, Reject):
        return result
    levels = [result.pixels]
    for _ in pyramid_px(how.size_px)[1:]:
        levels.append(_halve(levels[-1]))
    return result.file, levels


def _halve(pixels: Pixels) -> Pixels:
    """Area averages of 2x2 pixels, uint8 [H, W] -> [H/2, W/2]: (a + b + c + d + 2) // 4, so halves go up."""
    wide = pixels.astype(np.uint16)
    pairs = wide[0::2] + wide[1::2]
    return ((pairs[:, 0::2] + pairs[:, 1::2] + 2) // 4).astype(np.uint8)


def pack(head: dict[str, Any], body: bytes | memoryview = b"") -> bytes:
    """A message as one string of bytes."""
    text = json.dumps({**head, "bytes": len(body)}).encode()
    return b"".join((_LENGTH.pack(len(text)), text, body))


def pack_source(source: Content) -> bytes:
    """The message that asks for a source."""
    if isinstance(source, Path):
        return pack({"path": str(source)})
    if isinstance(source, Unread):
        return pack({"unread": [source.code, source.reason]})
    if isinstance(source, bytes):
        return pack({}, source)
    return pack({"dtype": source.dtype.str, "shape": source.shape}, source.tobytes())


def unpack_source(head: dict[str, Any], body: bytes) -> Content:
    """The source that a message asks for."""
    if "path" in head:
        return Path(head["path"])
    if "unread" in head:
        return Unread(*head["unread"])
    if "dtype" in head:
        return np.frombuffer(body, head["dtype"]).reshape(head["shape"])
    return body


def pack_film(film: Film | Reject) -> bytes:
    """The message that answers."""
    if isinstance(film, Reject):
        return pack({"reject": [film.reason, film.sha256, film.code]})
    file, levels = film
    return pack(
        {"file": [file.sha256, file.width, file.height, file.lettering]}, b"".join(level.tobytes() for level in levels)
    )


def unpack_film(head: dict[str, Any], body: bytes, size_px: int) -> Film | Reject:
    """The answer, checked as far as one can: it may come from a process that a film has taken over.

    Raises:
        ValueError: If it is none.
    """
    try:
        if "reject" in head:
            return Reject(*map(str, head["reject"]))
        sha256, width, height, lettering = head["file"]
        file, levels, start = SourceFile(str(sha256), int(width), int(height), bool(lettering)), [], 0
        for px in pyramid_px(size_px):
            levels.append(np.frombuffer(body, np.uint8, px * px, start).reshape(px, px))
            start += px * px
    except (KeyError, TypeError) as err:
        raise ValueError(f"no answer: {err}") from err
    if start != len(body):
        raise ValueError(f"expected {start} bytes of pixels, found {len(body)}")
    return file, levels


def read_head(data: bytes) -> int:
    """Length of the head that follows the first bytes of a message."""
    return int(_LENGTH.unpack(data)[0])


HEAD_BYTES = _LENGTH.size


def _read_message(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    start = stream.read(HEAD_BYTES)
    if len(start) < HEAD_BYTES:
        return None
    head = json.loads(stream.read(read_head(start)))
    return head, stream.read(head["bytes"])


def _limit() -> None:
    try:
        import resource
    except ImportError:  # no limits on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _work(how: How, stdin: IO[bytes], stdout: IO[bytes]) -> None:
    stdout.write(pack({}))  # it has started
    stdout.flush()
    with decoder_warnings():
        while message := _read_message(stdin):
            try:
                film = decode_pyramid(unpack_source(*message), how)
            except MemoryError:
                film = Reject("more memory than a radiograph needs", code="memory")
            stdout.write(pack_film(film))
            stdout.flush()


def main() -> None:
    """Answer until the input ends."""
    _limit()
    size_px, fit, keep, lettering = sys.argv[1:]
    how = How(int(size_px), cast("Fit", fit), keep == "1", lettering == "1")
    # What a native decoder prints would stand between the answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        _work(how, sys.stdin.buffer, answers)
