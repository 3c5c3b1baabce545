"""A trained classifier: an ensemble of networks with vocabulary, calibration and operating thresholds.

A classifier is weights + vocabulary + thresholds + input size; a finding without a threshold cannot be called.
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

from xrarchive.classifier.fitting import shrink, to_input
from xrarchive.classifier.networks import Network, make_network
from xrarchive.classifier.settings import Role
from xrarchive.errors import InputDataError
from xrarchive.weights import Weights, channels_last, load_into, load_weights, without_prefix

# Scoring always runs batches of this many images; a shorter one is padded with black.
SCORING_BATCH = 32


@dataclass(frozen=True)
class Classifier:
    """A frozen ensemble.

    Attributes:
        networks: The members, in evaluation mode.
        vocabulary: Finding names in logit order.
        size_px: Side of the images it was trained on.
        input_px: Side the members see.
        scale: float32 [K]; calibrated logit = scale * mean logit + offset.
        offset: float32 [K].
        thresholds: float32 [K] probabilities, NaN = the finding cannot be called.
        sha256: Of the weight file.
        meta: What the trainer recorded: role, figures, origin.
    """

    networks: tuple[Network, ...]
    vocabulary: tuple[str, ...]
    size_px: int
    input_px: int
    scale: Tensor
    offset: Tensor
    thresholds: npt.NDArray[np.float32]
    sha256: str
    meta: Mapping[str, Any]

    def logits(self, planes: Tensor) -> Tensor:
        """Calibrated logits [N, K] of float [N, 1, H, W] in [-1, 1]; differentiable in the images."""
        images = shrink(planes, self.input_px).contiguous(memory_format=torch.channels_last)
        total: Tensor = torch.stack([network(images) for network in self.networks]).mean(dim=0)
        return total * self.scale + self.offset

    def scores(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities float32 [N, K] of uint8 [N, H, W].

        Raises:
            InputDataError: If a score is not finite.
        """
        scores = _in_padded_batches(pixels, lambda planes: torch.sigmoid(self.logits(planes)), self.size_px)
        if not np.isfinite(scores).all():
            raise InputDataError(
                f"The classifier {self.sha256[:12]} gave NaN or infinity as a score.",
                fix="Train it again; these weights cannot judge images.",
            )
        return scores

    def features(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Penultimate features float32 [N, D] of uint8 [N, H, W]: the members' side by side."""

        def penultimate(planes: Tensor) -> Tensor:
            images = shrink(planes, self.input_px).contiguous(memory_format=torch.channels_last)
            return torch.cat([network.features(images) for network in self.networks], dim=1)

        return _in_padded_batches(pixels, penultimate, self.size_px)

    def threshold(self, finding: str) -> float:
        """The operating threshold of a finding, NaN where it cannot be called."""
        return float(self.thresholds[self.vocabulary.index(finding)])


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
            fix="Guide and judge must stay apart: give the file that was trained for this role.",
            path=path,
        )
    scale, offset, thresholds = (_per_finding(name, weights) for name in ("scale", "offset", "thresholds"))
    return Classifier(
        networks=tuple(_load_member(index, weights) for index in range(meta["settings"]["members"])),
        vocabulary=tuple(meta["vocabulary"]),
        size_px=meta["size_px"],
        input_px=meta["settings"]["input_px"],
        scale=scale,
        offset=offset,
        thresholds=thresholds.masked_fill(thresholds < 0, float("nan")).numpy(),
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


def _per_finding(name: str, weights: Weights) -> Tensor:
    values = weights.tensors.get(name)
    if values is None or len(values) != len(weights.meta["vocabulary"]):
        raise InputDataError(
            f"{weights.path}: expected the tensor {name!r} with a value for each of "
            f"{len(weights.meta['vocabulary'])} findings, found {'none' if values is None else list(values.shape)}.",
            fix="The file was edited or made by another version; train or download it again.",
            path=weights.path,
        )
    return values


def _load_member(index: int, weights: Weights) -> Network:
    network = make_network(weights.meta["role"], len(weights.meta["vocabulary"]), weights.meta["settings"]["width"])
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
