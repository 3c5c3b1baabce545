"""One image file, as it comes, to the square grey pixels of a radiograph set, or the reason why not.

In: the path, bytes or array of a `Place`. Out: `Decoded` or `Reject`. A file from outside is never trusted: its kind,
its size on disk and the size in its header are checked before anything is decoded, and whatever a decoder raises
rejects that file only. What no check can hold, a decoder that hangs, crashes or fills memory, `workers` does.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from xrarchive.files import sha256_bytes
from xrarchive.pixels import MAX_SOURCE_PIXELS, AnyPixels, Fit, Pixels, fit_square, to_grey
from xrarchive.radiographs.dicom import is_dicom, read_dicom_grey
from xrarchive.radiographs.lettering import has_lettering
from xrarchive.radiographs.places import MAX_SOURCE_BYTES, Content, Unread
from xrarchive.radiographs.reasons import UnfitError, require_size

FORMATS = ("PNG", "JPEG", "TIFF")
_SIGNATURES = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF"}

# TIFF 6.0, section 3: bits per sample, and the interpretation of films stored as negatives.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_DEEP_BITS = 16
_REASON_CHARACTERS = 160
# "(12 bytes not processed)": would make every truncated file a reason of its own.
_COUNTS = re.compile(r"\s*\(\d+ .*\)$")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The file a radiograph was read from.

    Attributes:
        sha256: Of its bytes.
        width: In px, after any EXIF rotation.
        height: In px.
        lettering: Whether something seems to be written on it (see `lettering`).
    """

    sha256: str
    width: int
    height: int
    lettering: bool = False


@dataclass(frozen=True)
class Decoded:
    """A radiograph: uint8 [size, size] with 0 = black, and its file."""

    pixels: Pixels
    file: SourceFile


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a file is not in the set, in words and as one of `reasons.CODES`; sha256 of its bytes ("" if unread)."""

    reason: str
    sha256: str = ""
    code: str = "damaged"


@contextmanager
def decoder_warnings() -> Iterator[None]:
    """Pillow's warnings while decoding: an image too large is an error, odd metadata is nobody's business.

    Holds for all threads of the process, so open it around the work, not inside a thread.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"(PIL|pydicom|openjpeg|libjpeg)\b")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(
    source: Content, size_px: int, fit: Fit, *, keep_burned_in: bool = False, lettering: bool = False
) -> Decoded | Reject:
    """Read one image: PNG, JPEG or TIFF with one frame, of any depth `pixels.to_grey` knows, DICOM, or an array.

    Args:
        source: The path of a file, its bytes, uint8 or uint16 [H, W] or [H, W, 3], or why there is nothing.
        size_px: Side of the square to make.
        fit: "crop" or "pad".
        keep_burned_in: Take DICOM films whose header says that the pixels name the patient.
        lettering: Look whether something is written on it.
    """
    try:
        data = _read(source)
    except (OSError, ValueError, UnfitError) as err:
        return _reject(err)
    sha256 = sha256_bytes(data.tobytes() if isinstance(data, np.ndarray) else data)
    try:
        grey = _open_array(data) if isinstance(data, np.ndarray) else _open_grey(data, keep_burned_in)
        file = SourceFile(sha256, grey.width, grey.height, lettering and has_lettering(grey))
        return Decoded(fit_square(grey, size_px, fit), file)
    except MemoryError:
        raise
    except Exception as err:  # Decoders raise anything on hostile bytes: struct.error, KeyError, zlib.error, ...
        return _reject(err, sha256)


def source_sha256(source: Content) -> str:
    """Sha256 of a source as `decode` records it, "" if its bytes cannot be read."""
    try:
        data = _read(source)
    except (OSError, ValueError, UnfitError):
        return ""
    return sha256_bytes(data.tobytes() if isinstance(data, np.ndarray) else data)


def _read(source: Content) -> bytes | AnyPixels:
    """All bytes of a regular file of sensible size (a pipe would block for ever), asked for twice if need be."""
    if isinstance(source, Unread):
        raise UnfitError(source.code, source.reason)
    if not isinstance(source, Path):
        return source
    if not source.exists():
        raise UnfitError("missing", "file not found")
    if not source.is_file():
        raise UnfitError("unreadable", "not a regular file")
    if source.stat().st_size > MAX_SOURCE_BYTES:
        raise UnfitError("too-large", f"larger than {MAX_SOURCE_BYTES:,} bytes")
    try:
        return source.read_bytes()
    except OSError:  # network file systems lose a read now and then
        return source.read_bytes()


def _open_array(pixels: AnyPixels) -> Image.Image:
    require_size(pixels.shape[1], pixels.shape[0])
    return to_grey(Image.fromarray(np.ascontiguousarray(pixels)))


def _open_grey(data: bytes, keep_burned_in: bool) -> Image.Image:
    """Decode to mode L, upright, black = 0."""
    if not data:
        raise UnfitError("not-an-image", "empty file")
    if is_dicom(data):
        return read_dicom_grey(data, keep_burned_in=keep_burned_in)
    with _open(data) as image:
        require_size(*image.size)
        if (frames := getattr(image, "n_frames", 1)) != 1:
            raise UnfitError("frames", f"holds {frames} frames, expected one")
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (_DEEP_BITS,))[0]
        # Pillow inverts white-is-zero TIFFs of 1 to 8 bits and hands over deeper ones as stored.
        negative = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode.startswith("I;16")
        ImageOps.exif_transpose(image, in_place=True)
        image.load()  # before the file it is read from is closed
        grey = to_grey(image, deep_max=(1 << bits) - 1)
    return ImageOps.invert(grey) if negative else grey


def _open(data: bytes) -> Image.Image:
    """Read the header only; Pillow knows no word for a file whose header is cut, so tell it from a foreign one."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as err:
        kind = next((name for start, name in _SIGNATURES.items() if data.startswith(start)), None)
        if kind:
            raise UnfitError("truncated", f"truncated or damaged {kind}") from err
        raise UnfitError("not-an-image", f"not one of {', '.join(FORMATS)}, DICOM") from err


def _reject(err: Exception, sha256: str = "") -> Reject:
    """A short reason without the file's own path or bytes, equal for equal causes."""
    if isinstance(err, UnfitError):
        return Reject(str(err), sha256, err.code)
    if isinstance(err, OSError) and err.strerror:
        return Reject(err.strerror.lower(), sha256, "unreadable")
    if isinstance(err, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return Reject(f"over {MAX_SOURCE_PIXELS:,} pixels", sha256, "too-large")
    text = _COUNTS.sub("", " ".join(str(err).split())) or type(err).__name__
    code = "truncated" if "truncated" in text else "no-range" if "no declared range" in text else "damaged"
    return Reject(_ADDRESS.sub("...", text)[:_REASON_CHARACTERS], sha256, code)
