"""Hashes of what images and archives say, whatever they are packed in."""

import dataclasses
import hashlib
import io
from unittest import mock

import made_archive
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from made_archive import FINDINGS, make_archive, make_image, make_plan
from PIL import Image

from xrarchive.archive.changing import split
from xrarchive.archive.content import hash_content
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import check_archive
from xrarchive.archive.schema import DATA, hash_pixels, write_shard
from xrarchive.archive.shards import commit, record_file

# Of pixels


@pytest.mark.parametrize(
    ("pixels", "hashed"),
    [
        (np.uint8([[1, 2, 3], [4, 5, 6]]), b"L 2 3\n\x01\x02\x03\x04\x05\x06"),
        (np.uint16([[0x0102, 3]]), b"I;16 1 2\n\x02\x01\x03\x00"),
        (np.uint8([[[7, 8, 9]], [[1, 2, 3]]]), b"RGB 2 1\n\x07\x08\x09\x01\x02\x03"),
    ],
    ids=["L", "I;16", "RGB"],
)
def test_a_hash_of_pixels_can_be_made_by_anybody(pixels, hashed):
    assert hash_pixels(pixels) == hashlib.sha256(hashed).hexdigest()
    assert hash_pixels(np.asfortranarray(pixels)) == hash_pixels(pixels)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6))), st.data())
def test_shape_kind_and_every_sample_count(pixels, data):
    others = [pixels.astype(np.uint16), np.stack([pixels] * 3, axis=2)]
    if pixels.shape[0] != pixels.shape[1]:
        others.append(pixels.reshape(pixels.shape[::-1]))
    place = data.draw(st.tuples(*(st.integers(0, side - 1) for side in pixels.shape)))
    others.append(pixels.copy())
    others[-1][place] ^= 1 << data.draw(st.integers(0, 7))
    assert len({hash_pixels(image) for image in (pixels, *others)}) == 1 + len(others)


# Of archives


def content(folder):
    manifest = read_manifest(folder)
    assert manifest.content_sha256 == hash_content(folder, manifest)
    return manifest.content_sha256


def made_with(folder, change):
    """An archive whose fifth image is another one."""
    plan = make_plan()
    fifth = plan.unit(1)[0].image_id

    def make(plan, planned):
        image = make_image(plan, planned)
        return change(image) if image.image_id == fifth else image

    with mock.patch.object(made_archive, "make_image", make):
        return content(make_archive(folder, plan))


def another_pixel(image):
    pixels = image.pixels.copy()
    pixels[0, 0] ^= 1
    return dataclasses.replace(image, pixels=pixels)


def test_the_hash_is_known(made):
    """Computed by hand from the rows, so that it cannot change by accident."""
    manifest, digests = read_manifest(made), []
    for name in manifest.shards(DATA):
        for row in pq.read_table(made / name).to_pylist():
            absent = [finding for finding in FINDINGS if row[finding] is False]
            asked = [FINDINGS[index] for index in row["findings"]]
            with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
                pixels = hashlib.sha256(b"L 12 12\n" + image.tobytes()).hexdigest()
            line = ["train", row["image_id"], FINDINGS[row["label"]], asked, absent, pixels]
            text = str(line).replace("'", '"')  # of plain names and lists, as JSON writes them
            digests.append(hashlib.sha256(text.encode()).digest())
    assert manifest.content_sha256 == hashlib.sha256(b"".join(sorted(digests))).hexdigest()


@pytest.mark.parametrize(("rows_per_shard", "unit_images"), [(1, 4), (4, 2), (100, 48)])
def test_cut_otherwise_it_says_the_same(made, tmp_path, rows_per_shard, unit_images):
    plan = make_plan(unit_images=unit_images)
    again = make_archive(tmp_path / "again", plan, rows_per_shard=rows_per_shard)
    assert content(again) == content(made)


def test_compressed_otherwise_it_says_the_same(archive):
    manifest = read_manifest(archive)
    files = dict(manifest.files)
    for name in manifest.shards(DATA):
        table = pq.read_table(archive / name)
        images = table["image"].to_pylist()
        for value in images:
            stream = io.BytesIO()
            with Image.open(io.BytesIO(value["bytes"])) as image:
                image.save(stream, "PNG", compress_level=9)
            assert stream.getvalue() != value["bytes"]
            value["bytes"] = stream.getvalue()
        kind = table.schema.field("image")
        write_shard(archive / name, [table.set_column(0, kind, pa.array(images, kind.type))], table.schema)
        files[name] = record_file(archive / name)
    after = commit(archive, dataclasses.replace(manifest, files=files))
    assert after.sha256 != manifest.sha256
    assert after.content_sha256 == manifest.content_sha256
    assert check_archive(archive, read_data=True, decode=True).problems == ()


OTHERS = {
    "a pixel": another_pixel,
    "the label": lambda image: dataclasses.replace(image, findings=("Effusion",)),
    "one finding more": lambda image: dataclasses.replace(image, findings=(*image.findings, "Pleural_Thickening")),
    "an absence": lambda image: dataclasses.replace(image, absent=("Effusion",)),
    "the id": lambda image: dataclasses.replace(image, image_id=image.image_id + "x"),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_another_content_has_another_hash(made, tmp_path, change):
    assert made_with(tmp_path / "other", change) != content(made)


def test_scores_and_ways_are_no_content(made, tmp_path):
    same = made_with(
        tmp_path / "other",
        lambda image: dataclasses.replace(image, steps=1, soft_label=0.1, judge=dict.fromkeys(FINDINGS, 0.5)),
    )
    assert same == content(made)


def test_a_split_is_content(archive):
    before = content(archive)
    split(archive, {"train": 0.5, "test": 0.5})
    between = content(archive)
    split(archive, {"train": 1.0})
    assert between != before == content(archive)
