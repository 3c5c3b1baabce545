"""The process that opens somebody's pickle: `python child.py KIND FOLDER < CHECKPOINT`. Imports nothing of xrarchive.

In: the checkpoint as standard input. Out: FOLDER/tensors.safetensors with the generator's tensors and, as its metadata
entry `facts`, what the file says of them; or, with exit code 3, a JSON object on standard output that says why not.

What holds where:

* everywhere: `torch.load(weights_only=True)`, which builds tensors and plain containers and looks up no other name
  (for whole models in torch's old format, which it does not read, `Unpickler` below, which does no more);
  a stripped environment (by pickles.py); and an audit hook, set before the file is touched and impossible to take
  away, that refuses sockets, processes, ctypes, and writing, moving or removing any file from Python.
* Linux and macOS: limits on processor seconds, core dumps and the size of files.
* Linux: a limit on memory; and, where the kernel allows namespaces to ordinary users, a network namespace with no
  interface in it, which also holds against native code. Containers often forbid it; then the hook stands alone.

Nothing here is a sandbox for native code: were torch's reader itself broken, only the namespace and limits would hold.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import re
import sys
import types
import warnings
from typing import Any, NoReturn

try:
    import resource
except ImportError:  # no limits on this system
    resource = None  # type: ignore[assignment]

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_CPU_S = 600
# What a checkpoint may make of its size: all of it as tensors, once more as float32, and the pickle's own objects.
_MEMORY_TIMES, _MEMORY_MORE_BYTES = 6, 1 << 30
_FILE_TIMES, _FILE_MORE_BYTES = 4, 1 << 24
_MAX_LISTED = 64
_REFUSED_EVENTS = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pty.",
    "ctypes.",
    "os.chmod",
    "os.chown",
    "os.kill",
    "os.link",
    "os.mkdir",
    "os.putenv",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "shutil.",
)
# The class that pytorch_GAN_zoo pickles its configuration as.
_CONFIG = "models.utils.config.BaseConfig"


# The classes a whole pickled DenseNet of torchxrayvision is made of. None is ever looked up: `_Module` stands in.
_MODULES = (
    *(f"torchxrayvision.models.{name}" for name in ("DenseNet", "_DenseBlock", "_DenseLayer", "_Transition")),
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.pooling.AvgPool2d",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.backends.thnn._get_thnn_function_backend",  # in files of torch before 1.5
)
# What else such a file names, besides storages; torch looks those up itself.
_BUILDERS = (
    "collections.OrderedDict",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
)
_SETS = ("__builtin__.set", "builtins.set")
_ZIP = b"PK\x03\x04"


class RefusedError(Exception):
    """The checkpoint is not one of this kind, or not one to open."""


class _Config:
    """Stands in for pytorch_GAN_zoo's `BaseConfig`: attributes and nothing else."""


class _Module:
    """Stands in for a module of torch or torchxrayvision: attributes and nothing else."""

    dump_patches = False  # asked for where a file of torch before 1.6 brings a module's source


class Unpickler(pickle.Unpickler):
    """Reads whole models of torch before 1.6, to which `weights_only` is closed: they name modules beside storages.

    As there, a name is looked up only if it builds a tensor or a plain container; modules become stand-ins.
    """

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for.

        Raises:
            RefusedError: If it is none of those.
        """
        full = f"{module}.{name}"
        if full in _MODULES:
            return _Module
        if full in _SETS:
            return set
        if full in _BUILDERS:
            return super().find_class(module, name)
        raise RefusedError(f"its pickle names {full}, which is neither a tensor nor a plain container")


def leave_network() -> bool:
    """Move this process to a network namespace without interfaces; False where that is not allowed."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return any(libc.unshare(flags) == 0 for flags in (_CLONE_NEWUSER | _CLONE_NEWNET, _CLONE_NEWNET))


def limit(size_bytes: int) -> None:
    """Limit processor seconds, core dumps, file sizes and, where it can be known, memory beyond what is in use."""
    if resource is None:
        return
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: _CPU_S,
        resource.RLIMIT_FSIZE: _FILE_TIMES * size_bytes + _FILE_MORE_BYTES,
    }
    try:
        with open("/proc/self/statm") as stream:  # noqa: PTH123  (nothing is imported here that is not needed)
            pages = int(stream.read().split()[0])
    except OSError:
        pass
    else:
        used = pages * resource.getpagesize()
        wanted[resource.RLIMIT_AS] = used + _MEMORY_TIMES * size_bytes + _MEMORY_MORE_BYTES
    for name, value in wanted.items():
        _, hard = resource.getrlimit(name)
        lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (lower, lower))


def refuse_event(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: refuse what reading a checkpoint never needs."""
    if event.startswith(_REFUSED_EVENTS):
        raise RefusedError(f"it led to the forbidden {event}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise RefusedError("it led to a file being written")


def choose(kind: str, loaded: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The network in a checkpoint: where it stood, its state dict, and what the file says of it.

    Averaged weights are taken where there are some.

    Raises:
        RefusedError: If the checkpoint has another layout.
    """
    if kind == "xrv" and isinstance(loaded, _Module):
        return "model", state_of(loaded, "", set()), {}
    if not isinstance(loaded, dict):
        raise RefusedError(f"it holds a {type(loaded).__name__}, a dictionary was expected")
    if kind == "gan-zoo":
        for name in ("avgG", "netG"):
            if isinstance(loaded.get(name), dict):
                config = loaded.get("config")
                return name, loaded[name], dict(vars(config)) if isinstance(config, _Config) else {}
    elif kind == "pro-gan-pth":
        for name in ("shadow_generator", "generator"):
            part = loaded.get(name)
            if isinstance(part, dict) and isinstance(part.get("state_dict"), dict):
                return name, part["state_dict"], entries(part.get("conf"))
    elif kind == "xrv":
        state = entries(loaded.get("state_dict", loaded))
        if "classifier.weight" in state:
            return "state_dict", state, {}
    else:
        state = loaded.get("state_dict", loaded)
        names = [name for name in state if isinstance(name, str)] if isinstance(state, dict) else []
        for prefix in ("gen_shadow.", "generator.", ""):
            if f"{prefix}latent_linear.0.module.weight" in names:
                found = {name.removeprefix(prefix): state[name] for name in names if name.startswith(prefix)}
                counted: dict[str, Any] = {name: state[name] for name in ("alpha", "num_images_seen") if name in names}
                stated = {} if state is loaded else entries(loaded.get("settings"))
                return prefix.rstrip(".") or "generator", found, {**counted, **stated}
    raise RefusedError(f"its entries are {', '.join(sorted(map(str, loaded))[:8]) or 'none'}, which is another layout")


def state_of(module: _Module, prefix: str, seen: set[int]) -> dict[str, Any]:
    """The parameters and buffers of a pickled module by the names its state dict would give them.

    Raises:
        RefusedError: If a module stands in two places, as in no model of that kind, so that this might never end.
    """
    if id(module) in seen:
        raise RefusedError(f"its module {prefix.rstrip('.')} stands in more than one place")
    seen.add(id(module))
    parts = vars(module)
    own = {**entries(parts.get("_parameters")), **entries(parts.get("_buffers"))}
    state = {f"{prefix}{name}": value for name, value in own.items() if value is not None}
    for name, part in entries(parts.get("_modules")).items():
        if isinstance(part, _Module):
            state |= state_of(part, f"{prefix}{name}.", seen)
    return state


def entries(value: Any) -> dict[str, Any]:
    """A dictionary as it is; anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def plain(value: Any) -> Any:
    """A fact as JSON: numbers, text, lists and dictionaries of them; anything else as the name of its type."""
    if hasattr(value, "item") and hasattr(value, "numel") and value.numel() == 1:
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value[:_MAX_LISTED]]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in list(value.items())[:_MAX_LISTED]}
    return type(value).__name__


def split(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A state dict as tensors to keep, float32 and apart from one another, and single numbers.

    Raises:
        RefusedError: If something in it is not a dense tensor.
    """
    import torch

    tensors, numbers = {}, {}
    for name, value in state.items():
        dense = isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_quantized
        if not dense or value.device.type != "cpu":
            raise RefusedError(f"{name!r} in its state is not a plain tensor")
        if value.dim() == 0:
            numbers[str(name)] = value
        else:
            tensors[str(name)] = value.detach().to(torch.float32).contiguous().clone()
    return tensors, numbers


def load(kind: str, stream: Any) -> Any:
    """What the pickle holds, as far as it is made of tensors and plain containers.

    Raises:
        RefusedError: If it names anything else, or cannot be read.
    """
    import torch

    stand_ins: dict[str, list[Any]] = {
        "gan-zoo": [(_Config, _CONFIG)],
        "xrv": [(_Module, name) for name in _MODULES],
    }
    try:
        with torch.serialization.safe_globals(stand_ins.get(kind, [])), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stand-in has not the source of the class it stands for
            if kind == "xrv" and not _is_zip(stream):
                return torch.load(stream, map_location="cpu", weights_only=False, pickle_module=_restricted_pickle())
            return torch.load(stream, map_location="cpu", weights_only=True)
    except RefusedError:
        raise
    except MemoryError:
        raise RefusedError("it needs far more memory than a file of its size should") from None
    except Exception as err:
        named = re.search(r"GLOBAL (\S+)", str(err))
        if named:
            raise RefusedError(
                f"its pickle names {named[1]}, which is neither a tensor nor a plain container"
            ) from None
        raise RefusedError(f"it cannot be read as a checkpoint ({str(err).strip().splitlines()[0][:200]})") from None


def _restricted_pickle() -> types.ModuleType:
    """What torch asks of a pickle module, with `Unpickler` for every part of the file."""
    module = types.ModuleType("restricted_pickle")
    vars(module).update(Unpickler=Unpickler, load=lambda stream, **how: Unpickler(stream, **how).load())
    return module


def _is_zip(stream: Any) -> bool:
    start = stream.read(len(_ZIP))
    stream.seek(0)
    return bool(start == _ZIP)


def main(kind: str, folder: str) -> None:
    """Give up what is not needed, then open standard input and leave its generator in `folder`."""
    apart = leave_network()  # before torch starts threads, with which it would be refused
    import safetensors.torch  # noqa: F401  (before the limits and the hook)

    limit(os.fstat(0).st_size)
    sys.addaudithook(refuse_event)
    extract(kind, os.fdopen(0, "rb"), folder, apart=apart)


def extract(kind: str, stream: Any, folder: str, *, apart: bool) -> None:
    """Leave the generator of the checkpoint in `stream` in `folder`.

    Raises:
        RefusedError: If it is not one of this kind, or not one to open.
    """
    from safetensors.torch import save_file

    network, state, stated = choose(kind, load(kind, stream))
    tensors, numbers = split(state)
    facts = {"network": network, "apart": apart, "stated": plain(stated), "numbers": plain(numbers)}
    save_file(tensors, os.path.join(folder, "tensors.safetensors"), {"facts": json.dumps(facts)})  # noqa: PTH118


def _refuse(reason: str) -> NoReturn:
    os.write(1, json.dumps({"reason": reason}).encode())
    os._exit(3)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RefusedError as refused:
        _refuse(str(refused))
