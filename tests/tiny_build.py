"""Builds in the tiny world, and disks that are full on demand."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xrarchive import pipeline
from xrarchive.plan import SearchSettings

FINDINGS = ("No Finding", "Effusion", "Mass")
PER_CLASS = 6
SEARCH = SearchSettings(unit_images=4, steps=40)
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


def edit_weights(source: Path, target: Path, *, thresholds: Mapping[str, float] | None = None, **meta: Any) -> Path:
    """A copy of a classifier's weight file that says something else of itself."""
    import torch

    from xrarchive.weights import load_weights, save_weights

    weights = load_weights(source, kind="classifier")
    for name, value in (thresholds or {}).items():
        weights.tensors["thresholds"][weights.meta["vocabulary"].index(name)] = value
    save_weights(target, weights.tensors, kind="classifier", meta=weights.meta | meta, dtype=torch.float32)
    return target


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
