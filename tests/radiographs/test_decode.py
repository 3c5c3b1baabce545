from __future__ import annotations

import io
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_source import gradient

from xrarchive.files import sha256_file
from xrarchive.pixels import MAX_SOURCE_PIXELS, to_grey
from xrarchive.radiographs import decode as decode_module
from xrarchive.radiographs.decode import Decoded, Reject, decode, decoder_warnings, source_sha256

RAMP = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with decoder_warnings():
        yield


def read(path: Path, size_px: int = 16) -> np.ndarray:
    result = decode(path, size_px, "crop")
    assert isinstance(result, Decoded), result
    return result.pixels


def refuse(path: Path) -> str:
    result = decode(path, 16, "crop")
    assert isinstance(result, Reject)
    return result.reason


def transparent_palette() -> Image.Image:
    image = Image.fromarray(RAMP).convert("P")
    image.info["transparency"] = bytes([0]) + bytes([255]) * 255
    return image


def rgba(alpha: int) -> Image.Image:
    image = Image.fromarray(RAMP).convert("RGBA")
    image.putalpha(alpha)
    return image


SAME = RAMP.astype(int)


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("L.png", lambda: Image.fromarray(RAMP), SAME),
        ("L.tif", lambda: Image.fromarray(RAMP), SAME),
        ("LA.png", lambda: Image.fromarray(RAMP).convert("LA"), SAME),
        ("P.png", lambda: Image.fromarray(RAMP).convert("P"), SAME),
        ("P-transparent.png", transparent_palette, SAME),
        ("RGB.png", lambda: Image.fromarray(RAMP).convert("RGB"), SAME),
        ("RGBA.png", lambda: rgba(255), SAME),
        ("invisible.png", lambda: rgba(0), SAME * 0),
        ("16.png", lambda: Image.fromarray(RAMP.astype(np.uint16) * 257), SAME),
        ("16.tif", lambda: Image.fromarray(RAMP.astype(np.uint16) * 257), SAME),
        ("16-low.png", lambda: Image.fromarray(RAMP.astype(np.uint16)), np.rint(SAME / 257).astype(int)),
        ("1.png", lambda: Image.fromarray(RAMP > 127), (SAME > 127) * 255),
        ("CMYK.tif", lambda: Image.fromarray(RAMP).convert("RGB").convert("CMYK"), SAME),
    ],
)
def test_every_kind_becomes_the_same_grey(
    tmp_path: Path, name: str, make: Callable[[], Image.Image], expected: np.ndarray
) -> None:
    make().save(tmp_path / name)
    np.testing.assert_array_equal(read(tmp_path / name), expected)


def test_16_bit_is_scaled_by_full_range_not_clipped_or_stretched() -> None:
    deep = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    assert np.asarray(to_grey(Image.fromarray(deep))).tolist() == [[0, 0, 1, 1, 128, 255, 255]]


def test_12_bit_is_scaled_by_its_declared_range() -> None:
    deep = np.array([[0, 2048, 4095]], np.uint16)
    assert np.asarray(to_grey(Image.fromarray(deep), deep_max=4095)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_without_a_declared_range_are_refused(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(RAMP.astype(dtype)).save(tmp_path / "deep.tif")
    assert "no declared range" in refuse(tmp_path / "deep.tif")


def test_a_rotated_photograph_is_set_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    image = gradient(0, width=48, height=32)
    image.save(tmp_path / "turned.png", exif=exif)
    result = decode(tmp_path / "turned.png", 32, "crop")
    assert isinstance(result, Decoded)
    assert (result.file.width, result.file.height) == (32, 48)
    np.testing.assert_array_equal(result.pixels, np.rot90(np.asarray(image), -1)[8:40])


def write_grey_tiff(path: Path, values: np.ndarray, *, bits: int, photometric: int) -> None:
    """A minimal little-endian TIFF with one strip: Pillow writes neither 12 bits nor deep negatives."""
    height, width = values.shape
    if bits == 12:
        flat = values.reshape(-1, 2).astype(np.uint32)
        words = (flat[:, 0] << 12) | flat[:, 1]
        data = b"".join(int(word).to_bytes(3, "big") for word in words)
    else:
        data = values.astype("<u2").tobytes()
    tags = [
        (256, width), (257, height), (258, bits), (259, 1), (262, photometric),
        (273, 8 + 2 + 9 * 12 + 4), (277, 1), (278, height), (279, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data)


@pytest.mark.parametrize(("photometric", "turn"), [(1, 0), (0, 255)])
def test_deep_negatives_are_turned_positive(tmp_path: Path, photometric: int, turn: int) -> None:
    write_grey_tiff(tmp_path / "film.tif", RAMP.astype(np.uint16) * 257, bits=16, photometric=photometric)
    np.testing.assert_array_equal(read(tmp_path / "film.tif"), np.abs(turn - SAME))


def test_a_12_bit_tiff_keeps_its_brightness(tmp_path: Path) -> None:
    write_grey_tiff(tmp_path / "film.tif", RAMP.astype(np.uint16) * 16, bits=12, photometric=1)
    np.testing.assert_allclose(read(tmp_path / "film.tif"), SAME, atol=1)


@pytest.mark.parametrize(("fit", "black"), [("crop", 0), ("pad", 2 * 8 * 48)])
def test_crop_cuts_the_longer_side_and_pad_adds_black(tmp_path: Path, fit: str, black: int) -> None:
    Image.new("L", (48, 32), 200).save(tmp_path / "wide.png")
    result = decode(tmp_path / "wide.png", 48 if fit == "pad" else 32, fit)  # type: ignore[arg-type]
    assert isinstance(result, Decoded)
    assert (result.pixels == 0).sum() == black
    assert set(np.unique(result.pixels)) <= {0, 200}


def test_the_sha256_is_that_of_the_file(tmp_path: Path) -> None:
    gradient(0).save(tmp_path / "a.png")
    result = decode(tmp_path / "a.png", 16, "crop")
    assert isinstance(result, Decoded)
    assert result.file.sha256 == sha256_file(tmp_path / "a.png") == source_sha256(tmp_path / "a.png")


def png_claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims any size, with a right checksum."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_truncated_file_is_refused_with_its_sha256(tmp_path: Path, kind: str) -> None:
    """Cut anywhere: refused, unless all pixels were there and only a trailer is missing."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    path = tmp_path / "film"
    Image.fromarray(noise).save(path, kind)
    data, whole = path.read_bytes(), read(path)
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        result = decode(path, 16, "crop")
        if isinstance(result, Decoded):
            assert length > len(data) - 24
            np.testing.assert_array_equal(result.pixels, whole)
        else:
            assert result.sha256 == sha256_file(path)
            assert "byte" not in result.reason


@pytest.mark.parametrize(
    ("width", "height"), [(6000, 6000), (12_000, 12_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]
)
def test_image_bombs_are_refused_by_their_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_claiming(width, height))
    assert f"over {MAX_SOURCE_PIXELS:,} pixels" in refuse(tmp_path / "bomb.png")


def test_files_that_are_no_radiograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    gradient(0, 15, 40).save(tmp_path / "small.png")
    gradient(0).save(tmp_path / "a.gif")
    gradient(0).save(tmp_path / "moving.png", save_all=True, append_images=[gradient(1)])
    expected = {
        "absent.png": "file not found",
        "empty.png": "empty file",
        "text.png": "not one of PNG, JPEG, TIFF, DICOM",
        "folder.png": "not a regular file",
        "pipe.png": "not a regular file",
        "small.png": "15 x 40 px is under 16 px",
        "a.gif": "not one of PNG, JPEG, TIFF, DICOM",
        "moving.png": "holds 2 frames, expected one",
        "x" * 300: "file name too long",
    }
    assert {name: refuse(tmp_path / name) for name in expected} == expected
    monkeypatch.setattr(decode_module, "MAX_SOURCE_BYTES", 10)
    assert refuse(tmp_path / "text.png") == "larger than 10 bytes"


def test_no_damage_escapes_as_a_traceback(tmp_path: Path) -> None:
    """400 mutants of five files: each is decoded or refused in words that name no address in memory."""
    chance = random.Random(0)
    sources = []
    for kind, image in (
        ("PNG", gradient(0)),
        ("JPEG", gradient(0)),
        ("TIFF", gradient(0)),
        ("TIFF", Image.fromarray(RAMP.astype(np.uint16))),
        ("PNG", gradient(0).convert("P")),
    ):
        stream = io.BytesIO()
        image.save(stream, kind)
        sources.append(stream.getvalue())
    for _ in range(400):
        data = bytearray(chance.choice(sources))
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            data = data[: chance.randrange(len(data))]
        (tmp_path / "mutant").write_bytes(data)
        result = decode(tmp_path / "mutant", 16, "crop")
        if isinstance(result, Reject):
            assert result.reason
            assert "0x" not in result.reason
        else:
            assert result.pixels.shape == (16, 16)
