"""The columns of an archive that validation looks at, as arrays: tables of both configs in, `ArchiveImages` out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from xrarchive.archive.schema import GUIDE_PREFIX, JUDGE_PREFIX
from xrarchive.errors import DamageError
from xrarchive.pixels import decode_png


@dataclass(frozen=True)
class ArchiveImages:
    """An archive's rows, N in manifest order, K findings and J nuisances in the order of the manifest's.

    Attributes:
        image_ids: [N].
        pixels: uint8 [N, H, W].
        asked: bool [N, K], whether image n was asked to show finding k.
        guide: float32 [N, K], the guide's probabilities; NaN where the guide does not know the finding.
        judge: float32 [N, K], the judge's; a column of NaN where the judge does not know the finding.
        labels: int64 [N], index of the class label; -1 = none, which only images from elsewhere may have.
        soft: float32 [N], P(the class label's finding is there | scores of guide and judge).
        nuisances: float32 [N, J], the guide's logits of the image.
        start_nuisances: float32 [N, J], the same of the draw the search started from.
    """

    image_ids: Sequence[str]
    pixels: npt.NDArray[np.uint8]
    asked: npt.NDArray[np.bool_]
    guide: npt.NDArray[np.float32]
    judge: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    soft: npt.NDArray[np.float32]
    nuisances: npt.NDArray[np.float32]
    start_nuisances: npt.NDArray[np.float32]


# Of the provenance config.
PROVENANCE_COLUMNS = ("image_id", "nuisances", "start_nuisances")


def needed_columns(findings: Sequence[str], available: Sequence[str]) -> list[str]:
    """Which columns of the data config to read for `to_images`."""
    scored = [prefix + name for prefix in (GUIDE_PREFIX, JUDGE_PREFIX) for name in findings]
    return ["image", "image_id", "label", "findings", "soft_label", *(name for name in scored if name in available)]


def to_images(
    table: pa.Table, provenance: pa.Table, findings: Sequence[str], nuisances: Sequence[str]
) -> ArchiveImages:
    """Decode the rows of an archive.

    Args:
        table: Of the data config, columns `image` (struct with PNG `bytes`), `image_id`, `label`, `findings` (list of
            class indices), `soft_label` and, for the findings guide and judge know, their scores.
        provenance: Of the provenance config, `PROVENANCE_COLUMNS`, rows in the same order.
        findings: The manifest's vocabulary; class index k is ``findings[k]``.
        nuisances: The manifest's nuisances.

    Raises:
        DamageError: If an image cannot be decoded, sizes differ, a class index is outside the vocabulary, or the
            provenance is of other images or has another number of nuisances.
    """
    image_ids: list[str] = table["image_id"].to_pylist()
    if provenance["image_id"].to_pylist() != image_ids:
        raise _damage("The provenance config does not name the images of the data config in the same order.")
    return ArchiveImages(
        image_ids,
        _decode(table["image"].to_pylist(), image_ids),
        _asked(table["findings"].to_pylist(), image_ids, findings),
        _scores(table, GUIDE_PREFIX, findings),
        _scores(table, JUDGE_PREFIX, findings),
        _labels(table["label"].to_pylist(), image_ids, findings),
        table["soft_label"].to_numpy().astype(np.float32),
        *(_logits(provenance, name, image_ids, nuisances) for name in PROVENANCE_COLUMNS[1:]),
    )


def _scores(table: pa.Table, prefix: str, findings: Sequence[str]) -> npt.NDArray[np.float32]:
    scores = np.full((len(table), len(findings)), np.nan, np.float32)
    for k, name in enumerate(findings):
        if prefix + name in table.column_names:
            scores[:, k] = table[prefix + name].to_numpy()
    return scores


def _labels(labels: Sequence[int], image_ids: Sequence[str], findings: Sequence[str]) -> npt.NDArray[np.int64]:
    for row, label in enumerate(labels):
        if not 0 <= label < len(findings):
            raise _damage(f"Image {image_ids[row]} has the label {label}; the vocabulary has {len(findings)} names.")
    return np.array(labels, np.int64)


def _logits(
    provenance: pa.Table, column: str, image_ids: Sequence[str], nuisances: Sequence[str]
) -> npt.NDArray[np.float32]:
    lists = provenance[column].to_pylist()
    for row, values in enumerate(lists):
        if len(values) != len(nuisances):
            raise _damage(f"Image {image_ids[row]} has {len(values)} {column}; the manifest names {len(nuisances)}.")
    return np.array(lists, np.float32).reshape(len(lists), len(nuisances))


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
