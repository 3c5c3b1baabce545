"""Pixels to features, on all cores: the same numbers whatever the workers and whichever images stand beside.

Images go through a network in batches of one fixed size, a shorter one padded with black, each on one thread: several
batches at a time fill the cores better than one batch on all of them, and no sum depends on how many there are. Blocks
of images are what a cache keeps and what the processes of a torchrun share out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch

from xrarchive.features.cache import FeatureCache
from xrarchive.features.space import Network, Space
from xrarchive.pixels import Pixels
from xrarchive.records import OnStatus, Status, ignore_status

# Images in a block: at 1,280 features 1.3 MB in the cache.
BLOCK = 256

Features = npt.NDArray[np.float32]


def extract_features(
    space: Space,
    pixels: Pixels,
    *,
    workers: int | None = None,
    cache: FeatureCache | None = None,
    on_status: OnStatus = ignore_status,
) -> Features:
    """Features of images in one space.

    Args:
        space: See `xrarchive.features.spaces`.
        pixels: uint8 [N, H, H], square, 0 = black; any size, may be memory-mapped.
        workers: Threads; None = as many as torch would use. They change no number.
        cache: Where to look first, and to keep what was computed.
        on_status: Told after every block.

    Returns:
        float32 [N, D].

    Raises:
        ValueError: If pixels are not uint8, not [N, H, W] or not square.
        InputDataError: If the weights of the space cannot be used.
    """
    require_square(pixels)
    features = np.empty((len(pixels), space.dim), np.float32)
    for done, (rows, found) in enumerate(extract_blocks(space, pixels, workers=workers, cache=cache), start=1):
        features[rows] = found
        on_status(Status(min(done * BLOCK, len(pixels)), len(pixels), "images", f"features, {space.name}"))
    return features


def extract_blocks(
    space: Space,
    pixels: Pixels,
    *,
    workers: int | None,
    cache: FeatureCache | None,
    only: Sequence[int] | None = None,
) -> Iterator[tuple[slice, Features]]:
    """The blocks of `extract_features` one after the other, each with its rows; `only` names some of them."""
    numbers = range(count_blocks(len(pixels))) if only is None else only
    network = _Lazily(space)
    for number in numbers:
        rows = slice(number * BLOCK, min((number + 1) * BLOCK, len(pixels)))
        block = np.ascontiguousarray(pixels[rows])
        found = cache.find(space, block) if cache else None
        if found is None:
            found = _extract(network.load(), block, space, workers or torch.get_num_threads())
            if cache:
                cache.keep(space, block, found)
        yield rows, found


def count_blocks(images: int) -> int:
    """How many blocks there are of that many images."""
    return -(-images // BLOCK)


def require_square(pixels: Pixels) -> None:
    """Refuse what no network here takes.

    Raises:
        ValueError: If pixels are not uint8, not [N, H, W] or not square.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2]:
        raise ValueError(f"pixels must be uint8 [N, H, H], got {pixels.dtype} {pixels.shape}")


def _extract(network: Network, block: Pixels, space: Space, workers: int) -> Features:
    from xrarchive.units import pinned_threads

    starts = range(0, len(block), space.batch)

    def work(start: int) -> Features:
        part = block[start : start + space.batch]
        padded = np.zeros((space.batch, *block.shape[1:]), np.uint8)
        padded[: len(part)] = part
        return network(padded)[: len(part)]

    with pinned_threads(1):  # a new thread takes over the number that holds when it starts
        if workers == 1:
            return np.concatenate([work(start) for start in starts])
        with ThreadPoolExecutor(workers) as pool:
            return np.concatenate(list(pool.map(work, starts)))


class _Lazily:
    """A network that is read when the first image needs it: with a full cache never."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.network: Network | None = None
        self.lock = Lock()

    def load(self) -> Network:
        with self.lock:
            if self.network is None:
                self.network = self.space.load()
            return self.network
