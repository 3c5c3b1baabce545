"""DICOM films: the grey values a viewer shows, the facts that may leave, and an answer for every odd file."""

from __future__ import annotations

import dataclasses
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless
from tiny_dicom import SECRETS, film, film_header, to_bytes

from xrarchive.radiographs import dicom as dicom_module
from xrarchive.radiographs.decode import Decoded, Reject, decode, decoder_warnings
from xrarchive.radiographs.dicom import DicomFacts, read_dicom_grey, read_dicom_header, read_dicom_headers
from xrarchive.radiographs.places import Place
from xrarchive.radiographs.reasons import CODES

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with decoder_warnings():
        yield


def grey(data: bytes) -> np.ndarray:
    return np.asarray(read_dicom_grey(data)).astype(int)


def refuse(data: bytes) -> tuple[str, str]:
    result = decode(data, 16, "crop")
    assert isinstance(result, Reject), result
    assert result.code in CODES
    return result.code, result.reason


def table(entries: np.ndarray, *, first: int = 0, bits: int = 8) -> DicomSequence:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = entries.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return DicomSequence([item])


def test_grey_is_the_declared_range() -> None:
    np.testing.assert_array_equal(grey(film(RAMP)), np.rint(RAMP / 4095 * 255))
    np.testing.assert_array_equal(grey(film(RAMP, bits=14)), np.rint(RAMP / 16383 * 255))
    eight = (RAMP // 16).astype(np.uint8)
    np.testing.assert_array_equal(grey(film(eight, bits=8)), eight)
    signed = (RAMP.astype(np.int32) - 2048).astype(np.int16)
    np.testing.assert_array_equal(grey(film(signed)), np.rint(RAMP / 4095 * 255))


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        ("LINEAR", lambda x: (x - 1999.5) / 999 + 0.5),
        ("LINEAR_EXACT", lambda x: (x - 2000) / 1000 + 0.5),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 2000) / 1000))),
    ],
)
def test_windows_follow_the_standard(function: str, shown: Any) -> None:
    found = grey(film(RAMP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction=function))
    np.testing.assert_array_equal(found, np.rint(np.clip(shown(RAMP.astype(float)), 0, 1) * 255))


def test_of_several_windows_the_first_counts_and_one_without_width_counts_not() -> None:
    one = grey(film(RAMP, WindowCenter=2000, WindowWidth=1000))
    np.testing.assert_array_equal(grey(film(RAMP, WindowCenter=[2000, 5], WindowWidth=[1000, 9])), one)
    np.testing.assert_array_equal(grey(film(RAMP, WindowCenter=2000, WindowWidth=0)), grey(film(RAMP)))


def test_rescale_comes_before_the_window() -> None:
    moved = film(RAMP, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=3900, WindowWidth=2000)
    plain = film(RAMP, WindowCenter=2000.25, WindowWidth=1000.5)
    np.testing.assert_allclose(grey(moved), grey(plain), atol=1)
    falling = grey(film(RAMP, RescaleSlope=-1, RescaleIntercept=4095))
    np.testing.assert_array_equal(falling, np.rint((4095 - RAMP) / 4095 * 255))


def test_look_up_tables_of_each_step() -> None:
    square = (np.arange(4096) ** 2 / 4095**2 * 255).astype(np.uint16)
    expected = square[RAMP].astype(int)
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        np.testing.assert_array_equal(grey(film(RAMP, **{name: table(square)})), expected)
    np.testing.assert_allclose(grey(film(RAMP, PresentationLUTSequence=table(square))), expected, atol=1)
    late = grey(film(RAMP, VOILUTSequence=table(square[:100], first=50)))
    np.testing.assert_array_equal(late, square[np.clip(RAMP.astype(int) - 50, 0, 99)])


NUMBERS = st.integers(1, 4000)


@settings(max_examples=60, deadline=None)
@given(centre=NUMBERS, width=NUMBERS, function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID", None]))
def test_inverting_a_negative_gives_the_positive(centre: int, width: int, function: str | None) -> None:
    how: dict[str, Any] = {"WindowCenter": centre, "WindowWidth": width}
    how |= {"VOILUTFunction": function} if function else {}
    positive, negative = grey(film(RAMP, **how)), grey(film(RAMP, negative=True, **how))
    np.testing.assert_allclose(positive + negative, 255, atol=1)
    assert (np.diff(positive.ravel()) >= 0).all()
    assert positive.min() >= 0
    assert positive.max() <= 255


def test_the_shape_inverse_repeats_what_monochrome1_says() -> None:
    both = film(RAMP, negative=True, PresentationLUTShape="INVERSE")
    np.testing.assert_array_equal(grey(both), grey(film(RAMP, negative=True)))
    np.testing.assert_array_equal(grey(film(RAMP, PresentationLUTShape="INVERSE")), grey(both))


def test_a_negative_film_and_its_positive_are_one_radiograph() -> None:
    one = decode(film(RAMP), 32, "crop")
    other = decode(film(4095 - RAMP, negative=True), 32, "crop")
    assert isinstance(one, Decoded)
    assert isinstance(other, Decoded)
    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_colour_becomes_luma() -> None:
    values = np.zeros((32, 32, 3), np.uint8)
    values[..., 1] = 255
    data = film(values, bits=8, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    assert set(np.unique(grey(data))) == {150}


def test_films_that_are_refused_by_their_header() -> None:
    assert refuse(film(RAMP, BurnedInAnnotation="YES"))[0] == "burned-in"
    assert refuse(film(RAMP, RecognizableVisualFeatures="YES"))[0] == "burned-in"
    assert isinstance(decode(film(RAMP, BurnedInAnnotation="YES"), 16, "crop", keep_burned_in=True), Decoded)
    assert refuse(film(RAMP, NumberOfFrames=2)) == ("frames", "holds 2 frames, expected one")
    assert refuse(film(RAMP, Rows=65535, Columns=65535))[0] == "too-large"
    assert refuse(film(RAMP, Rows=4))[0] == "too-small"
    assert refuse(film(RAMP, RescaleSlope=0))[0] == "no-range"
    header = film_header(RAMP)
    del header.PixelData
    assert refuse(to_bytes(header)) == ("not-an-image", "a DICOM file without pixels")


def test_a_truncated_film_is_refused() -> None:
    data = film(RAMP)
    for share in (0.3, 0.6, 0.9, 0.99):
        assert isinstance(decode(data[: int(share * len(data))], 16, "crop"), Reject)


def test_a_compression_that_cannot_be_read_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    header = film_header(RAMP)
    header.compress(RLELossless)
    np.testing.assert_array_equal(grey(to_bytes(header)), grey(film(RAMP)))
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.is_available", False)
    data = to_bytes(header)
    assert refuse(data) == ("codec-missing", 'compressed as RLE Lossless: pip install "xrarchive[dicom-codecs]"')
    assert JPEGLosslessSV1.name not in refuse(data)[1]
    monkeypatch.setattr(dicom_module.importlib.util, "find_spec", lambda _: None)
    assert refuse(data) == ("codec-missing", 'DICOM needs pydicom: pip install "xrarchive[dicom]"')


def test_a_deflated_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    header = film_header(RAMP)
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(grey(to_bytes(header)), grey(film(RAMP)))
    monkeypatch.setattr(dicom_module, "FREE_BYTES", 1 << 12)
    meta = to_bytes(header)[:400]
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    length = 144 + int.from_bytes(meta[140:144], "little")
    assert refuse(meta[:length] + bomb.compress(bytes(50_000_000)) + bomb.flush())[0] == "container"


def test_facts_are_an_allow_list(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(film(RAMP, ViewPosition="pa", PatientSex="F", StudyDate="20200101", BurnedInAnnotation="NO"))
    facts = read_dicom_header(Place(path))
    assert facts == DicomFacts("MRN-4711", "1.2.3", "PA", "049Y", "F", "DX", "", False, 1)
    told = " ".join(map(str, dataclasses.astuple(facts)))
    assert [word for word in SECRETS if word in told] == ["MRN-4711"]


def test_facts_of_members_and_of_what_is_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        data = film(RAMP, PatientAge="058Y", ViewCodeSequence=DicomSequence([]))
        info = tarfile.TarInfo("one/a.dcm")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    places = [Place(tmp_path / "a.txt"), Place(tmp_path / "a.tar.gz", "one/a.dcm"), Place(tmp_path / "no.dcm")]
    found = dict(read_dicom_headers(places))
    assert found[0] is None
    assert found[1] is not None
    assert (found[1].age, found[1].view) == ("058Y", "")
    assert found[2] is None


ODD = sorted(path for path in (Path(pydicom.data.__file__).parent).rglob("*") if path.is_file())


def test_pydicoms_own_odd_files_all_end_in_an_image_or_a_reason() -> None:
    assert len(ODD) > 150
    answers = {path: decode(path, 16, "crop") for path in ODD}
    images = [path for path, found in answers.items() if isinstance(found, Decoded)]
    rejects = [found for found in answers.values() if isinstance(found, Reject)]
    assert len(images) > 40
    assert all(reject.code in CODES and reject.reason for reject in rejects)
    for path in ODD:
        read_dicom_header(Place(path))
