"""DICOM files, read by pydicom and judged by dciodvfy where that is installed."""

import io
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from xrarchive.archive.exporting import dicom, export_archive
from xrarchive.archive.exporting.rows import Row
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.errors import DamageError, InputDataError

# The dictionary of Debian 12's dciodvfy is of 2022, before this attribute was in the standard.
SYNTHETIC_DATA = "(0x0008,0x001c)"
KINDS = {
    "L": np.arange(15, dtype=np.uint8).reshape(3, 5),
    "I;16": (np.arange(15, dtype=np.uint16) * 4000).reshape(3, 5),
    "RGB": np.arange(45, dtype=np.uint8).reshape(3, 5, 3),
}


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def row(data, image_id="Mass-1", label="Mass"):
    return Row(image_id, data, label, 3, {"image_id": image_id, "findings": [label]})


def read(data):
    return pytest.importorskip("pydicom").dcmread(io.BytesIO(data))


def test_without_pydicom_it_says_what_to_install(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(dicom.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(InputDataError) as caught:
        export_archive(archive, tmp_path / "out", to="dicom")
    assert "xrarchive[dicom]" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_the_same_id_of_another_archive_has_another_uid():
    pytest.importorskip("pydicom")
    one, again, other = (read(dicom.to_dicom(row(png(KINDS["L"] + add)))).SOPInstanceUID for add in (0, 0, 1))
    assert one == again != other


def test_uids_follow_from_level_and_text():
    uids = [dicom.derived_uid(level, name) for level in ("Study", "Series") for name in ("a", "b", "ab")]
    assert len(set(uids)) == 6
    assert all(uid.startswith("2.25.") and uid[5:].isdigit() and len(uid) <= 44 for uid in uids)
    assert uids[0] == dicom.derived_uid("Study", "a")


def test_an_archive_as_pydicom_reads_it(archive, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    export_archive(archive, tmp_path / "out", to="dicom")
    found = {
        data[0x0020, 0x4000].value.split()[-1][:-1]: data
        for data in map(pydicom.dcmread, (tmp_path / "out").rglob("*.dcm"))
    }
    ids = read_table(archive, ["image_id"])["image_id"].to_pylist()
    np.testing.assert_array_equal([found[image_id].pixel_array for image_id in ids], read_pixels(archive))
    first = found[ids[0]]
    assert first[0x0008, 0x001C].value == "YES"
    assert (first.PatientID, str(first.PatientName), first.PatientBirthDate, first.StudyDate) == (
        "SYNTHETIC",
        "",
        "",
        "",
    )
    assert first.SeriesDescription == "Mass"
    uids = [
        data[name].value
        for data in found.values()
        for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    ]
    assert len(set(uids)) == 27


@pytest.mark.parametrize("mode", KINDS)
def test_every_kind_of_pixels(mode):
    pytest.importorskip("pydicom")
    data = read(dicom.to_dicom(row(png(KINDS[mode]))))
    np.testing.assert_array_equal(data.pixel_array, KINDS[mode])
    assert len(data.PixelData) % 2 == 0


def test_text_fits_its_type():
    pytest.importorskip("pydicom")
    data = read(dicom.to_dicom(row(png(KINDS["L"]), image_id="a\\b\n😀", label="x\\" * 100)))
    assert data.SeriesDescription == "x_" * 32
    assert data.ImageComments.endswith("Image a_b_😀.")


def test_other_pixels_are_refused():
    pytest.importorskip("pydicom")
    with pytest.raises(InputDataError, match="mode RGBA"):
        dicom.to_dicom(row(png(np.zeros((2, 2, 4), np.uint8))))
    with pytest.raises(DamageError, match="cannot be decoded"):
        dicom.to_dicom(row(b"no PNG"))


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
def test_dciodvfy_finds_no_error_but_the_attribute_it_is_too_old_for(tmp_path, mode):
    pytest.importorskip("pydicom")
    (tmp_path / "a.dcm").write_bytes(dicom.to_dicom(row(png(KINDS[mode]))))
    done = subprocess.run(["dciodvfy", str(tmp_path / "a.dcm")], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "SCImage" in said or "SecondaryCaptureImage" in said
    errors = [line for line in said.splitlines() if line.startswith("Error")]
    assert all(SYNTHETIC_DATA in line and "not a recognized standard attribute" in line for line in errors), errors
