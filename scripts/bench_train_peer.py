"""The other side of `bench_train.py`: pro-gan-pth in an environment of its own, told what to do by JSON lines.

Imports nothing of xrarchive. What is changed in the peer, all of it so that it runs on today's torch at all:

* torchvision and tensorboard, which its training steps do not use, are empty stand-ins;
* `EqualizedConvTranspose2d.forward` passes the argument that `_output_padding` has got since, `num_spatial_dims`;
* Adam's first beta is 0.0 instead of 0, which torch no longer takes.

Between two requests this process waits on a pipe and uses no processor.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

LEARNING_RATE, BATCH, AVERAGING, FADE_SHARE = 0.003, 16, 0.999, 0.5  # its defaults
_PROGRESS_S = 30.0
_FIRST_DEPTH = 2  # 4 px
# Seeded apart from what is drawn in training.
_SAMPLE_SEED = 1


def stand_in(name: str, **names: object) -> None:
    """Put an empty module where the peer imports something it does not use here."""
    module = types.ModuleType(name)
    module.__dict__.update(names)
    sys.modules[name] = module


stand_in("torchvision")
stand_in("torchvision.utils", save_image=None)
# Called while the peer is imported, and never again.
stand_in(
    "torchvision.transforms",
    **dict.fromkeys(("Compose", "RandomHorizontalFlip", "Resize", "ToTensor"), lambda *_: None),
)
stand_in("torch.utils.tensorboard", SummaryWriter=None)

from pro_gan_pytorch import custom_layers, networks  # type: ignore[import-not-found]  # noqa: E402
from pro_gan_pytorch.gan import ProGAN  # type: ignore[import-not-found]  # noqa: E402
from pro_gan_pytorch.losses import WganGP  # type: ignore[import-not-found]  # noqa: E402
from pro_gan_pytorch.utils import post_process_generated_images  # type: ignore[import-not-found]  # noqa: E402

_published_nf = networks.nf


def forward_transposed(self: Any, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
    """`EqualizedConvTranspose2d.forward` with the argument that is missing today."""
    padding = self._output_padding(x, output_size, self.stride, self.padding, self.kernel_size, num_spatial_dims=2)
    return torch.conv_transpose2d(
        input=x,
        weight=self.weight * self.scale,
        bias=self.bias,
        stride=self.stride,
        padding=self.padding,
        output_padding=padding,
        groups=self.groups,
        dilation=self.dilation,
    )


custom_layers.EqualizedConvTranspose2d.forward = forward_transposed


class Peer:
    """One ProGAN with its optimisers."""

    def __init__(self, px: int, latent_size: int, widths: list[int] | None, seed: int) -> None:
        networks.nf = (lambda stage: widths[stage - 1]) if widths else _published_nf
        torch.manual_seed(seed)
        self.depth = px.bit_length() - 1
        self.latent_size = latent_size
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its networks
            self.gan = ProGAN(
                networks.Generator(self.depth, 1, latent_size), networks.Discriminator(self.depth, 1, latent_size)
            )
        self.optimisers = [
            torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(0.0, 0.99), eps=1e-8)
            for network in (self.gan.dis, self.gan.gen)
        ]
        self.loss = WganGP()

    def step(self, real: torch.Tensor, depth: int, alpha: float) -> None:
        """One step of `ProGAN.train`: discriminator, average, generator."""
        noise = torch.randn(len(real), self.latent_size)
        self.gan.optimize_discriminator(self.loss, self.optimisers[0], noise, real, depth, alpha)
        custom_layers.update_average(self.gan.gen_shadow, self.gan.gen, beta=AVERAGING)
        self.gan.optimize_generator(self.loss, self.optimisers[1], noise, real, depth, alpha)

    def sample(self, latents: torch.Tensor) -> Any:
        """uint8 [N, px, px], by its own function."""
        with torch.no_grad():
            return post_process_generated_images(self.gan.gen_shadow(latents, self.depth, 1.0))[..., 0]


current: Peer | None = None


def hello(threads: int) -> dict[str, Any]:
    """Take as many threads as the other side."""
    torch.set_num_threads(threads)
    return {"torch": torch.__version__, "numpy": np.__version__, "threads": torch.get_num_threads()}


def open_networks(px: int, latent_size: int, widths: list[int] | None = None) -> dict[str, Any]:
    """Fresh networks for the timings; the ones before are dropped."""
    global current
    current = None
    current = Peer(px, latent_size, widths, seed=0)
    return {"parameters": sum(p.numel() for n in (current.gan.gen, current.gan.dis) for p in n.parameters())}


def train_step(batch: int, count: int = 1) -> dict[str, Any]:
    """Seconds of each of some steps at full resolution, on radiographs that are noise."""
    peer = require(current)
    real = torch.rand(batch, 1, 2**peer.depth, 2**peer.depth) * 2 - 1
    return {"seconds": [timed(lambda: peer.step(real, peer.depth, 1.0)) for _ in range(count)]}


def sample(batch: int) -> dict[str, Any]:
    """Seconds from latents to uint8 pixels."""
    peer = require(current)
    latents = torch.randn(batch, peer.latent_size)
    return {"seconds": timed(lambda: peer.sample(latents))}


def train(
    data: str, out: str, px: int, latent_size: int, widths: list[int], seconds: float, images: int
) -> dict[str, Any]:
    """Train for `seconds`, every stage with as many images as another, the last one until the time is over.

    Args:
        data: npy file, uint8 [N, px, px].
        out: Folder; gets networks.pt, and images.npy of seeded latents.
        px: Final resolution.
        latent_size: Z.
        widths: Channels at 4, 8, ... px.
        seconds: How long, measuring and sampling not counted.
        images: How many to make at the end.
    """
    planes = torch.from_numpy(np.load(data)).float()[:, None] / 127.5 - 1
    depths = range(_FIRST_DEPTH, px.bit_length())
    paces = [stage_seconds(planes, px, latent_size, widths, depth) for depth in depths]
    steps = max(1, int(seconds / sum(paces)))
    peer = Peer(px, latent_size, widths, seed=0)
    shown, order, started = {2**depth: 0 for depth in depths}, torch.empty(0, dtype=torch.int64), time.monotonic()
    told = started
    for depth in depths:
        fade_steps, step = int(steps * FADE_SHARE), 0
        while time.monotonic() - started < seconds and (step < steps or depth == depths[-1]):
            step += 1
            if len(order) < BATCH:
                order = torch.randperm(len(planes))
            chosen, order = order[:BATCH], order[BATCH:]
            peer.step(planes[chosen], depth, min(step / fade_steps, 1.0) if fade_steps else 1.0)
            shown[2**depth] += BATCH
            if time.monotonic() - told > _PROGRESS_S:
                told = time.monotonic()
                text = f"{2**depth} px, {sum(shown.values()):,} images, {told - started:.0f} of {seconds:.0f} s"
                print(f"  peer: {text}", file=sys.stderr, flush=True)
    took = time.monotonic() - started
    folder = Path(out)
    torch.save(peer.gan.get_save_info(peer.optimisers[1], peer.optimisers[0]), folder / "networks.pt")
    latents = torch.randn(images, latent_size, generator=torch.Generator().manual_seed(_SAMPLE_SEED))
    made = [peer.sample(part) for part in torch.split(latents, 64)]
    np.save(folder / "images.npy", np.concatenate(made))
    return {"nimg": sum(shown.values()), "shown": shown, "seconds": took, "step_seconds": paces}


def stage_seconds(planes: torch.Tensor, px: int, latent_size: int, widths: list[int], depth: int) -> float:
    """Seconds of a step at one depth, on networks that are thrown away."""
    peer = Peer(px, latent_size, widths, seed=0)
    peer.step(planes[:BATCH], depth, 0.5)
    return min(timed(lambda: peer.step(planes[:BATCH], depth, 0.5)) for _ in range(3))


def processor() -> dict[str, Any]:
    """Seconds of processor this process has used."""
    return {"seconds": time.process_time()}


def timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def require(peer: Peer | None) -> Peer:
    if peer is None:
        raise RuntimeError("open_networks comes first")
    return peer


REQUESTS = {f.__name__: f for f in (hello, open_networks, train_step, sample, train, processor)}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer prints must not look like an answer
    for line in sys.stdin:
        request = json.loads(line)
        answer = REQUESTS[request.pop("do")](**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
