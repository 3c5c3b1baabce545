"""Why a radiograph is not in the set: reason codes of rejects.csv, and the checks all kinds of files share."""

from __future__ import annotations

from xrarchive.pixels import MAX_SOURCE_PIXELS

# Below this side there is no thorax to see; broken exports and tracking pixels are smaller.
MIN_SIDE_PX = 16

# Code -> what it means. The second part comes from the layouts: films that are left out by a rule.
CODES = {
    "missing": "the file, or the member of a container, is not there",
    "unreadable": "the operating system refuses to read it",
    "container": "the zip, tar, npz or Parquet file around it is damaged, encrypted or hostile",
    "not-an-image": "it is none of PNG, JPEG, TIFF and DICOM, or holds no pixels",
    "truncated": "it ends early",
    "damaged": "a decoder cannot make sense of it",
    "too-large": "more bytes or pixels than any radiograph has",
    "too-small": "fewer pixels than a thorax needs",
    "frames": "it holds more than one image",
    "no-range": "its values have no declared range of 1 to 16 bits",
    "codec-missing": "an optional package that reads this kind of file is not installed",
    "burned-in": "its header says that the pixels name the patient",
    "memory": "decoding took more memory than a radiograph needs",
    "timeout": "decoding took longer than any radiograph needs",
    "crashed": "a decoder ended the process it ran in",
    "view-lateral": "taken from the side",
    "view-rotated": "the source says that it lies on its side or is rotated",
    "view-other": "another view than those asked for",
    "view-unknown": "the source does not say which view it is",
    "excluded-by-source": "the source itself says that it is not to be used",
    "other-modality": "no radiograph",
    "other-body-part": "a radiograph of something else",
}


class UnfitError(Exception):
    """The file is no radiograph we can take: a code of `CODES`, and words."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def require_size(width: int, height: int) -> None:
    """Refuse, by the header alone, what is too large to decode or too small to show anything.

    Raises:
        UnfitError: With both sides.
    """
    if width * height > MAX_SOURCE_PIXELS:
        raise UnfitError("too-large", f"{width} x {height} px is over {MAX_SOURCE_PIXELS:,} pixels")
    if min(width, height) < MIN_SIDE_PX:
        raise UnfitError("too-small", f"{width} x {height} px is under {MIN_SIDE_PX} px")
