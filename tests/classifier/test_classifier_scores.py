from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xrarchive.classifier.classifier import Classifier, load_classifier
from xrarchive.errors import DamageError, InputDataError
from xrarchive.pixels import to_planes
from xrarchive.radiographs import open_set
from xrarchive.weights import load_weights, save_weights


@pytest.fixture(params=["tiny_guide", "tiny_judge"])
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return load_classifier(request.getfixturevalue(request.param))


@pytest.fixture
def pixels(tiny_set: Path) -> np.ndarray:
    return np.asarray(open_set(tiny_set).pixels)


def test_scores_do_not_depend_on_order_or_on_the_images_beside(classifier: Classifier, pixels: np.ndarray) -> None:
    scores, features = classifier.scores(pixels), classifier.features(pixels)
    order = np.random.default_rng(0).permutation(len(pixels))
    np.testing.assert_array_equal(classifier.scores(pixels[order]), scores[order])
    np.testing.assert_array_equal(classifier.features(pixels[order]), features[order])
    for start, end in ((0, 1), (5, 6), (30, 47), (95, 96)):
        np.testing.assert_array_equal(classifier.scores(pixels[start:end]), scores[start:end])


def test_scores_are_probabilities_of_the_calibrated_logits(classifier: Classifier, pixels: np.ndarray) -> None:
    scores = classifier.scores(pixels)
    assert scores.dtype == np.float32
    assert scores.shape == (len(pixels), 3)
    logits = classifier.logits(torch.from_numpy(to_planes(pixels)))
    np.testing.assert_allclose(scores, torch.sigmoid(logits).numpy(), atol=1e-5)


def test_the_ensemble_averages_logits(classifier: Classifier, pixels: np.ndarray) -> None:
    twice = dataclasses.replace(classifier, networks=classifier.networks * 2)
    np.testing.assert_allclose(twice.scores(pixels), classifier.scores(pixels), atol=1e-6)
    assert twice.features(pixels).shape[1] == 2 * classifier.features(pixels).shape[1]


def test_thresholds_go_by_name(classifier: Classifier) -> None:
    assert classifier.threshold("Mass") == classifier.thresholds[2]


@pytest.mark.parametrize("bad", [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 16, 16), np.float32)])
def test_images_of_another_size_or_type_are_refused(classifier: Classifier, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[N, 16, 16\]"):
        classifier.scores(bad)


def test_a_score_that_is_nan_is_refused(classifier: Classifier, pixels: np.ndarray) -> None:
    with pytest.raises(InputDataError, match="NaN or infinity"):
        dataclasses.replace(classifier, offset=torch.tensor([0.0, float("nan"), 0.0])).scores(pixels[:1])


def test_a_judge_is_no_guide(tiny_judge: Path) -> None:
    with pytest.raises(InputDataError, match="is a judge, a guide was expected"):
        load_classifier(tiny_judge, role="guide")


def test_a_generator_is_no_classifier(tiny_generator: Path) -> None:
    with pytest.raises(InputDataError, match="expected weights of kind 'classifier', format 1, found 'generator'"):
        load_classifier(tiny_generator)


def rewrite(path: Path, out: Path, *, tensors: dict[str, Any] | None = None, **meta: Any) -> Path:
    weights = load_weights(path, kind="classifier")
    values = {key: value for key, value in (weights.meta | meta).items() if key not in ("kind", "format")}
    kept = {key: value for key, value in (weights.tensors | (tensors or {})).items() if value is not None}
    values = {key: value for key, value in values.items() if value is not None}
    save_weights(out, kept, kind="classifier", meta=values, dtype=torch.float32)
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": ["No Finding", "Mass"]}, "'scale' with a value for each of 2 findings"),
        (
            {"tensors": {"thresholds": torch.zeros(2)}},
            "'thresholds' with a value for each of 3 findings, found \\[2\\]",
        ),
        ({"tensors": {"offset": None}}, "'offset' with a value for each of 3 findings, found none"),
        ({"tensors": {"member0.head.bias": None}}, "do not fit"),
        ({"role": "judge"}, "do not fit"),
        ({"patients": None, "terms": None}, "metadata lacks patients, terms"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tiny_guide: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputDataError, match=message):
        load_classifier(rewrite(tiny_guide, tmp_path / "x.safetensors", **change))


def test_a_truncated_file_is_damage(tiny_guide: Path, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(tiny_guide.read_bytes()[:-10])
    with pytest.raises(DamageError, match="not a readable safetensors file"):
        load_classifier(tmp_path / "x.safetensors")
