"""How fast fidelity is measured, beside pytorch-fid 0.3 and torchmetrics: prints a table, then one JSON object.

.venv/bin/pip install pytorch-fid==0.3.0 torchmetrics    # for this script only: they pull in torchvision
.venv/bin/python scripts/bench_validate_fidelity.py --radiographs SET

1. Fréchet distance and KID between two halves of --images radiographs in the space `imagenet`: all three get the same
   images and the same network with the same preparation, on as many threads; the peers as its package gives it, in
   batches of 50, we as we lay it out. pytorch-fid has no KID and reads files, as it always does; torchmetrics shares
   features between both measures, and takes its KID over all pairs. With --our-layout the peers get ours.
2. The same again with features found in the cache.
3. Fréchet distance from means and covariances in --dim dimensions, beside `scipy.linalg.sqrtm` of their product.

Times are of the clock and, since other work may run, of the processors (without pytorch-fid's reading process).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from PIL import Image
from torch import Tensor, nn

from xrarchive.features import FEATURE_COUNT, extract_features
from xrarchive.features.cache import FeatureCache
from xrarchive.features.imagenet import CHANNEL_MEANS, CHANNEL_STDS, INPUT_PX, imagenet_space, read_network
from xrarchive.features.space import Network, Space, in_three_channels, resize, torch_network
from xrarchive.kernel import kernel_distance
from xrarchive.pixels import Pixels
from xrarchive.radiographs import open_set
from xrarchive.validation.frechet import fit_gaussian, frechet_distance, gaussian_distance

PEER_BATCH = 50  # pytorch-fid's default


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--radiographs", type=Path, required=True, help="a radiograph set with --images films")
    parser.add_argument("--images", type=int, default=5_200, help="radiographs, half on either side [default: 5200]")
    parser.add_argument("--our-layout", action="store_true", help="give the peers the network as we lay it out")
    parser.add_argument("--dim", type=int, default=2_048, help="dimensions of the third part [default: 2048]")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="[default: all cores]")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    films = np.asarray(open_set(arguments.radiographs).pixels[: arguments.images])
    result = {
        "machine": {"processor": platform.processor() or platform.machine(), "threads": arguments.threads},
        "versions": {name: version_of(name) for name in ("numpy", "scipy", "torch", "pytorch-fid", "torchmetrics")},
        "images": bench_images(films[::2], films[1::2], arguments.threads, our_layout=arguments.our_layout),
        "statistics": bench_statistics(arguments.dim),
    }
    print(json.dumps(result, indent=2))
    return 0


def bench_images(first: Pixels, second: Pixels, threads: int, *, our_layout: bool) -> dict[str, Any]:
    """Seconds and numbers of each tool, how often as fast we are, and how far numbers lie apart."""
    space, found = imagenet_space(), {}
    network = space.load() if our_layout else as_packaged()
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder) / "cache")
        tools: dict[str, Callable[[], dict[str, float]]] = {
            "xrarchive": lambda: ours(space, first, second, threads, cache),
            "xrarchive again": lambda: ours(space, first, second, threads, cache),
        }
        if version_of("torchmetrics"):
            tools["torchmetrics"] = lambda: torchmetrics(network, first, second)
        if version_of("pytorch-fid"):
            files = [write_files(Path(folder) / side, films) for side, films in (("a", first), ("b", second))]
            tools["pytorch-fid"] = lambda: pytorch_fid(network, *files)
        for name, tool in tools.items():
            found[name] = timed(tool)
            print(f"{name:16} {found[name]['s']:8.1f} s {found[name]['cpu_s']:8.1f} s of processors  {found[name]}")
    own = found["xrarchive"]
    for name, other in found.items():
        other["times_as_slow"] = round(other["s"] / own["s"], 3)
        other["times_as_slow_cpu"] = round(other["cpu_s"] / own["cpu_s"], 3)
        other["apart"] = {key: abs(other[key] / own[key] - 1) for key in ("frechet", "kid") if key in other}
        print(f"{name:16} {other['times_as_slow']:8} times as slow, numbers apart by {other['apart']}")
    return {"n": len(first), "n_real": len(second), "tools": found}


def ours(space: Space, first: Pixels, second: Pixels, threads: int, cache: FeatureCache) -> dict[str, float]:
    sides = [extract_features(space, films, workers=threads, cache=cache) for films in (first, second)]
    return {"frechet": frechet_distance(*sides), "kid": kernel_distance(*sides)}


class Plugged(nn.Module):
    """The network of a space as the peers take one: RGB images in, features out."""

    num_features = FEATURE_COUNT

    def __init__(self, network: Network, *, scale: float, square: bool) -> None:
        super().__init__()
        self.network, self.scale, self.square = network, scale, square

    def forward(self, images: Tensor) -> Any:
        """RGB [B, 3, H, H] in 0..255 / scale -> features [B, D], or as pytorch-fid has them."""
        grey = (images[:, 0].float() * self.scale).round().to(torch.uint8)
        features = torch.from_numpy(self.network(grey.numpy()))
        return [features[:, :, None, None]] if self.square else features


def as_packaged() -> Network:
    """The network of `imagenet` with its preparation, but in the layout torch has by default."""
    network = read_network(INPUT_PX)

    def prepare(pixels: Tensor) -> Tensor:
        return in_three_channels(resize(pixels, INPUT_PX, "bicubic"), CHANNEL_MEANS, CHANNEL_STDS).contiguous()

    return torch_network(lambda images: network.extract_features(images).mean(dim=(2, 3)), prepare)


def torchmetrics(network: Network, first: Pixels, second: Pixels) -> dict[str, float]:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance
    from torchmetrics.wrappers import FeatureShare

    plugged = Plugged(network, scale=1, square=False)
    fid, kid = FrechetInceptionDistance(plugged), KernelInceptionDistance(plugged, subsets=1, subset_size=len(first))
    both = FeatureShare([fid, kid])
    for films, real in ((first, False), (second, True)):
        for start in range(0, len(films), PEER_BATCH):
            batch = torch.from_numpy(films[start : start + PEER_BATCH])[:, None].repeat(1, 3, 1, 1)
            both.update(batch, real=real)
    found = both.compute()
    return {"frechet": float(found["FrechetInceptionDistance"]), "kid": float(found["KernelInceptionDistance"][0])}


def pytorch_fid(network: Network, first: list[Path], second: list[Path]) -> dict[str, float]:
    from pytorch_fid import fid_score

    plugged = Plugged(network, scale=255, square=True)
    sides = [
        fid_score.calculate_activation_statistics(files, plugged, PEER_BATCH, FEATURE_COUNT, "cpu", 1)
        for files in (first, second)
    ]
    with warnings.catch_warnings():  # it was written for an older scipy
        warnings.simplefilter("ignore")
        return {"frechet": float(fid_score.calculate_frechet_distance(*sides[0], *sides[1]))}


def bench_statistics(dim: int) -> dict[str, Any]:
    """Seconds and numbers of both ways from two means and covariances to a Fréchet distance."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(dim, dim)) / np.sqrt(np.arange(1, dim + 1))
    sides = [fit_gaussian(rng.normal(size=(2 * dim + 1, dim)) @ mixing * scale) for scale in (1, 1.05)]

    def by_root() -> dict[str, float]:
        shift = sides[0].mean - sides[1].mean
        root = scipy.linalg.sqrtm(sides[0].covariance @ sides[1].covariance)
        trace = np.trace(sides[0].covariance + sides[1].covariance - 2 * root.real)
        return {"frechet": float(shift @ shift + trace)}

    own, other = timed(lambda: {"frechet": gaussian_distance(*sides)}), timed(by_root)
    times = {"times_as_slow": other["s"] / own["s"], "times_as_slow_cpu": other["cpu_s"] / own["cpu_s"]}
    apart = abs(other["frechet"] / own["frechet"] - 1)
    print(f"{dim} dimensions: {own['s']:.1f} s, sqrtm {other['s']:.1f} s, {times}, apart by {apart:.1e}")
    return {"dim": dim, "xrarchive": own, "sqrtm": other, **times, "apart": apart}


def timed(work: Callable[[], dict[str, float]]) -> dict[str, float]:
    clock, processors = time.perf_counter(), time.process_time()
    found = work()
    return {**found, "s": time.perf_counter() - clock, "cpu_s": time.process_time() - processors}


def write_files(folder: Path, films: Pixels) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{row:06}.png" for row in range(len(films))]
    for path, film in zip(paths, films, strict=True):
        Image.fromarray(film).save(path)
    return paths


def version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
