"""The columns of an archive that validation looks at, as arrays: a pyarrow table in, `ArchiveImages` out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from xrarchive.archive.schema import JUDGE_PREFIX
from xrarchive.errors import DamageError
from xrarchive.pixels import decode_png


@dataclass(frozen=True)
class ArchiveImages:
    """An archive's rows, N in manifest order, K findings in the order of the manifest's vocabulary.

    Attributes:
        image_ids: [N].
        pixels: uint8 [N, H, W].
        asked: bool [N, K], whether image n was asked to show finding k.
        judge: float32 [N, K], the judge's probabilities; a column of NaN where the judge does not know the finding.
    """

    image_ids: Sequence[str]
    pixels: npt.NDArray[np.uint8]
    asked: npt.NDArray[np.bool_]
    judge: npt.NDArray[np.float32]


def needed_columns(findings: Sequence[str], available: Sequence[str]) -> list[str]:
    """Which columns of the data config to read for `to_images`."""
    judged = [JUDGE_PREFIX + name for name in findings]
    return ["image", "image_id", "findings", *(name for name in judged if name in available)]


def to_images(table: pa.Table, findings: Sequence[str]) -> ArchiveImages:
    """Decode the rows of an archive's data config.

    Args:
        table: Columns `image` (struct with PNG `bytes`), `image_id`, `findings` (list of class indices) and, for the
            findings the judge knows, `judge_<Finding>`.
        findings: The manifest's vocabulary; class index k is ``findings[k]``.

    Raises:
        DamageError: If an image cannot be decoded, sizes differ, or a class index is outside the vocabulary.
    """
    image_ids: list[str] = table["image_id"].to_pylist()
    judge = np.full((len(image_ids), len(findings)), np.nan, np.float32)
    for k, name in enumerate(findings):
        if JUDGE_PREFIX + name in table.column_names:
            judge[:, k] = table[JUDGE_PREFIX + name].to_numpy()
    asked = _asked(table["findings"].to_pylist(), image_ids, findings)
    return ArchiveImages(image_ids, _decode(table["image"].to_pylist(), image_ids), asked, judge)


def _asked(lists: Sequence[Sequence[int]], image_ids: Sequence[str], findings: Sequence[str]) -> npt.NDArray[np.bool_]:
    asked = np.zeros((len(lists), len(findings)), np.bool_)
    for row, indices in enumerate(lists):
        if not all(0 <= index < len(findings) for index in indices):
            raise _damage(
                f"Image {image_ids[row]} has the classes {indices}; the vocabulary has {len(findings)} names."
            )
        asked[row, list(indices)] = True
    return asked


def _decode(images: Sequence[dict[str, bytes]], image_ids: Sequence[str]) -> npt.NDArray[np.uint8]:
    pixels: list[npt.NDArray[np.uint8]] = []
    for image_id, image in zip(image_ids, images, strict=True):
        try:
            pixels.append(decode_png(image["bytes"]))
        except (OSError, ValueError, SyntaxError) as err:
            raise _damage(f"Image {image_id} cannot be decoded: {err}.") from err
        if pixels[-1].shape != pixels[0].shape:
            raise _damage(f"Image {image_id} has the size {pixels[-1].shape}, {image_ids[0]} has {pixels[0].shape}.")
    return np.stack(pixels) if pixels else np.empty((0, 0, 0), np.uint8)


def _damage(message: str) -> DamageError:
    return DamageError(message, fix="Run `xrarchive check --read-data`, then build the archive again.")
