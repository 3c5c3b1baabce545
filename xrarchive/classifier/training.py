"""Train a guide, a judge or a referee: a radiograph set in, a weight file with thresholds and figures out.

Patients are divided in two halves by a hash: the guide learns from one, judge and referee from the other. The guide
shares no patient with either; judge and referee share theirs, but neither seed nor architecture. Figures come from
cross-fitting: the recipe is run on all but one patient fold of the role's half and scores every radiograph of that
fold, until each has a score from networks that never saw its patient. The shipped networks are trained on the role's
half of the train and validation splits; the test split stays untouched.

RUN/<role>.safetensors     the networks, calibration, thresholds, quantiles and figures
RUN/cross-fitted.parquet   the out-of-fold logits, private (see `crossfitted`)
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xrarchive.classifier.calibration import calibrate, operating_thresholds
from xrarchive.classifier.crossfitted import (
    CrossFitted,
    level_quantiles,
    quantiles_within,
    read_cross_fitted,
    write_cross_fitted,
)
from xrarchive.classifier.figures import Figure, Measures, count_calls, measure_purity, measure_strata
from xrarchive.classifier.fitting import fit_network, network_logits
from xrarchive.classifier.networks import Network
from xrarchive.classifier.nuisances import Nuisances, read_nuisances
from xrarchive.classifier.pair import make_pair
from xrarchive.classifier.settings import HALF, HALVES, XRV, ClassifierSettings, Role
from xrarchive.errors import InputDataError
from xrarchive.files import locked, sha256_bytes, sha256_file
from xrarchive.radiographs import RadiographSet, patient_folds
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.weights import read_meta, save_weights, with_prefix

LABELLED_SPLITS = ("train", "validation", "test")
TRAINING_SPLITS = ("train", "validation")
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
    guide: Path | None = None,
    on_status: OnStatus = ignore_status,
) -> ClassifierReport:
    """Train a classifier of `role` and write `out`/<role>.safetensors and `out`/cross-fitted.parquet.

    Args:
        radiographs: With labels.
        out: Run folder.
        role: Decides the half of the patients, the seed's stream, and by default architecture and input size.
        settings: Everything else.
        guide: Run folder of a guide on the same set, for judge and referee: what the two have in common is then
            measured and stored as `pair` (see `pair.make_pair`).
        on_status: Told after every network.

    Raises:
        InputDataError: If the set has too few labelled radiographs or is smaller than the network's input, or if the
            guide's run is not whole, of another set, or shares patients with this training.
        DamageError: If the guide's files cannot be read.
        ValueError: If a guide is given for a guide.
        LockedError, StorageError: If `out` cannot be written.
    """
    if guide is not None and role == "guide":
        raise ValueError("a guide is paired with a judge or a referee, not with another guide")
    films = read_films(radiographs, settings)
    half = patient_folds(radiographs.patients, folds=HALVES, seed=settings.seed + _HALF_STREAM)[films.rows]
    own = half == HALF[role]
    training = own & np.isin(films.rows, radiographs.rows(*TRAINING_SPLITS))
    _require_usable(radiographs, int(training.sum()), role, settings)
    settings = settings.resolved(role, radiographs.size_px)
    prefixes = patient_prefixes(films.patients[training].tolist())
    beside = None if guide is None else _read_guide(guide, radiographs, prefixes)
    with locked(out):
        done = _Counter((settings.folds + 1) * settings.members, on_status)
        logits = _cross_fit(films, own, role, settings, done)
        scale, offset = calibrate(logits, films.labels, settings.min_positives)
        table = films.table(logits * scale + offset)
        members = _fit_members(films, training, role, settings, done)
        findings = len(radiographs.vocabulary)
        thresholds = operating_thresholds(table.logits[:, :findings], films.labels[:, :findings], settings)
        figures = measure_figures(films, table.logits, _on_test(films, members, settings) * scale + offset, thresholds)
        meta = make_meta(films, role, settings, figures, prefixes, int(training.sum()))
        if beside is not None:
            meta["pair"] = make_pair(
                beside, table, films.labels, vocabulary=radiographs.vocabulary, min_positives=settings.min_positives
            )
        tensors = calibration_tensors(table.logits, scale, offset, thresholds)
        for index, network in enumerate(members):
            tensors |= with_prefix(f"member{index}", network.state_dict())
        path = out / f"{role}.safetensors"
        sha256 = save_weights(path, tensors, kind="classifier", meta=meta, dtype=torch.float32)
        # After the weights: the table names them, so that one left from another training is known as such.
        write_cross_fitted(out, dataclasses.replace(table, weights_sha256=sha256))
    return ClassifierReport(out, path, sha256, role, len(prefixes), int(training.sum()), figures)


def patient_prefixes(patients: Iterable[str]) -> list[str]:
    """Short hashes of patient ids, sorted: enough to see whether two classifiers share a patient."""
    return sorted({sha256_bytes(f"xrarchive.patient/{name}".encode())[:_PREFIX_CHARACTERS] for name in patients})


@dataclass(frozen=True)
class Films:
    """The labelled radiographs: M rows of the set, each with its fold, K findings and J nuisances."""

    radiographs: RadiographSet
    rows: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]
    nuisances: Nuisances

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        """float32 [M, K + J]."""
        return np.concatenate([self.radiographs.labels[self.rows], self.nuisances.labels], axis=1)

    @cached_property
    def patients(self) -> npt.NDArray[np.str_]:
        """Str [M]."""
        return self.radiographs.patients[self.rows]

    @cached_property
    def is_test(self) -> npt.NDArray[np.bool_]:
        """Bool [M]."""
        found: npt.NDArray[np.bool_] = self.radiographs.splits[self.rows] == "test"
        return found

    def pixels(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """uint8 [n, H, W] of the films chosen by bool [M]."""
        return self.radiographs.pixels[self.rows[chosen]]

    def table(self, calibrated: Logits) -> CrossFitted:
        """Out-of-fold logits [M, K + J] with the films they are of; of no weights yet."""
        return CrossFitted(
            images=np.array(self.radiographs.table["image"].to_pylist(), np.str_)[self.rows],
            patients=self.patients,
            folds=self.folds,
            names=(*self.radiographs.vocabulary, *self.nuisances.names),
            logits=calibrated,
            radiographs_sha256=self.radiographs.sha256,
            weights_sha256="",
        )


def read_films(radiographs: RadiographSet, settings: ClassifierSettings) -> Films:
    """The radiographs of which at least one label is known."""
    rows = radiographs.rows(*LABELLED_SPLITS)
    rows = rows[~np.isnan(radiographs.labels[rows]).all(axis=1)]
    folds = patient_folds(radiographs.patients, folds=settings.folds, seed=settings.seed + _FOLD_STREAM)[rows]
    return Films(radiographs, rows, folds, read_nuisances(radiographs, rows, settings.min_positives))


def _read_guide(run: Path, radiographs: RadiographSet, prefixes: list[str]) -> CrossFitted:
    """The guide's out-of-fold logits, if they are of these radiographs and of none of these patients."""
    table, path = read_cross_fitted(run), run / "guide.safetensors"
    meta = read_meta(path, kind="classifier")
    if table.weights_sha256 != sha256_file(path):
        raise InputDataError(
            f"{path} has another sha256 than its table of out-of-fold logits names: expected "
            f"{table.weights_sha256[:12]}, found {sha256_file(path)[:12]}.",
            fix="Train the guide again: one of the two files is left from another training.",
            path=path,
        )
    if table.radiographs_sha256 != radiographs.sha256:
        raise InputDataError(
            f"The guide in {run} was trained on the radiograph set {table.radiographs_sha256[:12]}; "
            f"{radiographs.folder} is {radiographs.sha256[:12]}.",
            fix="Train both on the same set.",
            path=run,
        )
    if shared := set(meta["patients"]) & set(prefixes):
        raise InputDataError(
            f"The guide in {run} learned from {len(shared)} of the {len(prefixes)} patients of this training.",
            fix=f"Train both with the same seed (the guide's is {meta['settings']['seed']}): it halves the patients.",
            path=run,
        )
    return table


def _require_usable(radiographs: RadiographSet, training: int, role: Role, settings: ClassifierSettings) -> None:
    if settings.architecture == XRV:
        raise InputDataError(
            f"The architecture {XRV} is not trained here.", fix="Choose residual, plain or dense, or none."
        )
    if training < 2 * settings.batch:
        raise InputDataError(
            f"{radiographs.folder} has {training} labelled training radiographs for this role; "
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
    films: Films,
    own: npt.NDArray[np.bool_],
    role: Role,
    settings: ClassifierSettings,
    done: _Counter,
) -> Logits:
    """Out-of-fold ensemble logits [M, K + J] of every labelled radiograph, by networks trained on `own` [M]."""
    logits = np.empty_like(films.labels)
    for current in range(settings.folds):
        members = _fit_members(films, own & (films.folds != current), role, settings, done)
        held_out = films.folds == current
        logits[held_out] = ensemble_logits(members, films.pixels(held_out), settings.input_px)
    return logits


def ensemble_logits(members: list[Network], pixels: npt.NDArray[np.uint8], input_px: int) -> Logits:
    """Mean raw logits float32 [N, K + J] of the members."""
    logits: Logits = np.stack([network_logits(network, pixels, input_px) for network in members])
    mean: Logits = logits.mean(axis=0, dtype=np.float32)
    return mean


def _fit_members(
    films: Films, chosen: npt.NDArray[np.bool_], role: Role, settings: ClassifierSettings, done: _Counter
) -> list[Network]:
    pixels, labels = films.pixels(chosen), films.labels[chosen]
    members = []
    for member in range(settings.members):
        members.append(fit_network(pixels, labels, role=role, settings=settings, member=member))
        done.count()
    return members


def _on_test(films: Films, members: list[Network], settings: ClassifierSettings) -> Logits:
    """Raw logits [T, K + J] of the shipped networks on the test rows."""
    if not films.is_test.any():
        return np.empty((0, films.labels.shape[1]), np.float32)
    return ensemble_logits(members, films.pixels(films.is_test), settings.input_px)


def calibration_tensors(calibrated: Logits, scale: Logits, offset: Logits, thresholds: Logits) -> dict[str, Tensor]:
    """Everything the weight file holds besides the members."""
    return {
        "scale": torch.from_numpy(scale),
        "offset": torch.from_numpy(offset),
        # -1 stands for "cannot be called": weight files hold finite numbers only.
        "thresholds": torch.from_numpy(np.nan_to_num(thresholds, nan=-1)),
        "quantiles": torch.from_numpy(level_quantiles(calibrated)),
        "quantiles_within": torch.from_numpy(quantiles_within(calibrated, len(thresholds))),
    }


def make_meta(
    films: Films,
    role: Role,
    settings: ClassifierSettings,
    figures: dict[str, dict[str, object]],
    patients: list[str],
    count: int,
) -> dict[str, object]:
    """What a weight file says of itself; `patients` are hash prefixes, `count` their radiographs."""
    radiographs = films.radiographs
    return {
        "role": role,
        "settings": dataclasses.asdict(settings),
        "vocabulary": list(radiographs.vocabulary),
        "nuisances": list(films.nuisances.names),
        "nuisance_positive": films.nuisances.positive,
        "size_px": radiographs.size_px,
        "figures": figures,
        "radiographs_sha256": radiographs.sha256,
        "radiographs": count,
        "patients": patients,
        "terms": list(radiographs.terms),
        "label_sets": _label_sets(films),
    }


def _label_sets(films: Films) -> dict[str, int]:
    """How many labelled radiographs bear each set of findings, joined by '|'; a set of one film alone is left out."""
    vocabulary = films.radiographs.vocabulary
    sets = Counter("|".join(itertools.compress(vocabulary, row == 1)) for row in films.labels[:, : len(vocabulary)])
    return {names: count for names, count in sorted(sets.items()) if names and count > 1}


def measure_figures(
    films: Films, calibrated: Logits, on_test: Logits, thresholds: Logits
) -> dict[str, dict[str, object]]:
    """Per finding: positives, calls, AUROC cross-fitted, within each view and on test; purity, and `more` in strata.

    `more` is {"cross_fitted" or "test": {"all", "AP" or "PA": {measure: figure} or None}}, `purity` of the
    cross-fitted logits; see `figures`.
    """
    test, views, patients = films.is_test, films.radiographs.views[films.rows], films.patients
    found: dict[str, dict[str, object]] = {}
    for index, finding in enumerate(films.radiographs.vocabulary):
        labels = films.labels[:, index]
        cross = measure_strata(calibrated[:, index], labels, patients, views)
        on = measure_strata(on_test[:, index], labels[test], patients[test], views[test])
        found[finding] = {
            "positives": int((labels == 1).sum()),
            "calls": count_calls(calibrated[:, index], labels, thresholds[index]),
            "cross_fitted": _auroc(cross["all"]),
            "within": {view: _auroc(measures) for view, measures in cross.items() if view != "all"},
            "test": _auroc(on["all"]),
            "purity": measure_purity(calibrated[:, index], labels, patients),
            "more": {"cross_fitted": cross, "test": on},
        }
    return found


def _auroc(measures: Measures | None) -> Figure | None:
    return None if measures is None else measures["auroc"]


class _Counter:
    """Counts fitted networks for `on_status`."""

    def __init__(self, total: int, on_status: OnStatus) -> None:
        self.done, self.total, self.on_status = 0, total, on_status

    def count(self) -> None:
        self.done += 1
        self.on_status(Status(self.done, self.total, "networks"))
