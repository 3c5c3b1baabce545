"""Is something written on a film? A detector of lines of text at its upper and lower edge, to flag and not to reject.

In: a grey film. Out: whether four or more marks stand in a line there as letters do. Called by `decode`.

Burned-in names are white, of one height and on one line, in a corner. The R or L that every film bears is one letter,
which identifies nobody and makes no line. Found are lines that a person would see at once; faint, slanted or dark ones
are not, so that no flag is no promise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

# Larger films are first brought down to it. Of names of 16 to 36 px on films of 1,024 px .86 are found here, and .49
# after halving them; none of 1,300 films without is flagged (2026-11-23, films of NIH).
_SIDE_PX = 1024
# Text stands in the outer sixth.
_BAND = 1 / 6
# White, and no less than that: bones and overexposed lungs seldom are.
_WHITE, _SHARE_OF_BRIGHTEST = 170, 0.8
_MIN_HEIGHT_PX, _MAX_HEIGHT = 4, 1 / 20
_MAX_ASPECT = 2.5
_MIN_FILL, _MAX_FILL = 0.12, 0.97
_LETTERS = 4


def has_lettering(film: Image.Image) -> bool:
    """Whether an upright film of mode L bears a line of at least four letters at its upper or lower edge."""
    longest = max(film.size)
    small = film.reduce(-(-longest // _SIDE_PX)) if longest > _SIDE_PX else film
    grey = np.asarray(small)
    rows = max(1, int(len(grey) * _BAND))
    limit = max(_WHITE, int(_SHARE_OF_BRIGHTEST * int(grey.max())))
    return any(_has_line(band >= limit, len(grey)) for band in (grey[:rows], grey[-rows:]))


def _has_line(mask: npt.NDArray[np.bool_], side_px: int) -> bool:
    """Whether four connected marks of one height follow each other on one line."""
    # Cheap, and enough for most films: a row through four letters goes from dark to white and back four times.
    crossed = np.count_nonzero(mask[:, 1:] != mask[:, :-1], axis=1) >= 2 * _LETTERS - 1
    if np.count_nonzero(crossed) < _MIN_HEIGHT_PX:
        return False
    from scipy import ndimage

    marks, _ = ndimage.label(mask, np.ones((3, 3)))
    letters = []
    for number, (tall, wide) in enumerate(ndimage.find_objects(marks), 1):
        height, width = tall.stop - tall.start, wide.stop - wide.start
        if not _MIN_HEIGHT_PX <= height <= max(12, side_px * _MAX_HEIGHT) or width > _MAX_ASPECT * height:
            continue
        if _MIN_FILL <= (marks[tall, wide] == number).mean() <= _MAX_FILL:
            letters.append((wide.start, wide.stop, tall.start, tall.stop))
    return _longest_line(sorted(letters)) >= _LETTERS


def _longest_line(letters: list[tuple[int, int, int, int]]) -> int:
    """How many letters, from left to right, stand at most a letter apart with feet and heights alike."""
    lengths: list[int] = []
    for index, (left, _, top, foot) in enumerate(letters):
        height, best = foot - top, 1
        for before in range(index - 1, -1, -1):
            _, right, other_top, other_foot = letters[before]
            slack = max(1, round(0.2 * height))
            alike = abs(other_foot - foot) <= slack and abs(other_top - top) <= 2 * slack
            if alike and -slack <= left - right <= 1.2 * height:
                best = max(best, lengths[before] + 1)
        lengths.append(best)
    return max(lengths, default=0)
