"""Features under torchrun: the first process asks, all compute their blocks, and every number is as with one process.

The others hold the networks and wait to be asked, so that whatever the first measures, and however long it takes, may
need features without the others knowing of it. Blocks are fixed by the images alone and come back in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch.distributed as dist

from xrarchive.features.cache import FeatureCache
from xrarchive.features.extracting import (
    BLOCK,
    Features,
    count_blocks,
    extract_blocks,
    extract_features,
    require_square,
)
from xrarchive.features.space import Space
from xrarchive.gan.devices import Devices, open_devices
from xrarchive.pixels import Pixels
from xrarchive.records import OnStatus, Status, ignore_status

# A validation may train classifiers between two questions.
_PATIENCE_S = 24 * 3600.0


@dataclass(frozen=True)
class Crew:
    """The processes that compute features.

    Attributes:
        devices: This one's place among them.
        spaces: By name, the same in all.
        workers: Threads of each.
        cache: Where to look first; None = nowhere.
    """

    devices: Devices
    spaces: Mapping[str, Space]
    workers: int
    cache: FeatureCache | None

    def extract(self, space: str, pixels: Pixels, *, on_status: OnStatus = ignore_status) -> Features:
        """`extract_features`, asked by the first process and computed by all.

        Raises:
            ValueError: As `extract_features`.
            InputDataError: As `extract_features`.
            RemoteError: If another process died.
        """
        require_square(pixels)
        chosen = self.spaces[space]
        if self.devices.world == 1:
            return extract_features(chosen, pixels, workers=self.workers, cache=self.cache, on_status=on_status)
        self.devices.tell((space, np.ascontiguousarray(pixels)))
        features = np.empty((len(pixels), chosen.dim), np.float32)
        for number, found in self._together(chosen, pixels).items():
            features[number * BLOCK : (number + 1) * BLOCK] = found
        on_status(Status(len(pixels), len(pixels), "images", f"features, {space}"))
        return features

    def serve(self) -> None:
        """Compute for the first process until it is done."""
        while True:
            asked: tuple[str, Pixels] | None = self.devices.tell(None)
            if asked is None:
                return
            space, pixels = asked
            self._together(self.spaces[space], pixels)

    def _together(self, space: Space, pixels: Pixels) -> dict[int, Features]:
        """All blocks by number; each process computes every world-th."""
        own = range(self.devices.rank, count_blocks(len(pixels)), self.devices.world)
        blocks = extract_blocks(space, pixels, workers=self.workers, cache=self.cache, only=own)
        mine = {number: found for number, (_, found) in zip(own, blocks, strict=True)}
        return {number: found for part in self.devices.gather(mine) for number, found in part.items()}


@contextmanager
def open_crew(spaces: Mapping[str, Space], *, workers: int, cache: FeatureCache | None) -> Iterator[Crew]:
    """Join the other processes of a torchrun, or work alone; when the first process is done, so are the others."""
    with open_devices(timeout_s=_PATIENCE_S) as devices:
        crew = Crew(devices, spaces, workers, cache)
        try:
            yield crew
        finally:
            if devices.first and devices.world > 1 and dist.is_initialized():
                devices.tell(None)
