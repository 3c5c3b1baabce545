"""The contact sheet of an archive of the tiny world."""

import numpy as np
from PIL import Image
from tiny_build import FINDINGS, PER_CLASS

from xrarchive import pipeline
from xrarchive.archive.reader import read_pixels, read_table


def test_a_contact_sheet_has_a_row_for_each_label(tiny_carded, tmp_path):
    pipeline.show(tiny_carded, contact_sheet=tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new/sheet.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (3 * 18 + 2, 10 * 18 + 2)
    pixels, labels = read_pixels(tiny_carded), read_table(tiny_carded, ["label"])["label"].to_numpy()
    for label in range(len(FINDINGS)):
        top = 2 + 18 * label
        np.testing.assert_array_equal(sheet[top : top + 16, 2:18], pixels[labels == label][0])
        assert not sheet[top : top + 16, 2 + 18 * PER_CLASS : 18 * (PER_CLASS + 1)].any()
