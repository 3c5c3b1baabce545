"""What this machine can do, as a record: something to read before a long run and to paste into an issue.

Out: ``{"ok", "checks", "machine", "versions"}``. Every check has ``name``, ``ok``, ``required``, ``detail`` and
``fix``; ``ok`` at the top means that all required ones hold. Tokens are looked for, never shown.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import filelock

from xrarchive.bundled import bundled_reference, bundled_weights
from xrarchive.errors import XrArchiveError
from xrarchive.files import locked, write_bytes

PACKAGES = (
    "xrarchive",
    "torch",
    "numpy",
    "pyarrow",
    "pillow",
    "datasets",
    "huggingface-hub",
    "safetensors",
    "scikit-learn",
    "filelock",
    "click",
    "rich",
)
# An archive of 10,000 images per class at 64 px is about 0.5 GB, a training run at 256 px about as much again.
MIN_FREE_BYTES = 1_000_000_000
HUB_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Check:
    """One thing looked at. `required` means that building an archive needs it; publishing alone needs the others."""

    name: str
    ok: bool
    required: bool
    detail: str
    fix: str


def doctor(folder: Path | None = None) -> dict[str, object]:
    """Examine the machine; `folder` is where output would go, the working directory by default."""
    folder = folder or Path.cwd()
    checks = [_python(), _torch(), _codecs(), _bundled(), _free_space(folder), _storage(folder), _token(), _hub()]
    return {
        "ok": all(check.ok for check in checks if check.required),
        "checks": [asdict(check) for check in checks],
        "machine": _machine(),
        "versions": dict(_versions()),
    }


def _machine() -> dict[str, object]:
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _versions() -> Iterator[tuple[str, str | None]]:
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, None


def _python() -> Check:
    found = platform.python_version()
    return Check("python", sys.version_info >= (3, 11), True, found, "Install Python 3.11 or newer.")


def _torch() -> Check:
    """Whether torch computes, which a wheel for another processor does not."""
    fix = "Install torch 2.10 or newer: scripts/setup, or pip install torch."
    try:
        import torch

        total = float(torch.ones(8, 8).mm(torch.ones(8, 8)).sum())
    except (ImportError, OSError, RuntimeError) as err:
        return Check("torch", False, True, f"{type(err).__name__}: {err}", fix)
    cuda = "yes" if torch.cuda.is_available() else "no"
    return Check("torch", total == 512, True, f"computes on {torch.get_num_threads()} threads, CUDA: {cuda}", fix)


def _codecs() -> Check:
    from PIL import features

    wanted = {"zlib": "PNG", "jpg": "JPEG"}
    lacking = [name for codec, name in wanted.items() if not features.check(codec)]
    detail = f"cannot read {', '.join(lacking)}" if lacking else "reads PNG and JPEG"
    return Check(
        "codecs", not lacking, True, detail, "Install Pillow from a wheel: pip install --force-reinstall pillow."
    )


def _bundled() -> Check:
    """Whether the default weights came along; building with weights of one's own needs none."""
    wanted = (*map(bundled_weights, ("generator", "guide", "judge")), bundled_reference())
    lacking = [path.name for path in wanted if not path.is_file()]
    detail = f"missing: {', '.join(lacking)}" if lacking else "generator, guide, judge and reference statistics"
    fix = "Reinstall xrarchive, or give --generator, --guide and --judge."
    return Check("bundled weights", not lacking, False, detail, fix)


def _free_space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free in {folder}"
    return Check(
        "disk space", free >= MIN_FREE_BYTES, True, detail, f"Free {MIN_FREE_BYTES / 1e9:.0f} GB or go elsewhere."
    )


def _storage(folder: Path) -> Check:
    """Write, fsync, rename and lock, as every stage does."""
    fix = "Work in a folder on a local, writable disk."
    try:
        with tempfile.TemporaryDirectory(prefix=".xrarchive-doctor-", dir=folder) as name:
            holds = _locks_hold(Path(name))
    except (XrArchiveError, OSError) as err:
        return Check("storage", False, True, str(err), fix)
    detail = "writes, renames and locks" if holds else "locks do not hold: two runs could write at once"
    return Check("storage", holds, True, detail, fix)


def _locks_hold(folder: Path) -> bool:
    write_bytes(folder / "probe", b"probe")
    with locked(folder):
        try:
            filelock.FileLock(folder / ".lock").acquire(timeout=0).lock.release()
        except filelock.Timeout:
            return True
    return False


def _token() -> Check:
    from huggingface_hub import get_token

    found = get_token() is not None
    fix = "Run `hf auth login`, or set HF_TOKEN, before publishing."
    return Check("hub token", found, False, "found" if found else "none", fix)


def _hub() -> Check:
    """Whether the Hub answers at all; what it answers is for publish to judge."""
    from huggingface_hub import constants

    fix = "Needed for publishing only: check the network, proxies and HF_ENDPOINT."
    if constants.HF_HUB_OFFLINE:
        return Check("hub", False, False, "HF_HUB_OFFLINE is set", "Unset HF_HUB_OFFLINE before publishing.")
    try:
        _ask_hub(constants.ENDPOINT)
    except Exception as err:  # whatever a proxy, a resolver or TLS may raise: a report is not the place to fail
        return Check("hub", False, False, f"{constants.ENDPOINT}: {type(err).__name__}", fix)
    return Check("hub", True, False, f"{constants.ENDPOINT} answers", fix)


def _ask_hub(endpoint: str) -> None:
    from huggingface_hub import get_session

    get_session().head(endpoint, timeout=HUB_TIMEOUT_S)
