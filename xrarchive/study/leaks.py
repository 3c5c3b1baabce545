"""Can real and synthetic films be told apart without looking at them? Tested before a study is written.

In: the slots, the bytes each film has in a page, and how ids and orders are drawn. Out: an AUC with its interval for
every property of the *container*, for all of them together (learned on other films), and the verdict.

*What is resampled*: ids, places, sides and orders are drawn again from other seeds, many times, and films drawn with
all their drawings. So the interval is about the way a study is put together, not about the luck of one order, and is
narrow enough to fail. Properties of the bytes are the same in every drawing: they either are equal for all films, or
their interval is as wide as so few films make it, and the study is refused.

Properties of the *image* (`measure_statistics`) are reported and refuse nothing: a generator may differ there, and what
readers make of it is the question of the study.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xrarchive.bootstrap import Codes, Floats, make_rng
from xrarchive.errors import GateError
from xrarchive.pixels import Pixels, encode_png
from xrarchive.statistics import bootstrap_auroc
from xrarchive.study.arranging import Arrangement, Slot, arrange
from xrarchive.study.presenting import PADDING, read_chunks
from xrarchive.study.protocol import Protocol
from xrarchive.study.selecting import SYNTHETIC

MAX_AUC = 0.6
# Rows (films x drawings) the test wants: their AUC is known to about +-0.02.
_ROWS = 3_000
_MIN_DRAWINGS = 5
_RESAMPLES = 200
_FOLDS, _RIDGE, _NO_SPREAD = 5, 0.05, 1e-9
_BORDER = 1 / 16

ALL = "all together"
BYTE_PROPERTIES = ("length in the page", "length of the file", "layout of the file")
DRAWN_PROPERTIES = (
    "id, first half",
    "id, second half",
    "place in the page",
    "place in the order",
    "times shown",
    "side",
)


@dataclass(frozen=True)
class Leak:
    """How well one property tells synthetic from real.

    Attributes:
        property: In words.
        auc: 0.5 = not at all, 1 = always; whichever way round a single property does it.
        high: Upper end of its 95 % interval.
    """

    property: str
    auc: float
    high: float


def measure_container(
    slots: Sequence[Slot], blocks: Sequence[tuple[str, bytes]], protocol: Protocol, *, seed: int
) -> list[Leak]:
    """AUC of every property of the container, and of all together.

    Args:
        slots: The films.
        blocks: Of each film the text that goes into a page, and the file in it.
        protocol: Of the study.
        seed: Of the study: the first drawing is the study's own.
    """
    positive = np.array([slot.kind == SYNTHETIC for slot in slots], np.float64)
    drawings = max(_MIN_DRAWINGS, -(-_ROWS // len(slots)))
    own = _byte_properties(blocks)
    drawn = [_drawn_properties(arrange(slots, protocol, each)) for each in _seeds(seed, drawings)]
    values = np.concatenate([_ranked_alike(np.hstack([own, each]), slots) for each in drawn])
    films, labels = np.tile(np.arange(len(slots)), drawings), np.tile(positive, drawings)
    names = (*BYTE_PROPERTIES, *DRAWN_PROPERTIES)
    leaks = [_leak(name, values[:, column], labels, films) for column, name in enumerate(names)]
    couples = np.tile([slot.couple for slot in slots], drawings)
    return [*leaks, _learned(values, labels, films, couples, seed)]


def require_tight(leaks: Sequence[Leak]) -> None:
    """Refuse a study that can be read without looking at the films.

    Raises:
        GateError: If the upper end of any interval reaches `MAX_AUC`.
    """
    open_ = [leak for leak in leaks if not leak.high < MAX_AUC]
    if open_:
        words = ", ".join(f"{leak.property} (AUC {leak.auc:.2f}, up to {leak.high:.2f})" for leak in open_)
        raise GateError(
            f"Real and synthetic films could be told apart without looking at them, by {words}; the upper end of the "
            f"interval must stay below {MAX_AUC}.",
            fix="This is a fault of the study's making, not of your data: please report it with this message.",
        )


def measure_statistics(slots: Sequence[Slot], films: Sequence[Pixels]) -> list[Leak]:
    """AUC of simple statistics of the images, each film once, within its size: what a reader might pick up."""
    labels = np.array([slot.kind == SYNTHETIC for slot in slots], np.float64)
    table = [_statistics_of(film) for film in films]
    values = _ranked_alike(np.array([list(row.values()) for row in table]), slots)
    alone = np.arange(len(slots))
    leaks = [_leak(name, values[:, column], labels, alone) for column, name in enumerate(table[0])]
    return [*leaks, _learned(values, labels, alone, np.array([slot.couple for slot in slots]), 0)]


def _seeds(seed: int, drawings: int) -> list[int]:
    others = make_rng(seed, "study leaks").integers(2**31, size=drawings - 1).tolist()
    return [seed, *others]


def _byte_properties(blocks: Sequence[tuple[str, bytes]]) -> Floats:
    rows = []
    for text, data in blocks:
        # The length of the compressed pixels is a statistic of the image, and so is that of the padding, its
        # complement.
        layout = [(name, b"" if name in (b"IDAT", PADDING) else content) for name, content in read_chunks(data)]
        rows.append((len(text), len(data), zlib.crc32(repr(layout).encode())))
    return np.array(rows, np.float64)


def _drawn_properties(arrangement: Arrangement) -> Floats:
    places = {image: place for place, image in enumerate(sorted(arrangement.ids))}
    orders: dict[str, list[float]] = {image: [] for image in arrangement.ids}
    sides: dict[str, list[float]] = {image: [] for image in arrangement.ids}
    for trials in arrangement.trials.values():
        for number, trial in enumerate(trials):
            for side, image in enumerate(trial.images):
                orders[image].append(number)
                sides[image].append(side)
    halves = [(_number(image[: len(image) // 2]), _number(image[len(image) // 2 :])) for image in arrangement.ids]
    shown = [(float(np.mean(orders[i])), len(orders[i]), float(np.mean(sides[i]))) for i in arrangement.ids]
    order = [places[image] for image in arrangement.ids]
    return np.column_stack([np.array(halves), np.array(order), np.array(shown)]).astype(np.float64)


def _number(text: str) -> float:
    return float(int.from_bytes(text.encode(), "big"))


def _ranked_alike(values: Floats, slots: Sequence[Slot]) -> Floats:
    """Ranks [N, P] in 0..1, ties alike, among films of one size and of practice or not: both are known to readers."""
    from scipy.stats import rankdata

    alike = np.array([2 * slot.size_px + slot.practice for slot in slots])
    ranks = np.empty_like(values)
    for value in np.unique(alike):
        own = alike == value
        ranks[own] = (rankdata(values[own], axis=0) - 0.5) / own.sum()
    return ranks


def _leak(name: str, scores: Floats, labels: Floats, films: Codes) -> Leak:
    found = bootstrap_auroc(scores, labels, films, resamples=_RESAMPLES)
    return Leak(name, round(max(found.value, 1 - found.value), 4), round(max(found.high, 1 - found.low), 4))


def _learned(values: Floats, labels: Floats, films: Codes, couples: Codes, seed: int) -> Leak:
    """All properties together, their squares and products: AUC of a ridge regression on couples it did not learn on.

    Folds of whole couples are balanced; else one that learned nothing would score below one half, since what it did
    not learn on has fewer of what it learned on more.
    """
    terms = _with_products(values - 0.5)
    folds = make_rng(seed, "study leak folds").permutation(int(couples.max()) + 1)[couples] % _FOLDS
    scores = np.empty(len(values))
    for fold in range(_FOLDS):
        learn, test = terms[folds != fold], folds == fold
        penalty = _RIDGE * len(learn) * np.eye(terms.shape[1])
        weights = np.linalg.solve(learn.T @ learn + penalty, learn.T @ (labels[folds != fold] - 0.5))
        scores[test] = terms[test] @ weights
    found = bootstrap_auroc(scores, labels, films, resamples=_RESAMPLES)
    return Leak(ALL, round(found.value, 4), round(found.high, 4))


def _with_products(values: Floats) -> Floats:
    """[N, P] with every product of two columns, each scaled to the same size; columns that never vary are 0."""
    first, second = np.triu_indices(values.shape[1])
    terms = np.hstack([values, values[:, first] * values[:, second]])
    terms = terms - terms.mean(axis=0)
    spread = terms.std(axis=0)
    scaled: Floats = np.divide(terms, spread, out=np.zeros_like(terms), where=spread > _NO_SPREAD)
    return scaled


def _statistics_of(film: Pixels) -> dict[str, float]:
    """Brightness, contrast, histogram, border, sharpness and compressed size of one film."""
    values = film.astype(np.float64)
    counts = np.bincount(film.ravel(), minlength=256) / film.size
    wide = max(1, round(_BORDER * film.shape[0]))
    inner = np.zeros(film.shape, np.bool_)
    inner[wide:-wide, wide:-wide] = True
    steps = values[1:-1, 1:-1] * 4 - values[:-2, 1:-1] - values[2:, 1:-1] - values[1:-1, :-2] - values[1:-1, 2:]
    used = counts[counts > 0]
    return {
        "brightness": float(values.mean()),
        "contrast": float(values.std()),
        "black and white": float(counts[0] + counts[255]),
        "histogram entropy": float(-(used * np.log2(used)).sum()),
        "border brightness": float(values[~inner].mean()),
        "border contrast": float(values[~inner].std()),
        "sharpness": float(np.log1p(steps.var())),
        "compressed size": float(len(encode_png(film))),
    }
