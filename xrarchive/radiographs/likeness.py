"""Which radiographs of a set are the same film? Equal pixels, and pixels that are nearly equal.

In: a set. Out: pairs of rows. Public sets hold one film under two names, sometimes of two patients or in two splits,
where what was trained on then also measures.

Near ones are found by a difference hash: which of two neighbouring squares is brighter, for all neighbours of a 16 x 16
average, across and down. It does not see brightness and contrast, and little of compression. Chest films are alike, so
that 64 bits, as usual for photographs, would pair strangers.

Source of the idea: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.pixels import area_average
from xrarchive.radiographs.table import RadiographSet
from xrarchive.records import OnStatus, Status, ignore_status

_PX = 16
_BITS = 2 * _PX * (_PX - 1)
_WORDS = 8
# Of 480 bits. Measured 2026-11-23 on NIH and MedNIST films at 64 px: of 54 million pairs two that are not known to be
# of one patient lie as near, none below 31 bits; follow-ups of one patient begin at 43. One film again as JPEG of
# quality 75 is 16 bits off at most in 95 of 100 cases, of quality 30 35 bits, with noise of 4 grey levels 26.
NEAR_BITS = 36
_BLOCK = 256
_READ = 512


@dataclass(frozen=True, slots=True)
class Alike:
    """Two rows of a set that show one film: how many of the 480 bits differ, and whether all pixels are equal."""

    first: int
    second: int
    bits: int
    equal: bool


def difference_hashes(radiographs: RadiographSet) -> npt.NDArray[np.uint64]:
    """uint64 [N, 8]: 480 bits for each radiograph, a few of them in memory at a time."""
    px = _PX if _PX in radiographs.sizes_px else radiographs.size_px
    parts = []
    for start in range(0, len(radiographs), _READ):
        rows = np.arange(start, min(start + _READ, len(radiographs)))
        small = area_average(radiographs.read(rows, px), _PX)
        across, down = small[:, :, 1:] > small[:, :, :-1], small[:, 1:] > small[:, :-1]
        bits = np.zeros((len(small), 64 * _WORDS), np.bool_)
        bits[:, :_BITS] = np.concatenate([across.reshape(len(small), -1), down.reshape(len(small), -1)], axis=1)
        parts.append(np.packbits(bits, axis=1).view(np.uint64))
    return np.concatenate(parts)


def find_alike(radiographs: RadiographSet, *, on_status: OnStatus = ignore_status) -> list[Alike]:
    """All pairs of rows that show one film, ascending.

    Args:
        radiographs: The set; its pixels are read once at 16 px and those of the pairs at full size.
        on_status: Told how many radiographs have been compared.
    """
    hashes = difference_hashes(radiographs)
    return [
        Alike(first, second, bits, _equal(radiographs, first, second))
        for first, second, bits in _near_pairs(hashes, on_status)
    ]


def _near_pairs(hashes: npt.NDArray[np.uint64], on_status: OnStatus) -> Iterator[tuple[int, int, int]]:
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        apart = np.zeros((len(block), len(hashes) - start), np.uint16)
        for word in range(_WORDS):
            apart += np.bitwise_count(block[:, None, word] ^ hashes[None, start:, word])
        for row, other in np.argwhere(apart <= NEAR_BITS).tolist():
            if other > row:
                yield start + row, start + other, int(apart[row, other])
        on_status(Status(start + len(block), len(hashes), "radiographs", "comparing"))


def _equal(radiographs: RadiographSet, first: int, second: int) -> bool:
    one, other = radiographs.read([first, second], radiographs.size_px)
    return bool(np.array_equal(one, other))
