"""Checkpoints: the state a training resumes from. A folder per checkpoint, made complete by a rename.

    RUN/checkpoints/nimg-000320000/state.safetensors    both networks, the average, both optimisers' moments
    RUN/checkpoints/nimg-000320000/complete.json        sha256 of the state, images shown, steps taken

A crash while saving leaves a `.tmp-` folder, never a torn checkpoint. Data order and latents are functions of the
seed and the images shown, so no random state is stored.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from xrarchive.errors import storage_errors
from xrarchive.files import TEMPORARY_PREFIX, atomic_path, fsync_folder, sha256_file, write_json
from xrarchive.gan.networks import Discriminator, Generator
from xrarchive.weights import require_finite, with_prefix, without_prefix, write_tensors

KEPT = 2

logger = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Everything that changes while training."""

    generator: Generator
    discriminator: Discriminator
    averaged: Generator
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    nimg: int = 0
    steps: int = 0


def save_checkpoint(run: Path, state: TrainingState) -> Path:
    """Write a checkpoint, read its hash back, then remove all but the newest two.

    Raises:
        InputDataError: If a weight or moment is NaN or infinite: nothing is written, the checkpoints before stay.
        StorageError: If the disk refuses.
    """
    folder = run / "checkpoints"
    target = folder / f"nimg-{state.nimg:09d}"
    temporary = folder / f"{TEMPORARY_PREFIX}{target.name}"
    tensors = _tensors(state)
    require_finite(tensors, target)
    with storage_errors(target):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with atomic_path(temporary / "state.safetensors") as path:
            write_tensors(path, tensors)
        record = {"sha256": sha256_file(temporary / "state.safetensors"), "nimg": state.nimg, "steps": state.steps}
        write_json(temporary / "complete.json", record)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        fsync_folder(folder)
    for old in sorted(folder.glob("nimg-*"))[:-KEPT]:
        shutil.rmtree(old)
    return target


def load_newest(run: Path, state: TrainingState) -> bool:
    """Fill `state` from the newest checkpoint whose bytes are those recorded; False if there is none.

    A damaged checkpoint is passed over for the one before it.
    """
    for folder in sorted((run / "checkpoints").glob("nimg-*"), reverse=True):
        record = _intact(folder)
        if record:
            _fill(state, load_file(folder / "state.safetensors"))
            state.nimg, state.steps = record["nimg"], record["steps"]
            return True
        logger.warning("passed over the damaged checkpoint %s", folder)
    return False


def _intact(folder: Path) -> dict[str, Any] | None:
    """The checkpoint's record, None if anything about it is damaged or missing."""
    try:
        record: dict[str, Any] = json.loads((folder / "complete.json").read_bytes())
        return record if sha256_file(folder / "state.safetensors") == record["sha256"] else None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _networks(state: TrainingState) -> dict[str, nn.Module]:
    return {"generator": state.generator, "discriminator": state.discriminator, "averaged": state.averaged}


def _optimisers(state: TrainingState) -> dict[str, tuple[torch.optim.Adam, nn.Module]]:
    return {
        "generator_adam": (state.generator_optimiser, state.generator),
        "discriminator_adam": (state.discriminator_optimiser, state.discriminator),
    }


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, network in _networks(state).items():
        tensors |= with_prefix(name, network.state_dict())
    for name, (optimiser, network) in _optimisers(state).items():
        for parameter_name, parameter in network.named_parameters():
            moments = {key: value for key, value in optimiser.state[parameter].items() if isinstance(value, Tensor)}
            tensors |= with_prefix(f"{name}.{parameter_name}", moments)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _fill(state: TrainingState, tensors: dict[str, Tensor]) -> None:
    for name, network in _networks(state).items():
        network.load_state_dict(without_prefix(name, tensors), strict=True)
    for name, (optimiser, network) in _optimisers(state).items():
        for parameter_name, parameter in network.named_parameters():
            moments = without_prefix(f"{name}.{parameter_name}", tensors)
            if moments:
                optimiser.state[parameter] = {
                    key: value if key == "step" else torch.empty_like(parameter).copy_(value)
                    for key, value in moments.items()
                }
