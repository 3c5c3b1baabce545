from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xrarchive.classifier.classifier import Classifier, load_classifier
from xrarchive.classifier.crossfitted import read_cross_fitted
from xrarchive.errors import DamageError, InputDataError
from xrarchive.pixels import to_planes
from xrarchive.radiographs import open_set
from xrarchive.weights import load_weights, save_weights


@pytest.fixture(params=["tiny_guide", "tiny_judge", "tiny_referee"])
def classifier(request: pytest.FixtureRequest) -> Classifier:
    path = request.getfixturevalue(request.param)
    found = load_classifier(path)
    return dataclasses.replace(found, meta={**found.meta, "run": str(path.parent)})


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


def test_outputs_are_the_mean_of_the_members_findings_first(classifier: Classifier, pixels: np.ndarray) -> None:
    outputs, planes = classifier.outputs(pixels), torch.from_numpy(to_planes(pixels))
    twice = dataclasses.replace(classifier, networks=classifier.networks * 2)
    members = twice.member_logits(planes)
    assert classifier.nuisances == ("view",)
    assert members.shape == (2, len(pixels), 4)
    assert members.dtype == torch.float32
    np.testing.assert_allclose(members.mean(dim=0).numpy(), outputs, atol=1e-5)
    np.testing.assert_allclose(classifier.logits(planes).numpy(), outputs[:, :3], atol=1e-5)
    np.testing.assert_allclose(classifier.scores(pixels), 1 / (1 + np.exp(-outputs[:, :3])), atol=1e-6)


def test_every_output_can_be_followed_back_to_the_image(classifier: Classifier, pixels: np.ndarray) -> None:
    planes = torch.from_numpy(to_planes(pixels[:4])).requires_grad_()
    for output in range(4):
        (gradient,) = torch.autograd.grad(classifier.member_logits(planes)[0, :, output].sum(), planes)
        assert gradient.abs().sum() > 0


def test_a_bar_is_reached_by_its_share_of_radiographs(classifier: Classifier) -> None:
    table = read_cross_fitted(Path(classifier.meta["run"]))
    for name in (*classifier.vocabulary, *classifier.nuisances):
        for strictness in (1.0, 0.5, 0.1, 0.05):
            bar = classifier.bar(name, strictness)
            # Up to a film: the bar lies between two of them.
            assert (table.of(name) >= bar - 1e-5).mean() == pytest.approx(strictness, abs=1.5 / len(table.images))
        assert classifier.bar(name, 0.001) <= classifier.bar(name, 1e-9) == pytest.approx(table.of(name).max())


@pytest.mark.parametrize(("name", "strictness"), [("Oedema", 0.1), ("Mass", 0.0), ("Mass", 1.01), ("view", -0.1)])
def test_a_bar_of_nothing_or_of_no_share_is_refused(classifier: Classifier, name: str, strictness: float) -> None:
    with pytest.raises(ValueError, match="no output 'Oedema', only: No Finding" if name == "Oedema" else "strictness"):
        classifier.bar(name, strictness)


def test_thresholds_go_by_name(classifier: Classifier) -> None:
    assert classifier.threshold("Mass") == classifier.thresholds[2]


@pytest.mark.parametrize("bad", [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 16, 16), np.float32)])
def test_images_of_another_size_or_type_are_refused(classifier: Classifier, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[N, 16, 16\]"):
        classifier.scores(bad)


def test_a_score_that_is_nan_is_refused(classifier: Classifier, pixels: np.ndarray) -> None:
    with pytest.raises(InputDataError, match="NaN or infinity"):
        dataclasses.replace(classifier, offset=torch.tensor([0.0, 0.0, 0.0, float("nan")])).scores(pixels[:1])


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
        ({"vocabulary": ["No Finding", "Mass"]}, r"'scale' of shape \[3\] for 2 findings and 1 nuisances"),
        ({"nuisances": None}, r"'scale' of shape \[3\] for 3 findings and 0 nuisances, found \[4\]"),
        ({"tensors": {"thresholds": torch.zeros(2)}}, r"'thresholds' of shape \[3\] for 3 findings .* found \[2\]"),
        ({"tensors": {"offset": None}}, r"'offset' of shape \[4\] .* found none"),
        ({"tensors": {"quantiles": torch.zeros(4, 3)}}, r"'quantiles' of shape \[4, 110\] .* found \[4, 3\]"),
        ({"tensors": {"member0.head.bias": None}}, "do not fit"),
        ({"settings": {"architecture": "plain", "width": 4, "members": 1, "input_px": 16}}, "do not fit"),
        ({"settings": {"architecture": "round", "width": 4, "members": 1, "input_px": 16}}, "unknown architecture"),
        ({"settings": {"width": 4, "members": 1, "input_px": 16}}, "which networks it holds: 'architecture'"),
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
