"""What the rows of an archive hold, counted, and pictures of them drawn by seed: the part of a card that reads shards.

In: the shards. Out: a line for each finding, and PNG grids that name their manifest.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from xrarchive.archive.content import read_groups, read_shard
from xrarchive.archive.exporting.names import folder_names
from xrarchive.archive.manifest import SAMPLES, Manifest, split_of
from xrarchive.archive.schema import DATA, PNG_TEXT
from xrarchive.bootstrap import make_rng
from xrarchive.pixels import Pixels, encode_png, fit_square, make_grid, to_grey

ROWS, COLUMNS = 4, 8
# A tile is no larger: a card is to show the mix of images, not their detail.
TILE_PX = 128
_FIX = "Find out more with `xrarchive check --read-data`."


@dataclass(frozen=True)
class FindingCount:
    """Images of one finding.

    Attributes:
        finding: Of the vocabulary.
        index: Its class index.
        labels: Images with it as `label`, by split.
        asked: Images it was asked for in, as label or besides.
        absent: Images its absence was asked for in.
        soft: Mean `soft_label` of the images with it as `label`; None without any.
    """

    finding: str
    index: int
    labels: dict[str, int]
    asked: int
    absent: int
    soft: float | None


def count_findings(folder: Path, manifest: Manifest) -> list[FindingCount]:
    """A line for every finding that was asked for or whose absence was, in the order of the vocabulary.

    Raises:
        DamageError: If a shard cannot be read.
    """
    names, shape = manifest.findings, len(manifest.findings)
    labels = {split: np.zeros(shape, np.int64) for split in manifest.splits}
    asked, absent, soft = (np.zeros(shape, kind) for kind in (np.int64, np.int64, np.float64))
    for shard in manifest.shards(DATA):
        table = read_shard(folder / shard, ["label", "soft_label", *names], fix=_FIX)
        label = table["label"].to_numpy()
        labels[split_of(shard)] += np.bincount(label, minlength=shape)
        soft += np.bincount(label, weights=table["soft_label"].to_numpy(), minlength=shape)
        for index, name in enumerate(names):
            yes = int(np.count_nonzero(table[name].fill_null(False).to_numpy()))
            asked[index] += yes
            absent[index] += table.num_rows - table[name].null_count - yes
    return [
        FindingCount(
            name,
            index,
            {split: int(count[index]) for split, count in labels.items()},
            int(asked[index]),
            int(absent[index]),
            round(float(soft[index]) / total, 4) if (total := sum(int(n[index]) for n in labels.values())) else None,
        )
        for index, name in enumerate(names)
        if asked[index] or absent[index]
    ]


def sample_names(manifest: Manifest) -> dict[str, str]:
    """The path of each class label's grid, in vocabulary order."""
    return {finding: f"{SAMPLES}/{name}.png" for finding, name in folder_names(manifest.labels).items()}


def draw_samples(folder: Path, manifest: Manifest, *, seed: int = 0) -> dict[str, bytes]:
    """A PNG of up to `ROWS` x `COLUMNS` images of each class label, by path: drawn without choosing, in row order.

    One row group is in memory at a time. The PNG's text says that it is
    synthetic and names the manifest.

    Args:
        folder: Of the archive.
        manifest: Of the archive.
        seed: Same seed, same pictures.

    Raises:
        DamageError: If a shard cannot be read.
    """
    shards = manifest.shards(DATA)
    labels = [read_shard(folder / shard, ["label"], fix=_FIX)["label"].to_numpy() for shard in shards]
    chosen = _draw(np.concatenate(labels), manifest, seed)
    wanted = np.sort(np.concatenate(list(chosen.values())))
    tiles = dict(zip(wanted.tolist(), _read_tiles(folder, shards, wanted), strict=True))
    text = {**PNG_TEXT, "Manifest": manifest.sha256}
    return {
        path: encode_png(
            make_grid(np.stack([tiles[row] for row in chosen[finding].tolist()]), columns=COLUMNS), text=text
        )
        for finding, path in sample_names(manifest).items()
    }


def _draw(labels: npt.NDArray[np.int64], manifest: Manifest, seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Rows of each class label."""
    drawn = {}
    for finding in manifest.labels:
        rows = np.flatnonzero(labels == manifest.findings.index(finding))
        drawn[finding] = np.sort(make_rng(seed, "samples", finding).permutation(rows)[: ROWS * COLUMNS])
    return drawn


def _read_tiles(folder: Path, shards: Sequence[str], rows: npt.NDArray[np.int64]) -> list[Pixels]:
    """The images of these rows, ascending over all shards, as uint8 [H, H] of at most `TILE_PX`."""
    tiles: list[Pixels] = []
    start = 0
    for shard in shards:
        for group in read_groups(folder / shard, ["image"], fix=_FIX):
            own = rows[(rows >= start) & (rows < start + group.num_rows)] - start
            tiles += [_tile(value["bytes"]) for value in group["image"].take(pa.array(own)).to_pylist()]
            start += group.num_rows
    return tiles


def _tile(png: bytes) -> Pixels:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        grey = to_grey(image)
        return fit_square(grey, min(TILE_PX, grey.width), "crop")
