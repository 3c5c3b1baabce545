"""How far images are from held-out radiographs while a generator trains: KID in ImageNet features.

The estimator, the feature space, the choice of films and the interval are those of `xrarchive validate`, so that the
figures of a training can be held against those of an archive. Called by the training loop, at the last resolution.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import distance_interval, group_codes, make_rng
from xrarchive.features import IMAGENET, imagenet_features, imagenet_fingerprint
from xrarchive.files import atomic_open
from xrarchive.kernel import IMAGES_NEEDED, kernel_distance, kernel_resampled
from xrarchive.pixels import Pixels, area_average
from xrarchive.radiographs import RadiographSet
from xrarchive.records import OnStatus, Status, ignore_status

# Splits no generator may see, best first.
HELD_OUT_SPLITS = ("holdout", "test", "validation")
REFERENCE_NAME = "reference.npz"
# More films make the interval no narrower than that many images allow; 2,000 rows are 10 MB.
REFERENCE_FILMS = 2000

_METRIC = "kid"  # as validation names it: part of the seed of the interval
_READ = 256  # films in memory at a time: at 1024 px 256 MB


@dataclass(frozen=True)
class HeldOut:
    """Features of radiographs that no generator saw.

    Attributes:
        split: Where they come from.
        rows: int64 [M], ascending, which of the set they are.
        features: float32 [M, 1280].
        patients: int64 [M], equal for films of one patient.
    """

    split: str
    rows: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]
    patients: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Kid:
    """An unbiased KID with the 95 % interval of `n` images against `n_real` films; about 0 if they look alike."""

    value: float
    low: float
    high: float
    n: int
    n_real: int


def kid_to_radiographs(
    images: Pixels,
    reference_features: npt.NDArray[np.float32],
    *,
    patients: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Kid:
    """KID of images to radiographs, with the number and the interval validation would give.

    Args:
        images: uint8 [N, H, H], N at least `IMAGES_NEEDED`.
        reference_features: float32 [M, 1280] of radiographs, as `reference_features` gives them.
        patients: int64 [M], whole patients are drawn for the interval; None = every film counts as a patient.
        seed: Same seed, same interval.

    Raises:
        ValueError: If there are too few images or films.
    """
    if min(len(images), len(reference_features)) < IMAGES_NEEDED:
        raise ValueError(
            f"a KID needs {IMAGES_NEEDED} images per side, got {len(images)} and {len(reference_features)} radiographs"
        )
    left = imagenet_features(images).astype(np.float64)
    right = reference_features.astype(np.float64)
    codes = group_codes(patients, len(right))
    low, high = distance_interval(kernel_resampled, left, right, codes, make_rng(seed, _METRIC, IMAGENET))
    return Kid(kernel_distance(left, right), low, high, len(left), len(right))


def reference_features(
    radiographs: RadiographSet, run: Path, *, px: int, seen: Sequence[str], on_status: OnStatus = ignore_status
) -> HeldOut | None:
    """Features of held-out films at `px`, kept in RUN/reference.npz for when the run goes on.

    Films come from the first of `HELD_OUT_SPLITS` with `IMAGES_NEEDED` films that have no identical twin in the splits
    `seen`; of more than `REFERENCE_FILMS`, that many are drawn.

    Args:
        radiographs: The set the generator is trained on.
        run: Folder of the run, locked by the caller.
        px: Resolution of the images they will be compared with.
        seen: Splits the generator is trained on.
        on_status: Told how many features are done.

    Returns:
        None if no split has enough films.

    Raises:
        StorageError: If the disk refuses.
    """
    path = run / REFERENCE_NAME
    made_from: list[object] = [radiographs.sha256, imagenet_fingerprint(), px, REFERENCE_FILMS, *seen]
    key = json.dumps(made_from)
    kept = _load(path, key)
    if kept is not None:
        return kept
    split, rows = _held_out_rows(radiographs, seen)
    if not rows.size:
        return None
    codes = np.unique(group_codes(radiographs.patients[rows], len(rows)), return_inverse=True)[1].astype(np.int64)
    made = HeldOut(split, rows, _features(radiographs, rows, px, on_status), codes)
    with atomic_open(path) as stream:
        np.savez(stream, key=key, split=split, rows=rows, features=made.features, patients=codes)
    return made


def _held_out_rows(radiographs: RadiographSet, seen: Sequence[str]) -> tuple[str, npt.NDArray[np.int64]]:
    for split in HELD_OUT_SPLITS:
        if len(radiographs.rows(split)) < IMAGES_NEEDED:
            continue
        rows = radiographs.unseen_rows(split, seen=seen)
        if len(rows) >= IMAGES_NEEDED:
            chosen = make_rng(0, "held-out films").permutation(len(rows))[:REFERENCE_FILMS]
            return split, rows[np.sort(chosen)]
    return "", np.empty(0, np.int64)


def _features(
    radiographs: RadiographSet, rows: npt.NDArray[np.int64], px: int, on_status: OnStatus
) -> npt.NDArray[np.float32]:
    parts = []
    for start in range(0, len(rows), _READ):
        parts.append(imagenet_features(_films(radiographs, rows[start : start + _READ], px)))
        on_status(Status(min(start + _READ, len(rows)), len(rows), "images", "ImageNet features of held-out films"))
    return np.concatenate(parts)


def _films(radiographs: RadiographSet, rows: npt.NDArray[np.int64], px: int) -> Pixels:
    """uint8 [n, px, px]; a set of one size only is area-averaged."""
    if px in radiographs.sizes_px:
        return radiographs.read(rows, px)
    averages = area_average(radiographs.read(rows, radiographs.size_px), px)
    return np.rint(averages).astype(np.uint8)


def _load(path: Path, key: str) -> HeldOut | None:
    """What `reference_features` kept, None if it is not there, damaged, or made from something else."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            if found["key"].item() != key:
                return None
            return HeldOut(str(found["split"].item()), found["rows"], found["features"], found["patients"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
