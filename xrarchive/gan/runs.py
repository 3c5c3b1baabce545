"""A training's folder and its record, RUN/run.json: what is trained on what, from where, and on which machine.

RUN/run.json               settings, radiographs, start; the same command again continues, others are refused
RUN/films.npy              names of all films the weights have seen, those before the start included
RUN/checkpoints/           the newest two states to resume from (`gan/checkpoints.py`)
RUN/stats.jsonl, log.txt   figures and words per tick; RUN/grids/ what the fixed latents look like
RUN/best.safetensors       the snapshot with the lowest KID so far
RUN/generator.safetensors  the finished snapshot
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from xrarchive.errors import InputDataError, PlanChangedError
from xrarchive.files import dump_json, read_json, sha256_bytes, sha256_file
from xrarchive.gan.checkpoints import load_newest
from xrarchive.gan.devices import Devices, computes_bfloat16
from xrarchive.gan.ranges import native
from xrarchive.gan.schedule import resolved_growth
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.state import TrainingState
from xrarchive.radiographs import RadiographSet
from xrarchive.trained_films import Names, film_names, join_names, load_names, read_names, save_names
from xrarchive.weights import load_weights, read_meta, without_prefix

RUN_NAME = "run.json"
SNAPSHOT_NAME = "generator.safetensors"
BEST_NAME = "best.safetensors"
FILMS_NAME = "films.npy"

logger = logging.getLogger(__name__)
Record = dict[str, Any]


@dataclass(frozen=True)
class Start:
    """Where a new run takes its first weights from; by default it draws them.

    Attributes:
        init_from: A snapshot: its networks, with fresh optimisers and no radiographs shown.
        fork: Another run: its newest checkpoint, whole, to go on with other settings.
    """

    init_from: Path | None = None
    fork: Path | None = None

    def __post_init__(self) -> None:
        """Refuse two starts."""
        if self.init_from is not None and self.fork is not None:
            raise ValueError("a run starts from a snapshot (init_from) or from another run (fork), not from both")


def claim_run(
    out: Path, radiographs: RadiographSet, settings: GeneratorSettings, start: Start, devices: Devices
) -> tuple[GeneratorSettings, Record]:
    """Describe a new run, or check that a recorded one is meant; only `nimg` may have been raised.

    Returns:
        The settings with growth and precision written out, which a run keeps wherever it is continued; and the content
        of run.json, to be written once the weights are there.

    Raises:
        PlanChangedError: If `out` holds a run of other settings, radiographs or start, naming each difference.
        InputDataError: If the start is no snapshot or run.
    """
    path = out / RUN_NAME
    found = _read(path) if path.exists() else None
    settings = _resolve(settings, found, start, devices)
    wanted: Record = {
        "settings": dataclasses.asdict(settings),
        "radiographs_sha256": radiographs.sha256,
        "start": _describe(start, found),
        "environment": _environment(devices),
    }
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they come back
    if found:
        _require_same(out, found, wanted)
        _tell_environment(out, found.get("environment"), wanted["environment"])
    return settings, wanted


def begin(state: TrainingState, settings: GeneratorSettings, start: Start, record: Record) -> None:
    """Fill fresh networks from where the run starts.

    Args:
        state: Fresh.
        settings: The run's.
        start: Where it starts.
        record: The content of its run.json.

    Raises:
        InputDataError: If the weights are of other shapes than the settings ask for, the run left has shown `nimg`
            images already, or the run was recorded with a start that is not given.
    """
    if start.fork is not None:
        try:
            found = load_newest(start.fork, state)
        except RuntimeError as err:
            raise _misfit(start.fork, err) from err
        if not found:
            raise _no_run(start.fork)
        if state.nimg >= settings.nimg:
            raise InputDataError(
                f"{start.fork} has shown {state.nimg} images, this run is to end at {settings.nimg}.",
                fix=f"Give a --nimg above {state.nimg}.",
                path=start.fork,
            )
    elif start.init_from is not None:
        _load_networks(state, start.init_from)
    elif record["start"]:
        option = "--" + next(iter(record["start"])).replace("_", "-")
        raise InputDataError(
            f"The run was begun with {option} and holds no intact checkpoint.",
            fix=f"Give {option} again, or another --out.",
        )


def films_seen(out: Path, radiographs: RadiographSet, rows: npt.NDArray[np.int64], start: Start) -> Names:
    """Names of the films this run learns from, and of those that the weights it starts from were trained on.

    Kept in the run's folder, since a run goes on without naming its start again. A start whose weights name no films
    adds none.

    Args:
        out: The run's folder, locked by the caller.
        radiographs: The set.
        rows: What of it is learned from.
        start: Where the run begins.
    """
    kept = load_names(out / FILMS_NAME)
    if kept is not None:
        return kept
    before = None
    if start.init_from is not None:
        before = read_names(start.init_from)
    elif start.fork is not None:
        before = load_names(start.fork / FILMS_NAME)
    names = film_names(radiographs, rows)
    names = names if before is None else join_names(names, before)
    save_names(out / FILMS_NAME, names)
    return names


def _load_networks(state: TrainingState, path: Path) -> None:
    tensors = load_weights(path, kind="generator").tensors
    _load(state.generator, without_prefix("generator", tensors), path)
    judging = without_prefix("discriminator", tensors)
    if judging:
        _load(state.discriminator, judging, path)
    else:
        logger.warning("%s holds no discriminator: a fresh one starts against its generator", path)
    native(state.generator, state.discriminator)
    state.averaged.load_state_dict(state.generator.state_dict())


def _load(network: nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as err:
        raise _misfit(path, err) from err


def _misfit(path: Path, err: RuntimeError) -> InputDataError:
    return InputDataError(
        f"{path} holds networks of other shapes than these settings ask for: {str(err).splitlines()[-1].strip()}",
        fix="Give the resolution, channels, latent_size, width_max and width_base it was trained with.",
        path=path,
    )


def _read(path: Path) -> Record:
    found = read_json(path, what="run record", fix=f"Choose another folder than {path.parent}.")
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise InputDataError(
            f"{path} is not the record of a generator's training.",
            fix=f"Choose another folder than {path.parent}.",
            path=path,
        )
    return found


def _resolve(settings: GeneratorSettings, found: Record | None, start: Start, devices: Devices) -> GeneratorSettings:
    recorded = found["settings"] if found else {}
    precision = settings.precision
    if precision == "auto":
        precision = recorded.get("precision") or ("bfloat16" if computes_bfloat16(devices.device) else "float32")
    if settings.stage_nimg:  # which decides growth
        return dataclasses.replace(settings, precision=precision)
    if not found and start.fork is not None and (start.fork / RUN_NAME).is_file():
        recorded = _read(start.fork / RUN_NAME)["settings"]  # a fork with a higher nimg does not shrink again
    growth = settings.growth_nimg or recorded.get("growth_nimg") or resolved_growth(settings)
    if growth >= settings.nimg and not settings.growth_nimg:
        growth = resolved_growth(settings)
    return dataclasses.replace(settings, growth_nimg=growth, precision=precision)


def _describe(start: Start, found: Record | None) -> Record | None:
    """The start by content; a forked run by what stays when it goes on."""
    before = (found or {}).get("start")
    if start.init_from is not None:
        if not start.init_from.is_file():
            raise InputDataError(
                f"No snapshot at {start.init_from}.", fix="Give a generator.safetensors.", path=start.init_from
            )
        shown = read_meta(start.init_from, kind="generator")
        return {"init_from": sha256_file(start.init_from), "nimg": shown["nimg"] + shown.get("nimg_before", 0)}
    if start.fork is not None:
        if not (start.fork / RUN_NAME).is_file():
            if before and "fork" in before:
                return dict(before)  # it has been removed since
            raise _no_run(start.fork)
        record = _read(start.fork / RUN_NAME)
        left = {key: value for key, value in _flat(record).items() if key != "nimg"}
        before_it = (record.get("start") or {}).get("nimg", 0)
        return {"fork": sha256_bytes(dump_json(left)), **({"nimg": before_it} if before_it else {})}
    return dict(before) if before else None  # the same run goes on without naming its start again


def _no_run(path: Path) -> InputDataError:
    return InputDataError(
        f"No run with an intact checkpoint at {path}.",
        fix="Name a folder that `xrarchive train generator --out` made.",
        path=path,
    )


def _environment(devices: Devices) -> Record:
    """What may change the last bits of a result, besides the settings."""
    cuda = devices.device.type == "cuda"
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(devices.device) if cuda else torch.backends.cpu.get_cpu_capability(),
        "world_size": devices.world,
        "threads": torch.get_num_threads(),
        "tf32": torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32 if cuda else False,
        "deterministic": torch.are_deterministic_algorithms_enabled() or not cuda,
    }


def _tell_environment(out: Path, before: Record | None, after: Record) -> None:
    old = before or {}
    changed = [f"{key}: {old.get(key)} -> {value}" for key, value in after.items() if old.get(key) != value]
    if changed:
        logger.warning("%s goes on in another environment (%s): equal to the last bit no more", out, "; ".join(changed))


def _require_same(out: Path, before: Record, after: Record) -> None:
    # A setting that came after the run was recorded had the effect of its default then.
    old, new = {**dataclasses.asdict(GeneratorSettings()), **_flat(before)}, _flat(after)
    changed = [
        f"{key}: {old.get(key)} -> {value}"
        for key, value in new.items()
        if old.get(key) != value and not (key == "nimg" and (old.get(key) or 0) < value)
    ]
    if changed:
        raise PlanChangedError(
            f"{out} holds a run of another configuration: {'; '.join(changed)}.",
            fix=f"Give the settings of that run to continue it (only nimg may rise), another --out for a new one, or "
            f"another --out with --fork {out} to go on from its state.",
            path=out,
        )


def _flat(record: Record) -> Record:
    return {**record["settings"], **{key: record.get(key) for key in ("radiographs_sha256", "start")}}
