"""DICOM films made here: any depth, range, window and table; no patient anywhere."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"
SECRETS = ("DOE^JANE", "MRN-4711", "19700102", "St Elsewhere")


def film_header(stored: np.ndarray, *, bits: int = 12, negative: bool = False, **elements: Any) -> Dataset:
    """A dataset with uint16 or int16 [H, W] pixels; `elements` are added by keyword."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = DIGITAL_X_RAY
    uid = generate_uid(entropy_srcs=[stored.tobytes().hex()])
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid
    data.PatientName, data.PatientID, data.PatientBirthDate, data.InstitutionName = SECRETS
    data.Modality, data.StudyInstanceUID = "DX", "1.2.3"
    data.Rows, data.Columns = stored.shape[:2]
    data.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    data.PhotometricInterpretation = "MONOCHROME1" if negative else "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * stored.dtype.itemsize, bits, bits - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.PixelData = stored.tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    return data


def to_bytes(data: Dataset) -> bytes:
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def film(stored: np.ndarray, **how: Any) -> bytes:
    """`film_header` as a file."""
    return to_bytes(film_header(stored, **how))
