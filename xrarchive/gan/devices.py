"""Where a training computes: one process per device under torchrun, or one alone.

No wrapper around the networks (they grow, and penalties take gradients of gradients): after each backward pass the
gradients of all processes are averaged in one flat all-reduce, which carries the losses along.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from xrarchive.errors import RemoteError

Value = TypeVar("Value")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Devices:
    """This process's place among those that train together.

    Attributes:
        rank: This process, from 0; only 0 writes files.
        world: How many there are.
        device: Where this one computes.
        dtype: What convolutions compute in.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = _CPU
    dtype: torch.dtype = torch.float32

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """This process's consecutive part of a batch, on its device."""
        count = len(batch) // self.world
        return batch[self.rank * count : (self.rank + 1) * count].to(self.device)

    def agree(self, network: nn.Module, *figures: Tensor) -> tuple[float, ...]:
        """Average gradients and figures over all processes. A figure more says whether the gradients are finite.

        Returns:
            The figures, then the sum of the gradients' norms: NaN or infinite on all processes if it is on one.
        """
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        told = torch.stack([figure.detach().float() for figure in figures])
        if self.world > 1:
            flat = torch.cat([*(gradient.flatten() for gradient in gradients), told])
            with _lost_processes():
                dist.all_reduce(flat)
            flat /= self.world
            sizes = [gradient.numel() for gradient in gradients]
            *parts, told = torch.split(flat, [*sizes, len(told)])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))
        norms = torch.stack(torch._foreach_norm(gradients)).sum()
        return tuple(torch.cat([told, norms[None].float()]).tolist())

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on any process."""
        if self.world == 1:
            return flag
        told = torch.tensor([float(flag)], device=self.device)
        with _lost_processes():
            dist.all_reduce(told)
        return bool(told.item())

    def tell(self, value: Value | None) -> Value:
        """The first process's `value`, on every process."""
        if self.world == 1:
            return value  # type: ignore[return-value]
        holder = [value]
        with _lost_processes():
            dist.broadcast_object_list(holder, src=0, device=self.device if self.device.type == "cuda" else None)
        return holder[0]  # type: ignore[return-value]

    def gather(self, value: Value) -> list[Value]:
        """Every process's `value`, in their order, on every process."""
        if self.world == 1:
            return [value]
        found: list[Value | None] = [None] * self.world
        with _lost_processes():
            dist.all_gather_object(found, value)
        return found  # type: ignore[return-value]

    def same_weights(self, *networks: nn.Module) -> bool:
        """Whether all processes hold the same weights, by their sha256."""
        if self.world == 1:
            return True
        digest = hashlib.sha256()
        for network in networks:
            for parameter in network.parameters():
                digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
        return len(set(self.gather(digest.hexdigest()))) == 1


@contextmanager
def _lost_processes() -> Iterator[None]:
    """An exchange that fails says so in words; torch raises a bare RuntimeError.

    Raises:
        RemoteError: If another process is gone, or did not answer in time.
    """
    try:
        yield
    except RuntimeError as err:
        raise RemoteError(
            f"Another process of this torchrun died or did not answer in time: {str(err).splitlines()[0]}",
            fix="See what that process said; then run the same command again, it goes on from the newest checkpoint. "
            "torchrun does so itself with --max-restarts 3.",
        ) from err


@contextmanager
def open_devices(*, timeout_s: float) -> Iterator[Devices]:
    """Join the other processes of a torchrun, or stand alone.

    Args:
        timeout_s: How long to wait for the others in one exchange before giving up: a process that died or froze ends
            the job instead of hanging it.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if world > 1:
        # Imported later (an optimizer does), its default arguments would hold the group beyond its end, and a gloo
        # thread left over at exit may abort the process (pytorch#190489).
        importlib.import_module("torch.distributed.nn.functional")
        timeout = datetime.timedelta(seconds=timeout_s)
        with _lost_processes():
            store = _fresh_store(timeout)
            place: dict[str, Any] = {"store": store, "rank": rank, "world_size": world} if store else {}
            dist.init_process_group("nccl" if cuda else "gloo", timeout=timeout, **place)
    try:
        yield Devices(rank, world, device)
    finally:
        if world > 1:
            dist.destroy_process_group()


def _fresh_store(timeout: datetime.timedelta) -> Any:
    """A place of its own to meet at for each start by a torchrun on one machine; None where it is not needed or known.

    torchrun keeps one store through its restarts, where a process finds the address of one that died, tries that until
    the timeout and fails (pytorch#135712). On many machines their counts of restarts differ, so that it must be told:
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, as scripts/train.slurm does.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or os.environ.get("GROUP_WORLD_SIZE") != "1":
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, is_master=False, timeout=timeout)  # type: ignore[attr-defined]
    start = f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}"
    return dist.PrefixStore(start, store)  # type: ignore[attr-defined]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are fast on this device."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def with_precision(devices: Devices, precision: str) -> Devices:
    """The devices computing in `precision`, "float32" or "bfloat16"."""
    return replace(devices, dtype=getattr(torch, precision))
