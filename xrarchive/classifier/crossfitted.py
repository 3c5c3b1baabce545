"""Out-of-fold logits of real radiographs: the table beside a weight file, and the bars that come from it. Torch-free.

RUN/cross-fitted.parquet   image, patient_id, fold, then a float32 calibrated logit per output name

A row for every labelled radiograph, from networks that never saw its patient. It names patients, so that it stays in
the run folder and is never published; what a weight file carries of it are quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.classifier.settings import LEVELS
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import atomic_path

TABLE_NAME = "cross-fitted.parquet"
# Fewer radiographs than this on one side of a nuisance have no quantiles of their own.
MIN_SIDE = 50
_KEYS = ("image", "patient_id", "fold")
_SET, _WEIGHTS = b"xrarchive.radiographs_sha256", b"xrarchive.weights_sha256"


@dataclass(frozen=True)
class CrossFitted:
    """Out-of-fold logits of N radiographs.

    Attributes:
        images: str [N], names in the radiograph set.
        patients: str [N].
        folds: int64 [N].
        names: Of the K + J outputs.
        logits: float32 [N, K + J], calibrated, mean over members.
        radiographs_sha256: Of the radiograph set.
        weights_sha256: Of the weight file whose recipe scored them.
    """

    images: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]
    folds: npt.NDArray[np.int64]
    names: tuple[str, ...]
    logits: npt.NDArray[np.float32]
    radiographs_sha256: str
    weights_sha256: str

    def of(self, name: str) -> npt.NDArray[np.float32]:
        """float32 [N], the logits of one output."""
        return self.logits[:, self.names.index(name)]


def write_cross_fitted(folder: Path, table: CrossFitted) -> None:
    """Write `folder`/cross-fitted.parquet atomically."""
    keys = dict(zip(_KEYS, (table.images.tolist(), table.patients.tolist(), table.folds), strict=True))
    outputs = {name: pa.array(table.of(name), pa.float32()) for name in table.names}
    metadata = {_SET: table.radiographs_sha256, _WEIGHTS: table.weights_sha256}
    with atomic_path(folder / TABLE_NAME) as temporary:
        pq.write_table(pa.table(keys | outputs).replace_schema_metadata(metadata), temporary)


def read_cross_fitted(folder: Path) -> CrossFitted:
    """Read `folder`/cross-fitted.parquet.

    Raises:
        InputDataError: If `folder` is no folder, or holds no such table.
        DamageError: If it cannot be read.
    """
    path = folder / TABLE_NAME
    if not folder.is_dir():
        raise InputDataError(
            f"{folder} is not a run folder; one holding a weight file and {TABLE_NAME} was expected.",
            fix="Give the folder that `xrarchive train classifier --out` wrote, not a file in it.",
            path=folder,
        )
    if not path.is_file():
        raise InputDataError(
            f"{folder} holds no {TABLE_NAME}: its classifier's logits on real radiographs are not known.",
            fix="Give the folder the classifier was trained in; published and bundled weights lack the table.",
            path=path,
        )
    try:
        table = pq.read_table(path)
        names = tuple(name for name in table.column_names if name not in _KEYS)
        metadata = table.schema.metadata or {}
        return CrossFitted(
            images=np.array(table["image"].to_pylist(), np.str_),
            patients=np.array(table["patient_id"].to_pylist(), np.str_),
            folds=table["fold"].to_numpy().astype(np.int64),
            names=names,
            logits=np.stack([table[name].to_numpy() for name in names], axis=1).astype(np.float32),
            radiographs_sha256=metadata[_SET].decode(),
            weights_sha256=metadata[_WEIGHTS].decode(),
        )
    except (pa.ArrowException, KeyError, ValueError, OSError) as err:
        raise DamageError(f"{path} cannot be read: {err}.", fix="Train the classifier again.", path=path) from err


def level_quantiles(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 [K, Q]: the logits [N, K] that a share `LEVELS` of the radiographs stay at or below."""
    found: npt.NDArray[np.float32] = np.quantile(logits, LEVELS, axis=0).T.astype(np.float32)
    return found


def quantiles_within(logits: npt.NDArray[np.float32], findings: int) -> npt.NDArray[np.float32]:
    """float32 [J, 2, K, Q]: `level_quantiles` of the findings among radiographs in which a nuisance is not seen, or is.

    Args:
        logits: float32 [N, K + J]; a nuisance is seen where its logit is above 0.
        findings: K.
    """
    sides = [[logits[:, column] <= 0, logits[:, column] > 0] for column in range(findings, logits.shape[1])]
    everywhere = np.ones(len(logits), np.bool_)
    found = [
        [level_quantiles(logits[side if side.sum() >= MIN_SIDE else everywhere, :findings]) for side in pair]
        for pair in sides
    ]
    return np.array(found, np.float32).reshape(-1, 2, findings, len(LEVELS))


def bar_of(quantiles: npt.NDArray[np.float32], strictness: float) -> float:
    """The logit that a share `strictness` of radiographs reach, from one output's quantiles float32 [Q].

    Raises:
        ValueError: If `strictness` is not in (0, 1].
    """
    if not 0 < strictness <= 1:
        raise ValueError(f"strictness must be above 0 and at most 1, got {strictness}")
    return float(np.interp(1 - strictness, LEVELS, quantiles))
