"""Tensors out of a pickle that is not trusted: a child process opens it, this one only reads what that wrote."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from xrarchive.errors import InputDataError

_CHILD = Path(__file__).with_name("child.py")
_TIMEOUT_S = 900
_BLOCK_BYTES = 1 << 20
# All that the child is told of this process's environment: no token, no key, no proxy, no home.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """What a checkpoint holds of a generator.

    Attributes:
        sha256: Of the checkpoint.
        network: Where in the file the generator stood.
        tensors: float32, by their names there.
        stated: What the file says of the generator: settings, counters.
        numbers: Single numbers among the tensors.
    """

    sha256: str
    network: str
    tensors: dict[str, Tensor]
    stated: dict[str, Any]
    numbers: dict[str, float]


def open_checkpoint(path: Path, *, kind: str, sha256: str | None = None) -> Opened:
    """Read the generator out of a pickled checkpoint, without running anything it asks for.

    Raises:
        InputDataError: If the file is missing, has another sha256, cannot be read, names anything that is neither a
            tensor nor a plain container (saying which), or is of another kind.
    """
    try:
        stream = path.open("rb")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as err:
        raise InputDataError(f"No checkpoint to read at {path}.", fix="Check the path.", path=path) from err
    with stream, tempfile.TemporaryDirectory(prefix="xrarchive-adopt-") as folder:
        found = _sha256(stream)
        if sha256 is not None and found != sha256.lower():
            raise InputDataError(
                f"{path} has the sha256 {found}, expected {sha256.lower()}.",
                fix="Get the file again, and the sha256 from whoever published it.",
                path=path,
            )
        _run_child(path, stream, kind, folder)
        tensors, facts = _read(path, Path(folder) / "tensors.safetensors")
    if not facts["apart"]:
        logger.info("no network namespace here: the process that opened %s was kept offline by its hook alone", path)
    return Opened(found, facts["network"], tensors, facts["stated"], facts["numbers"])


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
    stream.seek(0)
    return digest.hexdigest()


def _run_child(path: Path, stream: IO[bytes], kind: str, folder: str) -> None:
    """Let a child process open `stream` and write to `folder`; its descriptor starts at the file's beginning."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment = {
        **passed_on,
        "HOME": folder,
        "TMPDIR": folder,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # wherever this process finds torch
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-B", "-P", "-s", str(_CHILD), kind, folder]
    try:
        os.lseek(stream.fileno(), 0, os.SEEK_SET)
        done = subprocess.run(
            command, stdin=stream, capture_output=True, env=environment, cwd=folder, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise _refused(path, kind, f"opening it took longer than {_TIMEOUT_S} s") from err
    if done.returncode == 3:
        raise _refused(path, kind, json.loads(done.stdout)["reason"])
    if done.returncode:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
        raise _refused(path, kind, f"the process that opened it ended with {done.returncode}: {last[:300]}")


def _read(path: Path, written: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(written, framework="pt") as stream:
            facts = json.loads(stream.metadata()["facts"])
            return {name: stream.get_tensor(name) for name in stream.keys()}, facts  # noqa: SIM118  (not a mapping)
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as err:
        raise InputDataError(
            f"{path}: the process that opened it left no readable tensors: {err}.",
            fix="Run the command again; if it happens again, the file cannot be trusted.",
            path=path,
        ) from err


def _refused(path: Path, kind: str, reason: str) -> InputDataError:
    return InputDataError(
        f"{path} was not imported as {kind}: {reason}. Nothing in it was run.",
        fix="Check --kind, get the file again, or have its owner save plain state dicts.",
        path=path,
    )
