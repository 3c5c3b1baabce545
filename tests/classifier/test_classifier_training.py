from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from xrarchive.classifier import training
from xrarchive.classifier.calibration import calibrate, operating_thresholds
from xrarchive.classifier.classifier import load_classifier
from xrarchive.classifier.crossfitted import TABLE_NAME, level_quantiles, read_cross_fitted
from xrarchive.classifier.settings import ROLES, ClassifierSettings, Role
from xrarchive.classifier.training import patient_prefixes, train_classifier
from xrarchive.errors import InputDataError
from xrarchive.files import sha256_file
from xrarchive.radiographs import RadiographSet, open_set
from xrarchive.statistics import auroc
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


def test_the_referee_learns_from_the_judges_patients(tiny_judge: Path, tiny_referee: Path) -> None:
    judge, referee = (read_meta(path, kind="classifier") for path in (tiny_judge, tiny_referee))
    assert judge["patients"] == referee["patients"]
    assert (judge["settings"]["architecture"], referee["settings"]["architecture"]) == ("plain", "dense")


def test_training_again_gives_the_same_bytes(
    train_tiny: Callable[..., Path], tiny_guide: Path, tiny_judge: Path, tmp_path: Path
) -> None:
    assert sha256_file(train_tiny(tmp_path, "judge", guide=tiny_guide.parent)) == sha256_file(tiny_judge)
    assert sha256_file(tmp_path / TABLE_NAME) == sha256_file(tiny_judge.parent / TABLE_NAME)


@pytest.mark.parametrize("weights", ["tiny_guide", "tiny_judge", "tiny_referee"])
def test_out_of_fold_logits_are_kept_beside_the_weights(
    weights: str, radiographs: RadiographSet, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(weights)
    table, classifier = read_cross_fitted(path.parent), load_classifier(path)
    rows = radiographs.rows("train", "validation", "test")
    assert table.images.tolist() == [radiographs.table["image"][int(row)].as_py() for row in rows]
    assert table.patients.tolist() == radiographs.patients[rows].tolist()
    assert table.names == (*radiographs.vocabulary, "view")
    assert (table.weights_sha256, table.radiographs_sha256) == (classifier.sha256, radiographs.sha256)
    assert all(len(set(table.folds[table.patients == patient])) == 1 for patient in set(table.patients))
    np.testing.assert_array_equal(level_quantiles(table.logits), classifier.quantiles)
    for index, finding in enumerate(radiographs.vocabulary):
        found = auroc(table.of(finding), radiographs.labels[rows, index])
        assert classifier.meta["figures"][finding]["cross_fitted"]["value"] == pytest.approx(found, abs=1e-4)


def test_the_tiny_networks_learn_the_nuisance_too(tiny_guide: Path) -> None:
    meta = read_meta(tiny_guide, kind="classifier")
    assert meta["nuisances"] == ["view"]
    assert meta["nuisance_positive"] == {"view": "AP"}
    assert load_classifier(tiny_guide).scale.shape == (4,)


def test_figures_have_their_shape(tiny_guide: Path) -> None:
    for found in read_meta(tiny_guide, kind="classifier")["figures"].values():
        assert set(found) == {"positives", "calls", "cross_fitted", "within", "test", "purity", "more"}
        assert set(found["purity"]) == {"0.2", "0.1", "0.05", "0.02", "0.01"}
        for part in ("cross_fitted", "test"):
            assert set(found["more"][part]) == {"all", "AP", "PA"}
            for measures in found["more"][part].values():
                if measures is not None:
                    assert set(measures) == {"auroc", "average_precision", "brier", "slope"}
        whole = found["more"]["cross_fitted"]["all"]
        assert whole["auroc"] == found["cross_fitted"]
        assert set(whole["slope"]) == {"value", "low", "high", "n"}
        # Platt scaling was fitted on these very logits.
        assert whole["slope"]["value"] == pytest.approx(1, abs=0.01)


def test_an_adopted_architecture_is_not_trained(radiographs: RadiographSet, tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, architecture="xrv-densenet121")
    with pytest.raises(InputDataError, match="xrv-densenet121 is not trained here"):
        train_classifier(radiographs, tmp_path, role="judge", settings=settings)


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
    # The view has no label there are 10,000 of: only what weighting put in is taken out.
    assert guide.nuisances == ()
    assert guide.scale.tolist() == [1, 1, 1]
    assert (guide.offset <= 0).all()
    assert guide.bar("Mass", 0.1) < np.inf


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
    # Scores that would have to be turned round, and findings with few positives, only lose what weighting put in.
    out = pytest.approx(-np.log(np.sqrt((labels == 0).sum() / (labels == 1).sum())))
    assert [value.tolist() for value in calibrate(-truth.astype(np.float32), labels, 40)] == [[1], [out]]
    assert [value.tolist() for value in calibrate(truth.astype(np.float32), labels, 20_000)] == [[1], [out]]
