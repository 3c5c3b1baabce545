"""The embedded default: a generator, a guide, a judge and reference statistics at 64 px. Made by scripts/train_bundled.

Torch-free: it only says where the files are.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
REFERENCE_NAME = "reference.safetensors"


def bundled_weights(role: str) -> Path:
    """Path of the bundled `generator`, `guide` or `judge`."""
    return _FOLDER / f"{role}.safetensors"


def weights_path(role: str, given: Path | None) -> Path:
    """The weight file of a role: bundled, a file, or the one inside a run folder."""
    if given is None:
        return bundled_weights(role)
    return given / f"{role}.safetensors" if given.is_dir() else given


def bundled_reference() -> Path:
    """Path of the bundled reference statistics."""
    return _FOLDER / REFERENCE_NAME
