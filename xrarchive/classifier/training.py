"""Train a guide or a judge: a radiograph set in, a weight file with thresholds, calibration and figures out.

Patients are divided in two halves by a hash: the guide learns from one, the judge from the other, so that the two
share no patient. Figures come from cross-fitting: the recipe is run on all but one patient fold of the role's half and
scores every radiograph of that fold, until each has a score from networks that never saw its patient. The shipped
networks are trained on the role's half of the train and validation splits; the test split stays untouched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from xrarchive.classifier.fitting import fit_network, network_logits
from xrarchive.classifier.networks import Network
from xrarchive.classifier.settings import ROLES, ClassifierSettings, Role
from xrarchive.errors import InputDataError
from xrarchive.files import locked, sha256_bytes
from xrarchive.radiographs import RadiographSet, patient_folds
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.statistics import Interval, bootstrap_auroc
from xrarchive.weights import save_weights, with_prefix

LABELLED_SPLITS = ("train", "validation", "test")
TRAINING_SPLITS = ("train", "validation")
VIEWS = ("AP", "PA")
# Fewer positives or negatives than this give no figure within a stratum.
MIN_STRATUM = 5
_HALF_STREAM, _FOLD_STREAM = 101, 102
_PREFIX_CHARACTERS = 10

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ClassifierReport:
    """What a finished training leaves: the weight file and its figures per finding."""

    out: Path
    weights: Path
    sha256: str
    role: Role
    patients: int
    radiographs: int
    findings: dict[str, dict[str, object]]


def train_classifier(
    radiographs: RadiographSet,
    out: Path,
    *,
    role: Role,
    settings: ClassifierSettings,
    on_status: OnStatus = ignore_status,
) -> ClassifierReport:
    """Train a classifier of `role` and write `out`/<role>.safetensors.

    Raises:
        InputDataError: If the set has too few labelled radiographs or is smaller than the network's input.
        LockedError, StorageError: If `out` cannot be written.
    """
    rows = _labelled_rows(radiographs)
    half = patient_folds(radiographs.patients, folds=len(ROLES), seed=settings.seed + _HALF_STREAM)
    own = rows[half[rows] == ROLES.index(role)]
    training = np.intersect1d(own, radiographs.rows(*TRAINING_SPLITS))
    _require_usable(radiographs, training, role, settings)
    settings = dataclasses.replace(settings, input_px=settings.seen_px(role, radiographs.size_px))
    with locked(out):
        done = _Counter((settings.folds + 1) * settings.members, on_status)
        logits = _cross_fit(radiographs, rows, own, role, settings, done)
        scale, offset = calibrate(logits, radiographs.labels[rows], settings.min_positives)
        calibrated = logits * scale + offset
        thresholds = operating_thresholds(calibrated, radiographs.labels[rows], settings)
        members = _fit_members(radiographs, training, role, settings, done)
        figures = _figures(radiographs, rows, calibrated, members, settings)
        path = out / f"{role}.safetensors"
        tensors = {
            "scale": torch.from_numpy(scale),
            "offset": torch.from_numpy(offset),
            # -1 stands for "cannot be called": weight files hold finite numbers only.
            "thresholds": torch.from_numpy(np.nan_to_num(thresholds, nan=-1)),
        }
        for index, network in enumerate(members):
            tensors |= with_prefix(f"member{index}", network.state_dict())
        meta = _meta(radiographs, training, role, settings, figures)
        sha256 = save_weights(path, tensors, kind="classifier", meta=meta, dtype=torch.float32)
    patients = len(set(radiographs.patients[training].tolist()))
    return ClassifierReport(out, path, sha256, role, patients, len(training), figures)


def calibrate(logits: Logits, labels: Logits, min_positives: int) -> tuple[Logits, Logits]:
    """Platt scaling per finding on out-of-fold logits: float32 [K] scale and offset.

    Findings with fewer than `min_positives` positives keep scale 1 and offset 0, as do those whose scores would have
    to be turned round.
    """
    scale, offset = np.ones(logits.shape[1], np.float32), np.zeros(logits.shape[1], np.float32)
    for index in range(logits.shape[1]):
        known = ~np.isnan(labels[:, index])
        target = labels[known, index]
        if min(target.sum(), len(target) - target.sum()) < min_positives:
            continue
        model = LogisticRegression(C=1e4).fit(logits[known, index : index + 1], target)
        if model.coef_[0, 0] > 0:
            scale[index], offset[index] = model.coef_[0, 0], model.intercept_[0]
    return scale, offset


def operating_thresholds(calibrated: Logits, labels: Logits, settings: ClassifierSettings) -> Logits:
    """Probability per finding that `specificity` of the labelled negatives stay below; NaN with too few positives."""
    thresholds = np.full(calibrated.shape[1], np.nan, np.float32)
    for index in range(calibrated.shape[1]):
        if (labels[:, index] == 1).sum() >= settings.min_positives and (labels[:, index] == 0).any():
            negatives = calibrated[labels[:, index] == 0, index]
            thresholds[index] = 1 / (1 + np.exp(-np.quantile(negatives, settings.specificity)))
    return thresholds


def patient_prefixes(patients: Iterable[str]) -> list[str]:
    """Short hashes of patient ids, sorted: enough to see whether two classifiers share a patient."""
    return sorted({sha256_bytes(f"xrarchive.patient/{name}".encode())[:_PREFIX_CHARACTERS] for name in patients})


def _labelled_rows(radiographs: RadiographSet) -> npt.NDArray[np.int64]:
    rows = radiographs.rows(*LABELLED_SPLITS)
    return rows[~np.isnan(radiographs.labels[rows]).all(axis=1)]


def _require_usable(
    radiographs: RadiographSet, training: npt.NDArray[np.int64], role: Role, settings: ClassifierSettings
) -> None:
    if len(training) < 2 * settings.batch:
        raise InputDataError(
            f"{radiographs.folder} has {len(training)} labelled training radiographs for this role; "
            f"at least {2 * settings.batch} (two batches) are needed.",
            fix="Ingest more labelled radiographs, or lower the batch.",
            path=radiographs.folder,
        )
    if radiographs.size_px % settings.seen_px(role, radiographs.size_px):
        raise InputDataError(
            f"{radiographs.folder} holds {radiographs.size_px} px images; the {role} is to see {settings.input_px} px.",
            fix="Choose an input_px that divides the size of the set.",
            path=radiographs.folder,
        )


def _cross_fit(
    radiographs: RadiographSet,
    rows: npt.NDArray[np.int64],
    own: npt.NDArray[np.int64],
    role: Role,
    settings: ClassifierSettings,
    done: _Counter,
) -> Logits:
    """Out-of-fold ensemble logits [len(rows), K] of every labelled radiograph."""
    fold = patient_folds(radiographs.patients, folds=settings.folds, seed=settings.seed + _FOLD_STREAM)
    logits = np.empty((len(rows), len(radiographs.vocabulary)), np.float32)
    for current in range(settings.folds):
        members = _fit_members(radiographs, own[fold[own] != current], role, settings, done)
        held_out = fold[rows] == current
        logits[held_out] = ensemble_logits(members, radiographs.pixels[rows[held_out]], settings.input_px)
    return logits


def ensemble_logits(members: list[Network], pixels: npt.NDArray[np.uint8], input_px: int) -> Logits:
    """Mean raw logits float32 [N, K] of the members."""
    logits: Logits = np.stack([network_logits(network, pixels, input_px) for network in members])
    mean: Logits = logits.mean(axis=0, dtype=np.float32)
    return mean


def _fit_members(
    radiographs: RadiographSet,
    rows: npt.NDArray[np.int64],
    role: Role,
    settings: ClassifierSettings,
    done: _Counter,
) -> list[Network]:
    pixels, labels = radiographs.pixels[rows], radiographs.labels[rows]
    members = []
    for member in range(settings.members):
        members.append(fit_network(pixels, labels, role=role, settings=settings, member=member))
        done.count()
    return members


def _figures(
    radiographs: RadiographSet,
    rows: npt.NDArray[np.int64],
    calibrated: Logits,
    members: list[Network],
    settings: ClassifierSettings,
) -> dict[str, dict[str, object]]:
    """Per finding: positives, cross-fitted AUROC in all and within each view, AUROC of the shipped networks on test."""
    test = np.intersect1d(rows, radiographs.rows("test"))
    test_logits = ensemble_logits(members, radiographs.pixels[test], settings.input_px) if len(test) else None
    views = radiographs.views[rows]
    figures: dict[str, dict[str, object]] = {}
    for index, finding in enumerate(radiographs.vocabulary):
        labels = radiographs.labels[rows, index]
        patients = radiographs.patients[rows]
        cross = _auroc(calibrated[:, index], labels, patients)
        figures[finding] = {
            "positives": int((labels == 1).sum()),
            "cross_fitted": cross,
            "within": {
                view: _auroc(calibrated[views == view, index], labels[views == view], patients[views == view])
                for view in VIEWS
                if (views == view).any()
            },
            "test": None
            if test_logits is None
            else _auroc(test_logits[:, index], radiographs.labels[test, index], radiographs.patients[test]),
        }
    return figures


def _auroc(scores: Logits, labels: Logits, patients: npt.NDArray[np.str_]) -> dict[str, float | int] | None:
    """AUROC with its 95 % patient-bootstrap interval, or None where a stratum is too small."""
    known = ~np.isnan(labels)
    positives = int((labels[known] == 1).sum())
    if min(positives, int(known.sum()) - positives) < MIN_STRATUM:
        return None
    found: Interval = bootstrap_auroc(scores[known], labels[known], patients[known])
    return {"value": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4), "n": positives}


def _meta(
    radiographs: RadiographSet,
    training: npt.NDArray[np.int64],
    role: Role,
    settings: ClassifierSettings,
    figures: dict[str, dict[str, object]],
) -> dict[str, object]:
    return {
        "role": role,
        "settings": dataclasses.asdict(settings),
        "vocabulary": list(radiographs.vocabulary),
        "size_px": radiographs.size_px,
        "figures": figures,
        "radiographs_sha256": radiographs.sha256,
        "radiographs": len(training),
        "patients": patient_prefixes(radiographs.patients[training].tolist()),
        "terms": list(radiographs.terms),
    }


class _Counter:
    """Counts fitted networks for `on_status`."""

    def __init__(self, total: int, on_status: OnStatus) -> None:
        self.done, self.total, self.on_status = 0, total, on_status

    def count(self) -> None:
        self.done += 1
        self.on_status(Status(self.done, self.total, "networks"))
