from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from xrarchive.classifier import training
from xrarchive.classifier.classifier import load_classifier
from xrarchive.classifier.settings import ROLES, ClassifierSettings, Role
from xrarchive.classifier.training import calibrate, operating_thresholds, patient_prefixes, train_classifier
from xrarchive.errors import InputDataError
from xrarchive.files import sha256_file
from xrarchive.radiographs import RadiographSet, open_set
from xrarchive.weights import read_meta

SMALL = ClassifierSettings(members=1, width=2, epochs=1, batch=8, folds=3, min_positives=8)


@pytest.fixture
def radiographs(tiny_set: Path) -> RadiographSet:
    return open_set(tiny_set)


def test_guide_and_judge_share_no_patient(tiny_guide: Path, tiny_judge: Path, radiographs: RadiographSet) -> None:
    guide, judge = (set(read_meta(path, kind="classifier")["patients"]) for path in (tiny_guide, tiny_judge))
    trained = radiographs.rows("train", "validation")
    assert not guide & judge
    assert guide | judge == set(patient_prefixes(radiographs.patients[trained].tolist()))
    for split in ("test", "holdout"):
        assert not (guide | judge) & set(patient_prefixes(radiographs.patients[radiographs.rows(split)].tolist()))


@pytest.mark.parametrize("role", ROLES)
def test_no_network_ever_scores_a_patient_it_learned_from(
    radiographs: RadiographSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: Role
) -> None:
    owner = {film.tobytes(): patient for film, patient in zip(radiographs.pixels, radiographs.patients, strict=True)}
    seen: list[set[str]] = []
    scored: list[str] = []

    def patients(pixels: np.ndarray) -> list[str]:
        return [str(owner[film.tobytes()]) for film in pixels]

    fit, score = training.fit_network, training.ensemble_logits

    def watched_fit(pixels: np.ndarray, labels: np.ndarray, **rest: object) -> object:
        seen.append(set(patients(pixels)))
        return fit(pixels, labels, **rest)  # type: ignore[arg-type]

    def watched_score(members: Sequence[object], pixels: np.ndarray, input_px: int) -> np.ndarray:
        assert len(pixels)
        assert not seen[-1] & set(patients(pixels))
        scored.extend(patients(pixels))
        return score(members, pixels, input_px)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "fit_network", watched_fit)
    monkeypatch.setattr(training, "ensemble_logits", watched_score)
    train_classifier(radiographs, tmp_path, role=role, settings=SMALL)
    labelled = radiographs.rows("train", "validation", "test")
    test = radiographs.rows("test")
    assert len(seen) == SMALL.folds + 1
    assert len(scored) == len(labelled) + len(test)
    assert not set(radiographs.patients[radiographs.rows("holdout")]) & (set(scored) | set.union(*seen))


def test_training_again_gives_the_same_bytes(train_tiny: Callable[..., Path], tiny_judge: Path, tmp_path: Path) -> None:
    assert sha256_file(train_tiny(tmp_path, "judge")) == sha256_file(tiny_judge)


def test_the_report_and_the_file_say_the_same(radiographs: RadiographSet, tmp_path: Path) -> None:
    told = []
    report = train_classifier(radiographs, tmp_path, role="guide", settings=SMALL, on_status=told.append)
    guide = load_classifier(report.weights, role="guide")
    assert guide.sha256 == report.sha256
    assert guide.vocabulary == radiographs.vocabulary == tuple(report.findings)
    assert guide.meta["figures"] == report.findings
    assert guide.input_px == guide.size_px == 16
    assert [status.done for status in told] == [1, 2, 3, 4] == list(range(1, told[0].total + 1))


def test_a_rare_finding_gets_no_threshold(train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    path = train_tiny(tmp_path, "guide", min_positives=10_000, epochs=1)
    guide = load_classifier(path)
    assert np.isnan(guide.thresholds).all()
    assert guide.scale.tolist() == [1, 1, 1]
    assert guide.offset.tolist() == [0, 0, 0]


def test_too_few_radiographs_are_refused(radiographs: RadiographSet, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"at least 200 \(two batches\)"):
        train_classifier(radiographs, tmp_path, role="guide", settings=dataclasses.replace(SMALL, batch=100))


def test_an_input_size_that_does_not_divide_is_refused(radiographs: RadiographSet, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="holds 16 px images; the judge is to see 12 px"):
        train_classifier(radiographs, tmp_path, role="judge", settings=dataclasses.replace(SMALL, input_px=12))


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.95])
def test_a_threshold_keeps_its_specificity_on_the_negatives(specificity: float) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 1)) < 0.3).astype(np.float32)
    labels[:20] = np.nan
    logits = (rng.normal(size=(400, 1)) * 3 + 2 * np.nan_to_num(labels)).astype(np.float32)
    logits[:20] = 100  # unknown labels set nothing
    settings = ClassifierSettings(specificity=specificity)
    threshold = operating_thresholds(logits, labels, settings)[0]
    negatives = 1 / (1 + np.exp(-logits[labels == 0]))
    assert (negatives < threshold).mean() == pytest.approx(specificity, abs=0.005)
    few = dataclasses.replace(settings, min_positives=int((labels == 1).sum()) + 1)
    assert np.isnan(operating_thresholds(logits, labels, few)[0])


def test_calibration_recovers_the_probabilities_and_keeps_the_order() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20_000, 1))
    labels = (rng.random((20_000, 1)) < 1 / (1 + np.exp(-(1.5 * truth - 1)))).astype(np.float32)
    labels[::7] = np.nan
    scale, offset = calibrate(truth.astype(np.float32), labels, 40)
    assert (scale[0], offset[0]) == (pytest.approx(1.5, abs=0.07), pytest.approx(-1, abs=0.07))
    # Scores that would have to be turned round, and findings with few positives, stay as they are.
    assert [value.tolist() for value in calibrate(-truth.astype(np.float32), labels, 40)] == [[1], [0]]
    assert [value.tolist() for value in calibrate(truth.astype(np.float32), labels, 20_000)] == [[1], [0]]
