import numpy as np
import pytest

from xrarchive.pixels import decode_png
from xrarchive.reporting.page import png_size
from xrarchive.reporting.sheets import contact_sheets


def test_each_label_that_occurs_gets_its_first_images():
    pixels = np.repeat(np.arange(20, dtype=np.uint8), 16).reshape(20, 4, 4)
    sheets = contact_sheets(pixels, np.array([0] * 17 + [2] * 3), ("Edema", "Mass", "Effusion"))
    assert list(sheets) == ["Edema", "Effusion"]
    assert png_size(sheets["Edema"]) == (8 * 6 + 2, 2 * 6 + 2)
    assert png_size(sheets["Effusion"]) == (3 * 6 + 2, 6 + 2)
    edema = decode_png(sheets["Edema"])
    assert (edema[2:6, 2:6] == 0).all()
    assert (edema[8:12, 44:48] == 15).all()
    assert 16 not in edema


def test_large_images_are_halved_until_they_fit():
    sheet = contact_sheets(np.full((1, 512, 512), 77, np.uint8), np.array([0]), ("Edema",))["Edema"]
    assert png_size(sheet) == (132, 132)
    assert (decode_png(sheet)[2:-2, 2:-2] == 77).all()


def test_every_image_needs_a_label():
    with pytest.raises(ValueError, match="each of 2 images"):
        contact_sheets(np.zeros((2, 4, 4), np.uint8), np.array([0]), ("Edema",))
