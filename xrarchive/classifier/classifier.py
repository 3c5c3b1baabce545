"""A trained classifier: an ensemble of networks with vocabulary, calibration, operating thresholds and bars.

A classifier is weights + vocabulary + thresholds + input size; a finding without a threshold cannot be called. Its
outputs are K findings, then J nuisances (view, sex, age, source: see `nuisances`), which it has no thresholds for.
Scores of stored images are computed in fixed padded batches, so that they do not depend on which images stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xrarchive.classifier.crossfitted import bar_of
from xrarchive.classifier.fitting import shrink, to_input
from xrarchive.classifier.networks import Network, make_network
from xrarchive.classifier.settings import LEVELS, Role
from xrarchive.errors import InputDataError
from xrarchive.weights import Weights, channels_last, load_into, load_weights, without_prefix

# Scoring always runs batches of this many images; a shorter one is padded with black.
SCORING_BATCH = 32


@dataclass(frozen=True)
class Classifier:
    """A frozen ensemble.

    Attributes:
        networks: The members, in evaluation mode.
        vocabulary: The K finding names in logit order.
        nuisances: The J nuisance names, after them.
        size_px: Side of the images it was trained on.
        input_px: Side the members see.
        scale: float32 [K + J]; calibrated logit = scale * logit + offset.
        offset: float32 [K + J].
        thresholds: float32 [K] probabilities, NaN = the finding cannot be called.
        quantiles: float32 [K + J, Q] of calibrated out-of-fold logits of real radiographs, at `settings.LEVELS`.
        quantiles_within: float32 [J, 2, K, Q], the same among those in which a nuisance is not seen, or is.
        sha256: Of the weight file.
        meta: What the trainer recorded: role, figures, origin.
    """

    networks: tuple[Network, ...]
    vocabulary: tuple[str, ...]
    nuisances: tuple[str, ...]
    size_px: int
    input_px: int
    scale: Tensor
    offset: Tensor
    thresholds: npt.NDArray[np.float32]
    quantiles: npt.NDArray[np.float32]
    quantiles_within: npt.NDArray[np.float32]
    sha256: str
    meta: Mapping[str, Any]

    def member_logits(self, planes: Tensor) -> Tensor:
        """Calibrated logits [M, N, K + J] of each member for float [N, 1, H, W] in [-1, 1]; differentiable in it."""
        images = shrink(planes, self.input_px).contiguous(memory_format=torch.channels_last)
        return torch.stack([network(images) for network in self.networks]) * self.scale + self.offset

    def logits(self, planes: Tensor) -> Tensor:
        """Calibrated logits [N, K] of the findings, the mean over members; differentiable in the images."""
        return self.member_logits(planes).mean(dim=0)[:, : len(self.vocabulary)]

    def outputs(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Calibrated logits float32 [N, K + J] of uint8 [N, H, W], the mean over members.

        Raises:
            InputDataError: If one is not finite.
        """
        outputs = _in_padded_batches(pixels, lambda planes: self.member_logits(planes).mean(dim=0), self.size_px)
        if not np.isfinite(outputs).all():
            raise InputDataError(
                f"The classifier {self.sha256[:12]} gave NaN or infinity as a score.",
                fix="Train it again; these weights cannot judge images.",
            )
        return outputs

    def scores(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities float32 [N, K] of uint8 [N, H, W].

        Raises:
            InputDataError: If a score is not finite.
        """
        logits = torch.from_numpy(self.outputs(pixels)[:, : len(self.vocabulary)])
        # In float64, so that a score is the same to the last bit wherever it stands in the array.
        return torch.sigmoid(logits.double()).float().numpy()

    def features(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Penultimate features float32 [N, D] of uint8 [N, H, W]: the members' side by side."""

        def penultimate(planes: Tensor) -> Tensor:
            images = shrink(planes, self.input_px).contiguous(memory_format=torch.channels_last)
            return torch.cat([network.features(images) for network in self.networks], dim=1)

        return _in_padded_batches(pixels, penultimate, self.size_px)

    def threshold(self, finding: str) -> float:
        """The operating threshold of a finding, NaN where it cannot be called."""
        return float(self.thresholds[self.vocabulary.index(finding)])

    def prevalence(self, finding: str) -> float:
        """Share of the labelled radiographs that bear a finding.

        Raises:
            ValueError: If it cannot be called: it has too few films to tell.
        """
        calls = self.meta["figures"][finding]["calls"]
        if calls is None:
            raise ValueError(f"{finding!r} cannot be called")
        return float((calls["tp"] + calls["fn"]) / sum(calls.values()))

    def bar(self, name: str, strictness: float, *, where: tuple[str, bool] | None = None) -> float:
        """The calibrated logit of a finding or nuisance that a share `strictness` of real radiographs reach.

        Out of fold, so that it is not the bar of films the networks have learned by heart. `where` names a nuisance and
        whether it is seen: then it is the bar of a finding among such radiographs.

        Raises:
            ValueError: If there is no such output, or `strictness` is not in (0, 1].
        """
        names = (*self.vocabulary, *self.nuisances)
        if name not in names:
            raise ValueError(f"the classifier has no output {name!r}, only: {', '.join(names)}")
        if where is None:
            return bar_of(self.quantiles[names.index(name)], strictness)
        nuisance, seen = self.nuisances.index(where[0]), int(where[1])
        return bar_of(self.quantiles_within[nuisance, seen, self.vocabulary.index(name)], strictness)


def load_classifier(path: Path, *, role: Role | None = None) -> Classifier:
    """Read a classifier.

    Raises:
        InputDataError: If the file is missing, of another kind or role, or its parts do not fit together.
        DamageError: If it is not a safetensors file.
    """
    weights = load_weights(path, kind="classifier")
    meta = weights.meta
    _require_complete(meta, path)
    if role is not None and meta["role"] != role:
        raise InputDataError(
            f"{path} is a {meta['role']}, a {role} was expected.",
            fix="Guide, judge and referee must stay apart: give the file that was trained for this role.",
            path=path,
        )
    findings, nuisances = len(meta["vocabulary"]), tuple(meta.get("nuisances", ()))
    outputs = findings + len(nuisances)
    scale, offset = (_require_shape(name, (outputs,), weights) for name in ("scale", "offset"))
    thresholds = _require_shape("thresholds", (findings,), weights)
    quantiles = _require_shape("quantiles", (outputs, len(LEVELS)), weights)
    within = _require_shape("quantiles_within", (len(nuisances), 2, findings, len(LEVELS)), weights)
    return Classifier(
        networks=tuple(_load_member(index, outputs, weights) for index in range(meta["settings"]["members"])),
        vocabulary=tuple(meta["vocabulary"]),
        nuisances=nuisances,
        size_px=meta["size_px"],
        input_px=meta["settings"]["input_px"],
        scale=scale,
        offset=offset,
        thresholds=thresholds.masked_fill(thresholds < 0, float("nan")).numpy(),
        quantiles=quantiles.numpy(),
        quantiles_within=within.numpy(),
        sha256=weights.sha256,
        meta=meta,
    )


def _require_complete(meta: Mapping[str, Any], path: Path) -> None:
    missing = sorted({"role", "vocabulary", "settings", "size_px", "figures", "patients", "terms"} - meta.keys())
    if missing:
        raise InputDataError(
            f"{path}: its metadata lacks {', '.join(missing)}.",
            fix="The file was edited or made by another version; train or download it again.",
            path=path,
        )


def _require_shape(name: str, shape: tuple[int, ...], weights: Weights) -> Tensor:
    values = weights.tensors.get(name)
    if values is None or tuple(values.shape) != shape:
        raise InputDataError(
            f"{weights.path}: expected the tensor {name!r} of shape {list(shape)} for "
            f"{len(weights.meta['vocabulary'])} findings and {len(weights.meta.get('nuisances', ()))} nuisances, "
            f"found {'none' if values is None else list(values.shape)}.",
            fix="The file was edited or made by another version; train or download it again.",
            path=weights.path,
        )
    return values


def _load_member(index: int, outputs: int, weights: Weights) -> Network:
    settings = weights.meta["settings"]
    try:
        network = make_network(settings["architecture"], outputs, settings["width"], settings["input_px"])
    except (KeyError, ValueError) as err:
        raise InputDataError(
            f"{weights.path}: its settings do not say which networks it holds: {err}.",
            fix="The file was edited or made by another version; train or download it again.",
            path=weights.path,
        ) from err
    load_into(network, without_prefix(f"member{index}", weights.tensors), path=weights.path)
    return channels_last(network.eval().requires_grad_(False))


def _in_padded_batches(pixels: npt.NDArray[np.uint8], function: Any, size_px: int) -> npt.NDArray[np.float32]:
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (size_px, size_px):
        raise ValueError(f"expected uint8 [N, {size_px}, {size_px}], got {pixels.dtype} {list(pixels.shape)}")
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), SCORING_BATCH):
            part = np.asarray(pixels[start : start + SCORING_BATCH])
            padded = np.zeros((SCORING_BATCH, size_px, size_px), np.uint8)
            padded[: len(part)] = part
            parts.append(function(to_input(padded, size_px))[: len(part)].numpy())
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
