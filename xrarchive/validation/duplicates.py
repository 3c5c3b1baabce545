"""Is an image there twice, or a real radiograph there at all? Pixels come in, counts and ids go out.

Two images are near duplicates if their root mean square difference is below `NEAR_RMSE`. Search is exact and blocked:
large images are averaged down to about 64 px, where a difference can only shrink, candidates come from one matrix
product per block, and each is then compared at full size. Shifted, mirrored or recoloured copies are not found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.files import sha256_bytes
from xrarchive.validation.measures import Measure, measure, not_measured

Pixels = npt.NDArray[np.uint8]
_Flags = npt.NDArray[np.bool_]

# Grey levels of 255. Measured at 64 px on 7,000 films of NIH ChestX-ray14: JPEG at quality 75 moves a film by up to
# 6.3; the two most alike but different films are 20.1 apart.
NEAR_RMSE = 8.0

# Ids listed per kind: enough to look at, and the report stays readable when everything is one image.
LISTED_IDS = 100

_SEARCH_PX = 64
_COMPARED = 500  # images whose correlation with all films is held at a time
_BLOCK_CELLS = 4_000_000
_BLOCK_BYTES = 64_000_000
# Candidates pass with this much extra mean square difference, which covers float32 rounding in the matrix product.
_SLACK = 0.5


@dataclass(frozen=True)
class Search:
    """Images prepared for nearest-neighbour search: the pixels, and float32 [N, P] rows with their squared norms."""

    pixels: Pixels
    rows: npt.NDArray[np.float32]
    norms: npt.NDArray[np.float32]


def measure_repeats(image_ids: Sequence[str], pixels: Pixels) -> dict[str, Measure]:
    """Exact and near duplicates among images.

    Args:
        image_ids: [N].
        pixels: uint8 [N, H, W].

    Returns:
        `exact`: images that repeat an earlier one. `near`: images whose nearest other image differs by less than
        `NEAR_RMSE` but not by nothing.
    """
    first_of = _first_occurrences(pixels)
    repeats = first_of != np.arange(len(pixels))
    unique = np.flatnonzero(~repeats)
    near = np.zeros(len(pixels), np.bool_)
    near[unique] = _near_each_other(pixels[unique])
    return {
        "exact": _count(image_ids, repeats, "Images whose pixels repeat those of an earlier image exactly.", 0.0),
        "near": _count(
            image_ids,
            near,
            f"Images that differ from some other image by less than {NEAR_RMSE:g} grey levels (root mean square).",
            NEAR_RMSE,
        ),
    }


def nearest_below(queries: Pixels, gallery: Pixels, *, rmse: float = NEAR_RMSE) -> _Flags:
    """Which of the queries [N, H, W] have an image in the gallery [M, H, W] nearer than `rmse`: bool [N]."""
    search = _prepare(queries)
    found = np.zeros(len(queries), np.bool_)
    step = max(1, min(_BLOCK_CELLS // max(1, len(queries)), _BLOCK_BYTES // int(np.prod(gallery.shape[1:]))))
    for start in range(0, len(gallery), step):
        block = _prepare(np.asarray(gallery[start : start + step]))
        found |= _matches(search, block, rmse, ~found)
    return found


def most_alike(images: Pixels, films: Pixels) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The film that each image correlates with best, whatever the brightness and contrast of either.

    Args:
        images: uint8 [N, H, W].
        films: uint8 [M, H, W], M at least 1.

    Returns:
        float32 [N] Pearson correlation in -1..1, 0 for an image of one grey; int64 [N] index of the film.
    """
    gallery = _standardised(films)
    alike, rows = np.empty(len(images), np.float32), np.empty(len(images), np.int64)
    for start in range(0, len(images), _COMPARED):
        part = slice(start, start + _COMPARED)
        correlation = _standardised(images[part]) @ gallery.T
        alike[part], rows[part] = correlation.max(axis=1), correlation.argmax(axis=1)
    return alike, rows


def _standardised(pixels: Pixels) -> npt.NDArray[np.float32]:
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.where(lengths > 0, lengths, 1)
    return flat


def measure_copies(image_ids: Sequence[str], pixels: Pixels, radiographs: Pixels | None) -> Measure:
    """Images that are a radiograph, exactly or nearly.

    Args:
        image_ids: [N].
        pixels: uint8 [N, H, W].
        radiographs: uint8 [M, H, W], may be memory-mapped: what the generator was trained on; None if not at hand.
    """
    if radiographs is None:
        return not_measured(
            "No radiographs were given, so copies of them could not be looked for: validate with --radiographs SET."
        )
    if radiographs.shape[1:] != pixels.shape[1:]:
        ours, theirs = pixels.shape[1:], radiographs.shape[1:]
        return not_measured(
            f"The radiographs have {theirs[0]}x{theirs[1]} px and the archive {ours[0]}x{ours[1]} px: "
            "ingest them again with --size of the archive."
        )
    return _count(
        image_ids,
        nearest_below(pixels, radiographs),
        f"Images that differ from some real radiograph by less than {NEAR_RMSE:g} grey levels (root mean square). "
        "Shifted, mirrored or recoloured copies would not be found.",
        NEAR_RMSE,
        n_real=len(radiographs),
    )


def _count(image_ids: Sequence[str], flags: _Flags, note: str, rmse: float, **more: object) -> Measure:
    ids = sorted(image_id for image_id, flag in zip(image_ids, flags, strict=True) if flag)
    extra = {"rmse_below": rmse, "image_ids": ids[:LISTED_IDS], **more}
    return measure(len(ids), n=len(image_ids), note=note, extra=extra)


def _first_occurrences(pixels: Pixels) -> npt.NDArray[np.int64]:
    """For each image the row of the first image with the same pixels: int64 [N]."""
    first: dict[str, int] = {}
    return np.array(
        [first.setdefault(sha256_bytes(image.tobytes()), row) for row, image in enumerate(pixels)], np.int64
    )


def _near_each_other(pixels: Pixels) -> _Flags:
    """Which images have another one nearer than `NEAR_RMSE`; all images must differ: bool [N]."""
    everything = _prepare(pixels)
    flags = np.zeros(len(pixels), np.bool_)
    step = max(1, _BLOCK_CELLS // max(1, len(pixels)))
    for start in range(0, len(pixels), step):
        part = slice(start, start + step)
        block = Search(pixels[part], everything.rows[part], everything.norms[part])
        flags[part] = _matches(block, everything, NEAR_RMSE, np.ones(len(block.pixels), np.bool_), own=start)
    return flags


def _matches(queries: Search, gallery: Search, rmse: float, wanted: _Flags, own: int | None = None) -> _Flags:
    """Which wanted queries have a gallery image nearer than `rmse`; query i skips gallery image own + i, itself."""
    square = queries.norms[:, None] + gallery.norms[None] - 2 * (queries.rows @ gallery.rows.T)
    square /= queries.rows.shape[1]
    if own is not None:
        rows = np.arange(len(square))
        square[rows, own + rows] = np.inf
    found = np.zeros(len(square), np.bool_)
    for row in np.flatnonzero(wanted & (square.min(axis=1, initial=np.inf) < rmse**2 + _SLACK)):
        candidates = np.flatnonzero(square[row] < rmse**2 + _SLACK)
        nearest_first = candidates[np.argsort(square[row, candidates], kind="stable")]
        found[row] = any(_rmse(queries.pixels[row], gallery.pixels[other]) < rmse for other in nearest_first)
    return found


def _rmse(first: Pixels, second: Pixels) -> float:
    """Root mean square difference in grey levels."""
    difference = first.astype(np.int32) - second
    return float(np.sqrt(np.mean(difference * difference)))


def _prepare(pixels: Pixels) -> Search:
    """Average whole blocks down to about `_SEARCH_PX`; a size that blocks do not fill is searched as it is.

    The mean square difference of block averages is never above that of the pixels, so no near pair is lost.
    """
    count, height, width = pixels.shape
    factor = max(1, min(height, width) // _SEARCH_PX)
    if height % factor or width % factor:
        factor = 1
    small = pixels.reshape(count, height // factor, factor, width // factor, factor).mean(axis=(2, 4), dtype=np.float32)
    # Centred on mid-grey, so that the matrix product subtracts smaller numbers from each other.
    rows = small.reshape(count, -1) - np.float32(127.5)
    norms = np.array([np.vdot(row, row) for row in (line.astype(np.float64) for line in rows)], np.float32)
    return Search(pixels, rows, norms)
