"""DICOM films: what may leave the header, and the pixels as a viewer would show them.

In: the bytes of one file, or its place. Out: `DicomFacts` for the layouts, an 8-bit grey image for `decode`. Needs
pydicom (extra `dicom`), and for most compressed transfer syntaxes its codecs (extra `dicom-codecs`).

Two rules. *An allow-list leaves the reader*: the tags of `DicomFacts` are read and no other, and of those the patient
and the study id leave `ingest` only as keyed hashes. *Grey values mean the same in every film*: they are scaled by the
range the header declares, never by the darkest and brightest pixel, through the steps of PS3.3 C.11 and PS3.14: stored
value, modality LUT or rescale, VOI LUT or window, presentation LUT, and inverted where small values are white.

Why a table: a film of at most 16 bits has at most 65,536 different values, so the steps are computed for those and
looked up for each pixel, which is exact and as fast as the look-up.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from xrarchive.pixels import to_grey
from xrarchive.radiographs.places import FREE_BYTES, MAX_RATIO, MAX_SOURCE_BYTES, Place, read_places
from xrarchive.radiographs.reasons import UnfitError, require_size

_MAGIC_AT, _MAGIC = 128, b"DICM"
# The first element of files without preamble: groups 0002 and 0008, in either byte order.
_BARE_STARTS = (b"\x02\0\0\0", b"\x02\0\1\0", b"\x02\0\2\0", b"\x02\0\x10\0", b"\x08\0", b"\0\x08\0")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META_AT, _META_BYTES = 144, 2048
_MAX_BITS = 16
_NEGATIVE = "MONOCHROME1"
_GREY = ("MONOCHROME1", "MONOCHROME2")
_FACTS: tuple[str, ...] = (
    "PatientID",
    "StudyInstanceUID",
    "ViewPosition",
    "ViewCodeSequence",
    "PatientSex",
    "PatientAge",
)
_FACTS += ("PatientBirthDate", "StudyDate", "Modality", "BodyPartExamined", "BurnedInAnnotation", "NumberOfFrames")
# SNOMED CT and its older SRT codes of PS3.16 CID 4010, for films whose Digital X-Ray header names the view so.
_VIEW_CODES = {"399348003": "AP", "R-10206": "AP", "272479007": "PA", "R-10214": "PA"}
_VIEW_CODES |= {"399067008": "LATERAL", "R-10232": "LATERAL", "399173006": "LL", "R-10236": "LL"}
_VIEW_CODES |= {"399198007": "RL", "R-10234": "RL"}
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_YES = "YES"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """All that leaves a DICOM header; "" where it does not say.

    Attributes:
        patient: Patient id, as written; for hashing only.
        study: Study instance UID; for hashing only.
        view: "PA", "AP", "LL", "RL", "LATERAL", or another upper-case word.
        age: "058Y" as DICOM writes it, computed from birth and study dates if need be.
        sex: "M", "F", "O" or "".
        modality: "CR", "DX", "CT" and so on.
        body_part: As written, in upper case.
        burned_in: Whether the header says that the pixels name the patient.
        frames: How many images the file holds.
    """

    patient: str = ""
    study: str = ""
    view: str = ""
    age: str = ""
    sex: str = ""
    modality: str = ""
    body_part: str = ""
    burned_in: bool = False
    frames: int = 1


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin as DICOM does, with a preamble or, as old files, without."""
    return data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC or data.startswith(_BARE_STARTS)


def read_dicom_header(place: Place) -> DicomFacts | None:
    """`read_dicom_headers` of one place."""
    return next(read_dicom_headers([place]))[1]


def read_dicom_headers(places: Sequence[Place]) -> Iterator[tuple[int, DicomFacts | None]]:
    """The facts of each place, or None where it holds no DICOM that can be read; pixels are not decoded.

    Args:
        places: Files or members of containers; each container is read once.

    Yields:
        The index of a place and its facts, in the order of `read_places`.

    Raises:
        UnfitError: If pydicom is not installed.
    """
    _require_pydicom()
    for index, content in read_places(places):
        try:
            with quiet_pydicom():
                facts = _read_facts(content)
        except Exception:  # parsers raise anything on hostile bytes; `decode` will say what is wrong
            facts = None
        yield index, facts


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning of odd values: its words hold them, and they may be a name."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def _read_facts(content: object) -> DicomFacts | None:
    if isinstance(content, Path):
        with content.open("rb") as stream:
            if not is_dicom(stream.read(_MAGIC_AT + 4)):
                return None
            stream.seek(0)
            return _facts(_parse(stream, content.stat().st_size, tags=_FACTS))
    if isinstance(content, bytes) and is_dicom(content):
        return _facts(_parse(io.BytesIO(content), len(content), tags=_FACTS))
    return None


def read_dicom_grey(data: bytes, *, keep_burned_in: bool = False) -> Image.Image:
    """The pixels of a DICOM file as 8-bit grey, 0 = black.

    Args:
        data: The whole file.
        keep_burned_in: Take films whose header says that the pixels name the patient.

    Raises:
        UnfitError: If it is not one film of a depth and a size we take, is compressed in a way we cannot read, or says
            that the patient's name is burned in.
        Exception: Whatever pydicom and its codecs raise on damaged bytes.
    """
    _require_pydicom()
    with quiet_pydicom():
        return _read_grey(data, keep_burned_in)


def _read_grey(data: bytes, keep_burned_in: bool) -> Image.Image:
    header = _parse(io.BytesIO(data), len(data), tags=None)
    if not keep_burned_in and _YES in (
        _word(header, "BurnedInAnnotation"),
        _word(header, "RecognizableVisualFeatures"),
    ):
        raise UnfitError("burned-in", "the header says that the pixels show who it is")
    kind = _require_film(header)
    stored = _decode(header)
    if kind not in _GREY:
        return to_grey(Image.fromarray(_colour(stored, header, kind)))
    low, high = _domain(header)
    shown = _grey_table(header, np.arange(low, high + 1, dtype=np.float64))
    return Image.fromarray(_look_up_all(stored, shown, low))


def _look_up_all(stored: npt.NDArray[Any], shown: npt.NDArray[np.uint8], low: int) -> npt.NDArray[np.uint8]:
    """The grey of every pixel; values outside the declared range, which no table has, as the nearest inside.

    Args:
        stored: Any integers of one or two bytes [H, W].
        shown: The grey of `low` and every value that follows.
        low: The smallest value declared.
    """
    plain = np.ascontiguousarray(stored.astype(stored.dtype.newbyteorder("="), copy=False))
    if plain.dtype.itemsize > 2 or plain.dtype.kind not in "iu" or plain.ndim != 2:
        raise UnfitError("no-range", f"pixels of {plain.dtype} in {plain.ndim} dimensions are no radiograph's")
    as_index = np.dtype(f"u{plain.dtype.itemsize}")
    every = np.arange(1 << 8 * plain.dtype.itemsize).astype(as_index).view(plain.dtype).astype(np.int64)
    table = shown[np.clip(every - low, 0, len(shown) - 1)]
    return np.take(table, plain.view(as_index))


def _require_pydicom() -> None:
    if importlib.util.find_spec("pydicom") is None:
        raise UnfitError("codec-missing", 'DICOM needs pydicom: pip install "xrarchive[dicom]"')


def _parse(stream: Any, size: int, *, tags: Sequence[str] | None) -> Any:
    """A pydicom dataset; with `tags` those only and no pixels."""
    import pydicom

    if size > MAX_SOURCE_BYTES:
        raise UnfitError("too-large", f"larger than {MAX_SOURCE_BYTES:,} bytes")
    head = stream.read(_META_BYTES)
    if _DEFLATED in head:
        # Element (0002,0000) is the length of what stands between it and the deflated data (PS3.10, section 7.1).
        stream.seek(_META_AT + int.from_bytes(head[_META_AT - 4 : _META_AT], "little"))
        _require_no_bomb(stream.read(), size)
    stream.seek(0)
    return pydicom.dcmread(
        stream, force=True, stop_before_pixels=tags is not None, specific_tags=None if tags is None else list(tags)
    )


def _require_no_bomb(data: bytes, size: int) -> None:
    """Pydicom inflates a deflated file whole: see first, a piece at a time, how large that would be."""
    inflate, allowed = zlib.decompressobj(-zlib.MAX_WBITS), FREE_BYTES + MAX_RATIO * size
    inflated = 0
    while data and not inflate.eof:
        inflated += len(inflate.decompress(data, FREE_BYTES))
        data = inflate.unconsumed_tail
        if inflated > min(allowed, MAX_SOURCE_BYTES):
            raise UnfitError("container", f"{size:,} bytes that unpack to {inflated:,} or more are a bomb")


def _facts(header: Any) -> DicomFacts:
    return DicomFacts(
        patient=_text(header, "PatientID"),
        study=_text(header, "StudyInstanceUID"),
        view=_word(header, "ViewPosition") or _coded_view(header),
        age=_text(header, "PatientAge") or _age_between(_text(header, "PatientBirthDate"), _text(header, "StudyDate")),
        sex=_word(header, "PatientSex")[:1],
        modality=_word(header, "Modality"),
        body_part=_word(header, "BodyPartExamined"),
        burned_in=_word(header, "BurnedInAnnotation") == _YES,
        frames=_whole(header, "NumberOfFrames", 1),
    )


def _text(header: Any, name: str) -> str:
    value = header.get(name)
    return "" if value is None else str(value).strip().strip("\0")


def _word(header: Any, name: str) -> str:
    return _text(header, name).upper()


def _whole(header: Any, name: str, default: int) -> int:
    value = header.get(name)
    return default if value is None or value == "" else int(value)


def _coded_view(header: Any) -> str:
    codes = [_text(item, "CodeValue") for item in header.get("ViewCodeSequence") or ()]
    return next((_VIEW_CODES[code] for code in codes if code in _VIEW_CODES), "")


def _age_between(birth: str, study: str) -> str:
    """Whole years between two dates as DICOM writes them, "" if one is missing."""
    dates = [_DATE.fullmatch(date) for date in (birth, study)]
    if not all(dates):
        return ""
    (year, *day), (then, *now) = ([int(part) for part in date.groups()] for date in dates if date)
    years = then - year - (now < day)
    return f"{years:03}Y" if years >= 0 else ""


def _require_film(header: Any) -> str:
    """Photometric interpretation, after refusing what is not one image of at most 16 bits."""
    if "PixelData" not in header:
        raise UnfitError("not-an-image", "a DICOM file without pixels")
    rows, columns = _whole(header, "Rows", 0), _whole(header, "Columns", 0)
    require_size(columns, rows)
    if (frames := _whole(header, "NumberOfFrames", 1)) > 1:
        raise UnfitError("frames", f"holds {frames} frames, expected one")
    if max(_whole(header, "BitsStored", 0), _whole(header, "BitsAllocated", 0)) > _MAX_BITS:
        raise UnfitError("no-range", f"{_whole(header, 'BitsAllocated', 0)} bits a pixel are no radiograph's")
    return _word(header, "PhotometricInterpretation")


def _decode(header: Any) -> npt.NDArray[Any]:
    """Stored values [H, W] or [H, W, 3], unused bits taken off, colour as RGB."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = getattr(header, "file_meta", None)
    if meta is None or "TransferSyntaxUID" not in meta:  # a bare file: DICOM's default
        implicit, little = header.original_encoding
        if not little:
            raise UnfitError("damaged", "big-endian without saying so")
        header.file_meta = meta = meta or FileMetaDataset()
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax = meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as err:
        raise UnfitError("codec-missing", f"transfer syntax {syntax.name} is not one of images") from err
    if not decoder.is_available:
        raise UnfitError("codec-missing", f'compressed as {syntax.name}: pip install "xrarchive[dicom-codecs]"')
    pixels: npt.NDArray[Any] = pixel_array(header)
    return pixels


def _colour(stored: npt.NDArray[Any], header: Any, kind: str) -> npt.NDArray[np.uint8]:
    """uint8 [H, W, 3]; screenshots and scanned films come in colour."""
    if kind == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        stored = apply_color_lut(stored, header)
        bits = 8 * stored.dtype.itemsize
    else:
        bits = _whole(header, "BitsStored", 8)
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise UnfitError("no-range", f"{kind or 'no'} photometric interpretation, {stored.ndim} dimensions")
    return (stored >> (bits - 8)).astype(np.uint8) if bits > 8 else stored.astype(np.uint8)


def _domain(header: Any) -> tuple[int, int]:
    """Smallest and largest value the header declares."""
    bits = _whole(header, "BitsStored", 0) or _whole(header, "BitsAllocated", 0)
    if not 1 <= bits <= _MAX_BITS:
        raise UnfitError("no-range", f"{bits} bits a pixel are no radiograph's")
    signed = _whole(header, "PixelRepresentation", 0) == 1
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def _grey_table(header: Any, stored: Floats) -> npt.NDArray[np.uint8]:
    """What a viewer shows for every value in the declared range, ascending: uint8, 0 = black."""
    values, low, high = _modality(header, stored)
    shown = _voi(header, values, low, high)
    if sequence := header.get("PresentationLUTSequence"):
        entries, _, top = _lut(sequence[0])
        shown = entries[np.rint(shown * (len(entries) - 1)).astype(np.int64)] / top
    # The shape INVERSE repeats what MONOCHROME1 says, as PS3.3 C.8.11.3 has it, and does not turn it back.
    if _word(header, "PhotometricInterpretation") == _NEGATIVE or _word(header, "PresentationLUTShape") == "INVERSE":
        shown = 1 - shown
    return np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)


def _modality(header: Any, stored: Floats) -> tuple[Floats, float, float]:
    """Values after the modality step, and the range they may have."""
    if sequence := header.get("ModalityLUTSequence"):
        entries, first, top = _lut(sequence[0])
        return _look_up(stored, entries, first), 0.0, top
    slope, intercept = _number(header, "RescaleSlope", 1.0), _number(header, "RescaleIntercept", 0.0)
    if not slope:
        raise UnfitError("no-range", "a rescale slope of 0")
    values = stored * slope + intercept
    return values, float(values.min()), float(values.max())


def _voi(header: Any, values: Floats, low: float, high: float) -> Floats:
    """Values in 0..1: through the VOI LUT, else the first window, else the whole declared range."""
    if sequence := header.get("VOILUTSequence"):
        entries, first, top = _lut(sequence[0])
        return _look_up(values, entries, first) / top
    centre, width = _number(header, "WindowCenter", np.nan), _number(header, "WindowWidth", np.nan)
    function = _word(header, "VOILUTFunction") or "LINEAR"
    if not np.isfinite([centre, width]).all() or width < 1 or (width == 1 and function == "LINEAR"):
        return (values - low) / (high - low)
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))), np.float64)
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _number(header: Any, name: str, default: float) -> float:
    """The first value of an element of numbers."""
    value = header.get(name)
    several = hasattr(value, "__len__") and not isinstance(value, str)
    value = (value[0] if len(value) else None) if several else value
    return default if value is None or value == "" else float(value)


def _lut(item: Any) -> tuple[Floats, int, float]:
    """Entries of a look-up table, the value the first is for, and the largest an entry may be (PS3.3 C.11.1.1)."""
    (count, first, bits), data = (int(number) for number in item.LUTDescriptor), item.LUTData
    if isinstance(data, bytes):
        entries = np.frombuffer(data, np.uint8 if len(data) == (count or 1 << 16) else "<u2").astype(np.float64)
    else:
        entries = np.atleast_1d(np.asarray(data, np.float64))
    entries = entries[: count or 1 << 16]
    if not entries.size or not 1 <= bits <= _MAX_BITS:
        raise UnfitError("damaged", "a look-up table that says nothing")
    return entries, first, max(float((1 << bits) - 1), float(entries.max()))


def _look_up(values: Floats, entries: Floats, first: int) -> Floats:
    found: Floats = entries[np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.int64)]
    return found
