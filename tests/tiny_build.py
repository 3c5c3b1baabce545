"""Builds in the tiny world, and disks that are full on demand."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xrarchive import pipeline
from xrarchive.plan import SearchSettings

FINDINGS = ("No Finding", "Effusion", "Mass")
PER_CLASS = 6
# Bars that this generator reaches with a few steps: its films are dim.
SEARCH = SearchSettings(
    strictness=0.3, targets=False, travel_deg=90.0, steps=24, slots=4, unit_images=4, dtype="float32"
)
SEARCH_OPTIONS = tuple(
    word for name, value in dataclasses.asdict(SEARCH).items() for word in ("--set", f"{name}={json.dumps(value)}")
)
UNITS = 5


def build_tiny(out: Path, weights: Mapping[str, Path], **changes: Any) -> pipeline.BuildReport:
    """18 images in five units, in this process; half a second."""
    arguments: dict[str, Any] = {"findings": FINDINGS, "per_class": PER_CLASS, "search": SEARCH, "workers": 1}
    return pipeline.build(out, **(arguments | dict(weights) | changes))


def archive_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but its lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def edit_weights(
    source: Path, target: Path, *, tensors: Mapping[str, Mapping[str, float]] | None = None, **meta: Any
) -> Path:
    """A copy of a classifier's weight file that says something else of itself.

    `tensors` gives new values by tensor and output: {"thresholds": {"Mass": -1}}.
    """
    import torch

    from xrarchive.weights import load_weights, save_weights

    weights = load_weights(source, kind="classifier")
    outputs = [*weights.meta["vocabulary"], *weights.meta["nuisances"]]
    for tensor, values in (tensors or {}).items():
        for name, value in values.items():
            weights.tensors[tensor][outputs.index(name)] = value
    save_weights(target, weights.tensors, kind="classifier", meta=weights.meta | meta, dtype=torch.float32)
    return target


def train_weights(folder: Path) -> dict[str, Path]:
    """The tiny world's radiographs and weights for where pytest does not make them; half a minute."""
    from tiny_films import TINY_FINDINGS, TINY_PX, write_tiny_source

    from xrarchive.classifier.settings import ClassifierSettings
    from xrarchive.gan.settings import GeneratorSettings

    pipeline.ingest(write_tiny_source(folder / "source"), folder / "set", size_px=TINY_PX, findings=TINY_FINDINGS)
    generator = GeneratorSettings(
        resolution=TINY_PX, nimg=2_000, start_px=8, latent_size=8, width_max=8, batch=16, averaging=0.96,
        learning_rate=5e-3, checkpoint_nimg=2_000, precision="float32",
    )  # fmt: skip
    classifier = ClassifierSettings(
        members=1, width=4, epochs=20, batch=8, learning_rate=1e-2, folds=2, shift=0.03, specificity=0.6,
        min_positives=8,
    )  # fmt: skip
    pipeline.train_generator(folder / "set", folder / "generator", settings=generator, metric_nimg=0)
    pipeline.train_classifier(folder / "set", folder / "guide", role="guide", settings=classifier)
    pipeline.train_classifier(folder / "set", folder / "judge", role="judge", settings=classifier)
    return {role: folder / role / f"{role}.safetensors" for role in ("generator", "guide", "judge")}


@contextlib.contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Writes beyond that fail with EFBIG, as they would with ENOSPC on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def options(weights: Mapping[str, Path]) -> list[object]:
    """Weights as a command takes them."""
    return [part for role, path in weights.items() for part in (f"--{role}", path)]
