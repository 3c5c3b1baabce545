"""Images as DICOM files that a PACS viewer opens: OUT/<split>/<label>/<id>.dcm, with metadata.csv as in `folder`.

Why Secondary Capture and not Digital X-Ray: the latter demands a detector, an exposure, a view and a laterality, which
no synthetic image has and which would have to be made up. Secondary Capture also holds 16 bits and colour.

No value is a patient's or looks like one: name, birth date, sex and all dates are empty, and the patient id is the word
SYNTHETIC, since archives file by it and some refuse an empty one. UIDs follow from the image id
and the PNG's bytes: exporting an archive again gives the same files, and another archive with the same ids, which
another generator gives, never the same UIDs. Every image is a study of its own, since no two show the same person.

Synthetic Data (0008,001C) is younger than some validators: Debian 12's `dciodvfy`, of 2022, does not know it, says so
in an error, and finds no other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from xrarchive.archive.exporting.folder import write_files
from xrarchive.archive.exporting.rows import Row, Shard
from xrarchive.archive.manifest import Manifest
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import sha256_bytes

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
# Longest values of the types LO and LT (PS3.5, section 6.2).
_LO_CHARS, _LT_CHARS = 64, 10_240


def require_pydicom() -> None:
    """Refuse before anything is written.

    Raises:
        InputDataError: If pydicom is not installed.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise InputDataError("DICOM needs pydicom, which is not installed.", fix='Run: pip install "xrarchive[dicom]"')


def write_dicom(shards: Iterable[Shard], manifest: Manifest, out: Path) -> None:
    """Write every image as a DICOM file, and metadata.csv for each split."""
    write_files(shards, manifest, out, suffix=".dcm", encode=to_dicom)


def to_dicom(row: Row) -> bytes:
    """An image as a Secondary Capture file, Explicit VR Little Endian, uncompressed; 8 or 16 bits grey, or RGB.

    Raises:
        DamageError: If the PNG cannot be decoded.
        InputDataError: If its pixels are of another kind.
    """
    from pydicom.dataset import Dataset, FileMetaDataset

    image_id = row.values["image_id"]
    data: Any = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.SyntheticData = "YES"
    data.SOPClassUID = _SECONDARY_CAPTURE
    for level in ("SOPInstance", "StudyInstance", "SeriesInstance"):
        setattr(data, f"{level}UID", derived_uid(level, f"{image_id}\0{sha256_bytes(row.png)}"))
    data.Modality = "OT"
    data.BodyPartExamined = "CHEST"  # without a side, so that no laterality is asked for
    data.ConversionType = "SYN"
    data.Manufacturer = "xrarchive"
    data.PatientID = "SYNTHETIC"
    data.PatientIdentityRemoved = "YES"
    data.DeidentificationMethod = "Synthetic image, no patient"
    data.BurnedInAnnotation = "NO"
    data.StudyDescription = "Synthetic chest X-ray, no patient"
    data.SeriesDescription = _text(row.label, _LO_CHARS)
    data.ImageComments = _text(f"Asked for: {', '.join(row.values['findings'])}. Image {image_id}.", _LT_CHARS)
    data.SeriesNumber = data.InstanceNumber = 1
    for name in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        setattr(data, name, "")
    for name in ("ReferringPhysicianName", "StudyID", "AccessionNumber", "PatientOrientation"):
        setattr(data, name, "")
    _add_pixels(data, row)

    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = _SECONDARY_CAPTURE
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = _EXPLICIT_LITTLE_ENDIAN
    data.file_meta.ImplementationClassUID = derived_uid("Implementation", "xrarchive")
    data.file_meta.ImplementationVersionName = "XRARCHIVE"
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def derived_uid(level: str, text: str) -> str:
    """A UID under 2.25, the root for UUIDs, from the sha256 of `level` and `text`; at most 44 characters."""
    digest = hashlib.sha256(f"{level}\0{text}".encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _add_pixels(data: Any, row: Row) -> None:
    mode, pixels = _decode(row)
    bits = pixels.dtype.itemsize * 8
    values = {
        "SamplesPerPixel": 3 if mode == "RGB" else 1,
        "PhotometricInterpretation": "RGB" if mode == "RGB" else "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        **({"PlanarConfiguration": 0} if mode == "RGB" else {}),
        "PixelData": pixels.tobytes() + b"\0" * (pixels.nbytes % 2),
    }
    for name, value in values.items():
        setattr(data, name, value)
    data["PixelData"].VR = "OW" if bits == 16 else "OB"


def _decode(row: Row) -> tuple[str, npt.NDArray[Any]]:
    try:
        with Image.open(io.BytesIO(row.png), formats=("PNG",)) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, ValueError, SyntaxError) as err:
        raise DamageError(
            f"Image {row.values['image_id']} cannot be decoded: {err}.",
            fix="Find out more with `xrarchive check --read-data`.",
        ) from err
    if mode not in {"L", "I;16", "RGB"}:
        raise InputDataError(
            f"Image {row.values['image_id']} is of mode {mode}; DICOM export takes 8 or 16 bits grey, or RGB.",
            fix="Export it with `--to folder`.",
        )
    return mode, pixels.astype("<u2") if mode == "I;16" else pixels


def _text(text: str, chars: int) -> str:
    """What a value of text may hold: no backslash, which parts values, and nothing unprintable."""
    return "".join(char if char.isprintable() and char != "\\" else "_" for char in text)[:chars].strip()
