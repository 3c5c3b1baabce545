"""Checkpoints: the state a training resumes from. A folder per checkpoint, made complete by a rename.

    RUN/checkpoints/nimg-000320000/state.safetensors    both networks, the average, both optimisers' moments
    RUN/checkpoints/nimg-000320000/complete.json        sha256 of state and settings, images shown, steps, rollbacks;
                                                        and its own sha256, without that line

A crash while saving leaves a `.tmp-` folder, never a torn checkpoint. Data order and latents are functions of the
seed and the images shown (`gan/draws.py`), so that these numbers are the whole random state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from xrarchive.errors import DamageError, PlanChangedError, storage_errors
from xrarchive.files import (
    TEMPORARY_PREFIX,
    atomic_path,
    dump_json,
    fsync_folder,
    sha256_bytes,
    sha256_file,
    write_json,
)
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState
from xrarchive.weights import require_finite, with_prefix, without_prefix, write_tensors

KEPT = 2

logger = logging.getLogger(__name__)


def save_checkpoint(run: Path, state: TrainingState, settings: GeneratorSettings) -> Path:
    """Write a checkpoint, read it back, then remove all but it and the newest intact one before it.

    Raises:
        InputDataError: If a weight or moment is NaN or infinite: nothing is written, the checkpoints before stay.
        StorageError: If the disk refuses.
        DamageError: If the disk gives back other numbers than were written; the checkpoints before stay.
    """
    folder = run / "checkpoints"
    target = folder / f"nimg-{state.nimg:09d}"
    tensors = _tensors(state)
    require_finite(tensors, target)
    with storage_errors(target), _temporary_folder(target) as temporary:
        with atomic_path(temporary / "state.safetensors") as path:
            write_tensors(path, tensors)
        _require_written(temporary / "state.safetensors", tensors)
        record = {
            "sha256": sha256_file(temporary / "state.safetensors"),
            "settings_sha256": settings_sha256(settings),
            "nimg": state.nimg,
            "steps": state.steps,
            "retry": state.retry,
        }
        write_json(temporary / "complete.json", {**record, "record_sha256": _record_sha256(record)})
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        fsync_folder(folder)
    _remove_others(folder, target)
    return target


@contextlib.contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target`, gone at the end unless it was renamed: a full disk gets its space back."""
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_others(folder: Path, target: Path) -> None:
    """Keep `target` and the newest intact ones before it, `KEPT` in all.

    Those of more images are damaged, or no way led back to them would have been taken.
    """
    kept = {target}
    before = [path for path in sorted(folder.glob("nimg-*"), reverse=True) if path.name < target.name]
    for path in before:
        if len(kept) < KEPT and _intact(path):
            kept.add(path)
    for path in folder.glob("nimg-*"):
        if path not in kept:
            shutil.rmtree(path)


def load_newest(run: Path, state: TrainingState, settings: GeneratorSettings | None = None) -> bool:
    """Fill `state` from the newest checkpoint whose bytes are those recorded; False if there is none.

    A damaged checkpoint is passed over for the one before it.

    Args:
        run: The run's folder.
        state: Networks of the run's shapes.
        settings: What the checkpoint must have been made with; None = anything.

    Raises:
        PlanChangedError: If the checkpoint was made with other settings.
    """
    for folder in sorted((run / "checkpoints").glob("nimg-*"), reverse=True):
        record = _intact(folder)
        if record:
            if settings and record["settings_sha256"] != settings_sha256(settings):
                raise PlanChangedError(
                    f"{folder} was made with other settings than {run / 'run.json'} names.",
                    fix=f"Put back the run.json or checkpoint that was changed, or --fork {run} into another --out.",
                    path=folder,
                )
            _fill(state, load_file(folder / "state.safetensors", device=str(_device(state))))
            state.nimg, state.steps, state.retry = record["nimg"], record["steps"], record["retry"]
            return True
        logger.warning("passed over the damaged checkpoint %s", folder)
    return False


def _intact(folder: Path) -> dict[str, Any] | None:
    """The checkpoint's record, None if anything about it is damaged or missing."""
    try:
        record: dict[str, Any] = json.loads((folder / "complete.json").read_bytes())
        if record.pop("record_sha256") != _record_sha256(record):
            return None
        return record if sha256_file(folder / "state.safetensors") == record["sha256"] else None
    except PermissionError:
        raise  # another user's, and may be whole
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _record_sha256(record: dict[str, Any]) -> str:
    return sha256_bytes(dump_json(record))


def settings_sha256(settings: GeneratorSettings) -> str:
    """Identifies the settings of a run, but for `nimg`, which may rise."""
    values = dataclasses.asdict(settings)
    del values["nimg"]
    return sha256_bytes(json.dumps(values, sort_keys=True).encode())


def _require_written(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        found = load_file(path)
    except SafetensorError:
        found = {}
    if found.keys() != tensors.keys() or not all(_same_bits(found[name], tensors[name].cpu()) for name in tensors):
        raise DamageError(
            f"{path} reads back other numbers than were written.",
            fix="Check the disk; then run the same command again, it goes on from the checkpoint before.",
            path=path,
        )


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _device(state: TrainingState) -> torch.device:
    return next(state.generator.parameters()).device


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
        optimiser.state.clear()  # a rollback may lead back to before a block took part
        for parameter_name, parameter in network.named_parameters():
            moments = without_prefix(f"{name}.{parameter_name}", tensors)
            if moments:
                optimiser.state[parameter] = {
                    key: value if key == "step" else torch.empty_like(parameter).copy_(value)
                    for key, value in moments.items()
                }
