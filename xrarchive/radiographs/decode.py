"""One image file, as it comes, to the square grey pixels of a radiograph set, or the reason why not.

In: a `Row`. Out: `Decoded` or `Reject`. A file from outside is never trusted: its kind, its size on disk and the size
in its header are checked before anything is decoded, and whatever a decoder raises rejects that file only.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from xrarchive.files import sha256_bytes
from xrarchive.pixels import MAX_SOURCE_PIXELS, Fit, Pixels, fit_square, to_grey

FORMATS = ("PNG", "JPEG", "TIFF")
_SIGNATURES = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF"}

# Eight bytes a pixel is a 16-bit RGBA file without compression; what is larger is not read at all.
MAX_SOURCE_BYTES = 8 * MAX_SOURCE_PIXELS
# Below this side there is no thorax to see; broken exports and tracking pixels are smaller.
MIN_SIDE_PX = 16
# TIFF 6.0, section 3: bits per sample, and the interpretation of films stored as negatives.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_DEEP_BITS = 16
_REASON_CHARACTERS = 160
# "(12 bytes not processed)": would make every truncated file a reason of its own.
_COUNTS = re.compile(r"\s*\(\d+ .*\)$")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The file a radiograph was read from: sha256 of its bytes, and its size in px after any EXIF rotation."""

    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Decoded:
    """A radiograph: uint8 [size, size] with 0 = black, and its file."""

    pixels: Pixels
    file: SourceFile


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a file is not in the set, and the sha256 of its bytes ("" if they could not be read)."""

    reason: str
    sha256: str = ""


class _UnfitError(Exception):
    """The file is readable and no radiograph we can take; the message says why."""


@contextmanager
def decoder_warnings() -> Iterator[None]:
    """Pillow's warnings while decoding: an image too large is an error, odd metadata is nobody's business.

    Holds for all threads of the process, so open it around the work, not inside a thread.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\b")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(path: Path, size_px: int, fit: Fit) -> Decoded | Reject:
    """Read one image file: PNG, JPEG or TIFF with one frame, of any depth `pixels.to_grey` knows."""
    try:
        data = _read(path)
    except (OSError, ValueError, _UnfitError) as err:
        return Reject(_describe(err))
    sha256 = sha256_bytes(data)
    try:
        grey = _open_grey(data)
        return Decoded(fit_square(grey, size_px, fit), SourceFile(sha256, grey.width, grey.height))
    except MemoryError:
        raise
    except Exception as err:  # Decoders raise anything on hostile bytes: struct.error, KeyError, zlib.error, ...
        return Reject(_describe(err), sha256)


def source_sha256(path: Path) -> str:
    """Sha256 of a source file as `decode` records it, "" if its bytes cannot be read."""
    try:
        return sha256_bytes(_read(path))
    except (OSError, ValueError, _UnfitError):
        return ""


def _read(path: Path) -> bytes:
    """All bytes of a regular file of sensible size (a pipe would block for ever)."""
    if not path.exists():
        raise _UnfitError("file not found")
    if not path.is_file():
        raise _UnfitError("not a regular file")
    if path.stat().st_size > MAX_SOURCE_BYTES:
        raise _UnfitError(f"larger than {MAX_SOURCE_BYTES:,} bytes")
    return path.read_bytes()


def _open_grey(data: bytes) -> Image.Image:
    """Decode to mode L, upright, black = 0."""
    if not data:
        raise _UnfitError("empty file")
    with _open(data) as image:
        width, height = image.size
        if width * height > MAX_SOURCE_PIXELS:
            raise _UnfitError(f"{width} x {height} px is over {MAX_SOURCE_PIXELS:,} pixels")
        if min(width, height) < MIN_SIDE_PX:
            raise _UnfitError(f"{width} x {height} px is under {MIN_SIDE_PX} px")
        if (frames := getattr(image, "n_frames", 1)) != 1:
            raise _UnfitError(f"holds {frames} frames, expected one")
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (_DEEP_BITS,))[0]
        # Pillow inverts white-is-zero TIFFs of 1 to 8 bits and hands over deeper ones as stored.
        negative = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode.startswith("I;16")
        grey = to_grey(ImageOps.exif_transpose(image), deep_max=(1 << bits) - 1)
    return ImageOps.invert(grey) if negative else grey


def _open(data: bytes) -> Image.Image:
    """Read the header only; Pillow knows no word for a file whose header is cut, so tell it from a foreign one."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as err:
        kind = next((name for start, name in _SIGNATURES.items() if data.startswith(start)), None)
        raise _UnfitError(f"truncated or damaged {kind}" if kind else f"not one of {', '.join(FORMATS)}") from err


def _describe(err: Exception) -> str:
    """A short reason without the file's own path or bytes, equal for equal causes."""
    if isinstance(err, _UnfitError):
        return str(err)
    if isinstance(err, OSError) and err.strerror:
        return err.strerror.lower()
    if isinstance(err, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"over {MAX_SOURCE_PIXELS:,} pixels"
    text = _COUNTS.sub("", " ".join(str(err).split())) or type(err).__name__
    return text[:_REASON_CHARACTERS]
