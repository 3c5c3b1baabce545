import io
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from xrarchive.pixels import decode_png, encode_png, fit_square, to_grey, to_pixels, to_planes, write_grid

EVERY_GREY = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


def test_planes_span_minus_one_to_one():
    planes = to_planes(EVERY_GREY)
    assert planes.dtype == np.float32
    assert planes.shape == (1, 1, 16, 16)
    assert (planes.min(), planes.max()) == (-1, 1)


def test_pixels_survive_the_way_to_planes_and_back():
    np.testing.assert_array_equal(to_pixels(to_planes(EVERY_GREY)), EVERY_GREY)


def test_planes_are_rounded_and_clipped():
    planes = np.float32([-2, -1, -0.999, 0, 0.004, 1, 7]).reshape(1, 1, 1, 7)
    assert to_pixels(planes).tolist() == [[[0, 0, 0, 128, 128, 255, 255]]]


@pytest.mark.parametrize(
    "wrong", [EVERY_GREY[0], EVERY_GREY.astype(np.float32), EVERY_GREY[None], EVERY_GREY.astype(np.int64)]
)
def test_what_is_no_stack_of_pixels_is_refused(wrong):
    with pytest.raises(ValueError, match=r"pixels must be uint8 \[N, H, W\]"):
        to_planes(wrong)


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 3, 4, 4), (4, 4)])
def test_what_is_no_stack_of_planes_is_refused(shape):
    with pytest.raises(ValueError, match=r"planes must be \[N, 1, H, W\]"):
        to_pixels(np.zeros(shape, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_planes_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="NaN or infinity"):
        to_pixels(np.full((1, 1, 2, 2), value, np.float32))


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_png_is_lossless_and_repeats(pixels):
    data = encode_png(pixels)
    np.testing.assert_array_equal(decode_png(data), pixels)
    assert encode_png(pixels) == data
    with Image.open(io.BytesIO(data)) as image:
        assert (image.mode, image.format) == ("L", "PNG")


def sides(*more):
    return st.tuples(st.integers(1, 20), st.integers(1, 20), *map(st.just, more))


KINDS = {"L": (np.uint8, sides()), "I;16": (np.uint16, sides()), "RGB": (np.uint8, sides(3))}
ANY_PIXELS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda mode: st.tuples(st.just(mode), arrays.arrays(KINDS[mode][0], KINDS[mode][1]))
)


@settings(deadline=None, max_examples=150)
@given(ANY_PIXELS)
@example(("L", np.uint8([[7]])))
@example(("I;16", np.uint16([[0x1234]])))
@example(("RGB", np.uint8([[[1, 2, 3]]])))
@example(("I;16", np.uint16([[0, 65535, 0], [65535, 0, 1]])))
@example(("RGB", np.zeros((1, 20, 3), np.uint8)))
@example(("L", np.full((20, 1), 255, np.uint8)))
def test_every_kind_of_pixels_comes_back_from_png(kind):
    mode, pixels = kind
    data = encode_png(pixels, text={"Source": "Synthetic", "Comment": "caf\xe9"})
    found = decode_png(data, mode)
    assert (found.dtype, found.shape) == (pixels.dtype, pixels.shape)
    np.testing.assert_array_equal(found, pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.mode, image.size) == (mode, pixels.shape[1::-1])
        assert image.text == {"Source": "Synthetic", "Comment": "caf\xe9"}
    with Image.open(io.BytesIO(data)) as image:
        image.verify()  # checksums of the chunks


@settings(deadline=None, max_examples=30)
@given(arrays.arrays(np.uint8, sides()))
def test_png_bytes_do_not_depend_on_how_pixels_lie_in_memory(pixels):
    assert encode_png(np.asfortranarray(pixels)) == encode_png(pixels)
    wide = np.repeat(pixels, 2, axis=1)
    assert encode_png(wide[:, ::2]) == encode_png(pixels)


def filters_of(data):
    """The filter of each row of a PNG with one IDAT chunk."""
    place = data.index(b"IDAT")
    lines = zlib.decompress(data[place + 4 : place + 4 + int.from_bytes(data[place - 4 : place], "big")])
    width = int.from_bytes(data[16:20], "big")
    return list(lines[:: width + 1])


def test_rows_like_the_one_above_take_the_filter_that_is_read_fast():
    across = np.tile(np.arange(0, 120, 2, dtype=np.uint8), (5, 1))  # each row is the one above
    assert filters_of(encode_png(across)) == [4, 2, 2, 2, 2]
    down = np.ascontiguousarray(across.T)  # each row is flat, and unlike the one above
    assert filters_of(encode_png(down))[1:] == [4] * 59


def test_a_smooth_image_is_as_small_as_pillow_makes_it():
    y, x = np.mgrid[:256, :256]
    rng = np.random.default_rng(0)
    film = (100 + 60 * np.sin(x / 40) * np.cos(y / 50) + 2 * rng.standard_normal((256, 256))).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(film).save(stream, "PNG", compress_level=1)
    assert len(encode_png(film)) < 1.05 * len(stream.getvalue())


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 2), np.float32),
        np.zeros((2, 2), np.int16),
        np.zeros((2, 2, 3), np.uint16),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((2, 2, 1), np.uint8),
        np.zeros((0, 2), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=lambda pixels: f"{pixels.dtype} {pixels.shape}",
)
def test_pixels_of_no_kind_are_refused(wrong):
    with pytest.raises(ValueError, match="pixels must be uint8 or uint16"):
        encode_png(wrong)


@pytest.mark.parametrize(("made", "asked"), [("I;16", "L"), ("RGB", "L"), ("L", "I;16"), ("L", "RGB")])
def test_a_png_of_another_mode_than_the_archives_is_refused(made, asked):
    kind, shape = {"L": (np.uint8, (2, 2)), "I;16": (np.uint16, (2, 2)), "RGB": (np.uint8, (2, 2, 3))}[made]
    with pytest.raises(ValueError, match=f"expected a PNG of mode {asked}, got mode {made}"):
        decode_png(encode_png(np.zeros(shape, kind)), asked)


def png(image, kind="PNG"):
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "1", "I;16", "LA", "P"])
def test_a_png_that_is_not_grey_is_refused(mode):
    with pytest.raises(ValueError, match=f"expected a PNG of mode L, got mode {mode}"):
        decode_png(png(Image.new(mode, (4, 4))))


def test_only_png_is_read():
    with pytest.raises(OSError, match="cannot identify"):
        decode_png(png(Image.new("L", (4, 4)), "JPEG"))


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("L", (1, 1), 77), 77),
        (Image.new("1", (1, 1), 1), 255),
        (Image.new("RGB", (1, 1), (90, 90, 90)), 90),
        (Image.new("RGB", (1, 1), (255, 0, 0)), 76),
        (Image.new("RGBA", (1, 1), (255, 255, 255, 0)), 0),
        (Image.new("LA", (1, 1), (200, 255)), 200),
        (Image.fromarray(np.uint16([[0xFFFF]])), 255),
        (Image.fromarray(np.uint16([[0x8000]])), 128),
        (Image.fromarray(np.uint16([[0]])), 0),
    ],
)
def test_every_kind_of_image_becomes_grey(image, grey):
    found = to_grey(image)
    assert found.mode == "L"
    assert found.getpixel((0, 0)) == grey


def test_twelve_bits_are_scaled_by_their_own_white():
    assert to_grey(Image.fromarray(np.uint16([[4095]])), deep_max=4095).getpixel((0, 0)) == 255


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_range_nobody_declared_is_refused(mode):
    with pytest.raises(ValueError, match=f"mode {mode} have no declared range"):
        to_grey(Image.new(mode, (2, 2)))


@pytest.mark.parametrize("shape", [(8, 12), (12, 8)])
def test_crop_keeps_the_centre_and_pad_the_whole(shape):
    pixels = np.full(shape, 10, np.uint8)
    pixels[2:-2, 2:-2] = 200
    image = Image.fromarray(pixels)
    cropped, padded = fit_square(image, 8, "crop"), fit_square(image, 12, "pad")
    rows, columns = ((0, 8), (2, 10)) if shape == (8, 12) else ((2, 10), (0, 8))
    np.testing.assert_array_equal(cropped, pixels[slice(*rows), slice(*columns)])
    assert padded.shape == (12, 12)
    assert padded.sum(dtype=int) == pixels.sum(dtype=int)


def test_shrinking_averages_areas():
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert set(fit_square(Image.fromarray(board), 4, "crop").ravel()) == {100}


def test_enlarging_keeps_flat_areas_flat():
    assert set(fit_square(Image.new("L", (4, 4), 50), 16, "pad").ravel()) == {50}


def test_a_grid_shows_every_tile_in_its_place(tmp_path):
    tiles = np.stack([np.full((2, 3), value, np.uint8) for value in (1, 2, 3)])
    write_grid(tmp_path / "sheet", tiles, columns=2, gap_px=1)  # PNG whatever the name says
    with Image.open(tmp_path / "sheet") as image:
        assert image.format == "PNG"
        assert np.asarray(image).tolist() == [
            [96] * 9,
            [96, 1, 1, 1, 96, 2, 2, 2, 96],
            [96, 1, 1, 1, 96, 2, 2, 2, 96],
            [96] * 9,
            [96, 3, 3, 3, 96, 96, 96, 96, 96],
            [96, 3, 3, 3, 96, 96, 96, 96, 96],
            [96] * 9,
        ]
