"""Weight files: safetensors with one metadata entry, `xrarchive`, that says what the tensors are.

Nothing is unpickled. The sha256 of the file is the identity of the weights everywhere else. Left of the waist; torch is
imported where tensors are, so that a card can be written and a release planned without it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from safetensors import SafetensorError, safe_open

from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import atomic_path, sha256_file
from xrarchive.trained_films import FILMS, read_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FORMAT = 1
Module = TypeVar("Module", bound="nn.Module")
Kind = Literal["generator", "classifier", "reidentification"]
_KEY = "xrarchive"


@dataclass(frozen=True)
class Weights:
    """The content of a weight file.

    Attributes:
        path: Where it was read from.
        sha256: Of the whole file.
        meta: Settings, vocabulary, figures and origin, as written by the trainer.
        tensors: float32, by name.
    """

    path: Path
    sha256: str
    meta: dict[str, Any]
    tensors: dict[str, Tensor]


def save_weights(
    path: Path, tensors: Mapping[str, Tensor], *, kind: Kind, meta: Mapping[str, object], dtype: torch.dtype
) -> str:
    """Write a weight file atomically and return its sha256. Floating tensors are stored as `dtype`.

    Raises:
        InputDataError: If a tensor is not finite in that dtype.
        StorageError: If the disk refuses.
    """
    stored = {
        name: (tensor.detach().to(dtype) if tensor.is_floating_point() else tensor.detach()).contiguous().clone()
        for name, tensor in tensors.items()
    }
    require_finite(stored, path)
    header = json.dumps({"format": FORMAT, "kind": kind, **meta}, sort_keys=True, allow_nan=False)
    with atomic_path(path) as temporary:
        write_tensors(temporary, stored, {_KEY: header})
    return sha256_file(path)


def read_meta(path: Path, *, kind: Kind | None) -> dict[str, Any]:
    """The metadata of a weight file, of any kind if None, without its tensors. Raises as `load_weights` does."""
    try:
        with safe_open(path, framework="np") as stream:
            meta = json.loads((stream.metadata() or {}).get(_KEY, "null"))
    except FileNotFoundError as err:
        raise InputDataError(f"No weights at {path}.", fix="Check the path, or train them first.", path=path) from err
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, OSError) as err:
        raise DamageError(
            f"{path} is not a readable safetensors file: {err}.", fix="Get the file again.", path=path
        ) from err
    kinds = get_args(Kind) if kind is None else (kind,)
    if not isinstance(meta, dict) or meta.get("kind") not in kinds or meta.get("format") != FORMAT:
        found = (
            f"{meta.get('kind')!r}, format {meta.get('format')}" if isinstance(meta, dict) else "no xrarchive metadata"
        )
        raise InputDataError(
            f"{path}: expected weights of kind {' or '.join(map(repr, kinds))}, format {FORMAT}, found {found}.",
            fix=f"Give weights made by `xrarchive train {kind or 'generator'}`.",
            path=path,
        )
    return meta


def describe_weights(path: Path) -> dict[str, Any]:
    """What a weight file of any kind says of itself, and how large its networks are. Raises as `load_weights` does.

    Returns:
        `path`, `kind`, `role`, `sha256`, `settings`, `nimg`, `radiographs`, `terms`, `origin`, `figures`, `films`
        (how many different films a generator names as those it was trained on), and `networks`: for each its
        `parameters` (numbers, running statistics included), `bytes` and `dtypes`. None or empty = not recorded.
    """
    meta = read_meta(path, kind=None)
    networks: dict[str, dict[str, Any]] = {}
    with safe_open(path, framework="pt") as stream:
        for name in stream.keys():  # noqa: SIM118  (not a mapping)
            if name == FILMS:
                continue
            tensor = stream.get_tensor(name)
            network = name.partition(".")[0] if "." in name else "calibration"
            sizes = networks.setdefault(network, {"parameters": 0, "bytes": 0, "dtypes": []})
            sizes["parameters"] += tensor.numel()
            sizes["bytes"] += tensor.nbytes
            sizes["dtypes"] = sorted({*sizes["dtypes"], str(tensor.dtype).removeprefix("torch.")})
    names = read_names(path)
    said = {name: meta.get(name) for name in ("kind", "role", "settings", "nimg", "radiographs", "terms", "origin")}
    return {
        "path": path,
        "sha256": sha256_file(path),
        **said,
        "films": None if names is None else len(names),
        "figures": meta.get("figures", {}),
        "networks": networks,
    }


def load_weights(path: Path, *, kind: Kind) -> Weights:
    """Read a weight file whole; floating tensors come as float32.

    Raises:
        InputDataError: If it is missing, of another kind or format, or holds NaN or infinity.
        DamageError: If it is not a safetensors file.
    """
    meta = read_meta(path, kind=kind)
    with safe_open(path, framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  (not a mapping)
    require_finite(tensors, path)
    as_float = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return Weights(path, sha256_file(path), meta, as_float)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file.

    Raises:
        OSError: If the disk refuses; safetensors itself wraps that in an error of its own.
    """
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as err:
        code = re.search(r"\(os error (\d+)\)", str(err))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from err


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], *, path: Path) -> None:
    """Fill a module, refusing missing, surplus or misshapen tensors.

    Raises:
        InputDataError: Naming the file and the first difference.
    """
    try:
        module.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as err:
        raise InputDataError(
            f"{path}: the tensors do not fit the settings stored beside them: {str(err).splitlines()[-1].strip()}",
            fix="The file was edited or made by another version; train or download it again.",
            path=path,
        ) from err


def channels_last(module: Module) -> Module:
    """Lay a network's weights out as [O, H, W, I], the fast layout for small images; in place."""
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`{"a": t}` -> `{"prefix.a": t}`."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix`, with it taken off."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors with NaN or infinity.

    Raises:
        InputDataError: Naming the file and the first such tensor.
    """
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputDataError(
                f"{path}: the tensor {name!r} holds NaN or infinity.",
                fix="Use an earlier snapshot; these weights cannot make images.",
                path=path,
            )
