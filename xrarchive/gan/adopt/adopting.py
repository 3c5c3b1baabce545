"""A checkpoint of other people's code to a snapshot of ours that gives the same images.

What our networks cannot say is refused: an image half faded in, other widths than a maximum and halving, other
activations. The discriminator stays behind: theirs average, activate and compare batches differently, so that its
weights would be another function here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xrarchive.errors import InputDataError, PlanChangedError
from xrarchive.gan.adopt.layouts import LAYOUTS, Kind, Layout, PlainGenerator, PlainLayer, read_generator, trained_part
from xrarchive.gan.adopt.pickles import Opened, open_checkpoint
from xrarchive.gan.layers import EqualConv2d, EqualLinear
from xrarchive.gan.networks import Generator
from xrarchive.gan.settings import BASE_PX, RESOLUTIONS_PX, GeneratorSettings
from xrarchive.gan.snapshots import save_snapshot
from xrarchive.terms import require_terms
from xrarchive.weights import require_finite


@dataclass(frozen=True)
class AdoptionReport:
    """What was imported.

    Attributes:
        out: The snapshot.
        sha256: Its identity.
        kind: Whose checkpoint it was.
        network: Where in the checkpoint the weights stood: averaged ones, if it has some.
        source_sha256: Of the checkpoint.
        resolution: px.
        channels: Of its images.
        latent_size: Z.
        widths: Channels at 4, 8, 16 ... px.
        nimg: Images shown in training, 0 = not known.
    """

    out: Path
    sha256: str
    kind: str
    network: str
    source_sha256: str
    resolution: int
    channels: int
    latent_size: int
    widths: tuple[int, ...]
    nimg: int


def adopt_weights(
    path: Path,
    out: Path,
    *,
    kind: Kind,
    grey: bool = False,
    sha256: str | None = None,
    terms: Sequence[str] = (),
) -> AdoptionReport:
    """Turn a checkpoint into a snapshot, float32, whose images are those of the original in [-1, 1].

    Args:
        path: The checkpoint, a pickle.
        out: The snapshot to write.
        kind: Whose code wrote it.
        grey: Whether three channels become one, their mean.
        sha256: What the checkpoint's must be; None = any.
        terms: Names of the terms its radiographs came under (`xrarchive.terms`), carried into every archive.

    Raises:
        SettingsError: If terms are unknown.
        InputDataError: If the checkpoint cannot be read safely, or holds a generator that ours cannot be.
        PlanChangedError: If there is a file at `out`.
        StorageError: If the disk refuses.
    """
    if out.exists():
        raise PlanChangedError(f"{out} is there already.", fix="Give another --out, or remove it.", path=out)
    named = [item.name for item in require_terms(terms)]
    layout = LAYOUTS[kind]
    opened = open_checkpoint(path, kind=kind, sha256=sha256)
    require_finite(opened.tensors, path)
    _require_same_function(opened, layout, path)
    equalised = opened.stated.get(layout.equalised, True) is not False
    plain = read_generator(opened.tensors, layout, equalised=equalised, path=path)
    plain = trained_part(plain) if kind == "pro-gan-pth" else plain
    plain = _with_images(plain, black=layout.black, grey=grey)
    settings = _settings(plain, layout, path)
    nimg = _nimg(opened.stated)
    origin = {
        "kind": kind,
        "file": path.name,
        "sha256": opened.sha256,
        "network": opened.network,
        "range": [layout.black, 1.0],
        "folded_to_grey": grey,
    }
    described = {"origin": origin, "terms": named}
    made = save_snapshot(out, _generator(plain, settings), None, nimg=nimg, origin=described, dtype=torch.float32)
    return AdoptionReport(
        out=out,
        sha256=made,
        kind=kind,
        network=opened.network,
        source_sha256=opened.sha256,
        resolution=settings.resolution,
        channels=settings.channels,
        latent_size=settings.latent_size,
        widths=tuple(plain.widths),
        nimg=nimg,
    )


def fit_widths(widths: Sequence[int]) -> tuple[int, int] | None:
    """`width_max` and `width_base` for which min(width_max, width_base // px) is `widths` at 4, 8, 16 ... px.

    None if there are none. Of several bases it is the smallest, which for the published widths is the published one.
    """
    most = max(widths)
    sizes = [(width, BASE_PX << level) for level, width in enumerate(widths)]
    least = max(width * px for width, px in sizes if width > 1 or most == 1)
    fits = all(max(1, min(most, least // px)) == width for width, px in sizes)
    return (most, least) if fits else None


def _require_same_function(opened: Opened, layout: Layout, path: Path) -> None:
    stated = opened.stated
    alphas = [source.get("alpha") for source in (stated, opened.numbers)]
    alpha = max((float(value) for value in alphas if isinstance(value, int | float)), default=0.0)
    if alpha > 0:
        raise InputDataError(
            f"{path} was saved while its last resolution faded in ({100 * (1 - alpha):.0f} % of the way): its images "
            "are a mixture of two, which no snapshot holds.",
            fix="Give a checkpoint from before or after that fade.",
            path=path,
        )
    for name, values in layout.expected.items():
        found = stated.get(name)
        if name in stated and found not in values and not _close(found, values):
            raise InputDataError(
                f"{path}: its {name} is {found!r}, expected {' or '.join(map(repr, values))}; with any other our "
                "generator would make other images.",
                fix="Such networks cannot be imported.",
                path=path,
            )


def _close(found: Any, values: tuple[object, ...]) -> bool:
    numbers = [value for value in values if isinstance(value, float)]
    return isinstance(found, float) and any(math.isclose(found, value, rel_tol=1e-6) for value in numbers)


def _with_images(plain: PlainGenerator, *, black: float, grey: bool) -> PlainGenerator:
    """Images in [-1, 1] instead of [`black`, 1], and in one channel if `grey`: both linear, so weights can."""
    scale = 2 / (1 - black)
    to_image = [PlainLayer(layer.weight * scale, (layer.bias - black) * scale - 1) for layer in plain.to_image]
    if grey:
        to_image = [
            PlainLayer(layer.weight.mean(dim=0, keepdim=True), layer.bias.mean(dim=0, keepdim=True))
            for layer in to_image
        ]
    return PlainGenerator(plain.dense, plain.conv, plain.blocks, to_image)


def _settings(plain: PlainGenerator, layout: Layout, path: Path) -> GeneratorSettings:
    """Settings whose generator has these layers; what only training needs stays at its defaults."""
    px, channels = BASE_PX << len(plain.blocks), plain.to_image[0].weight.shape[0]
    if px not in RESOLUTIONS_PX or channels not in (1, 3):
        raise InputDataError(
            f"{path} makes {px} px images in {channels} channels, expected one of {RESOLUTIONS_PX} px in 1 or 3.",
            fix="Give a checkpoint that grew further, of a generator of grey or colour images.",
            path=path,
        )
    fitted = fit_widths(plain.widths)
    if fitted is None:
        raise InputDataError(
            f"{path} has {', '.join(map(str, plain.widths))} channels at 4, 8 ... {px} px, expected widths that stay "
            "at their maximum and then halve with every resolution.",
            fix="Such networks cannot be imported.",
            path=path,
        )
    return GeneratorSettings(
        resolution=px,
        channels=channels,  # type: ignore[arg-type]  # checked above
        start_px=BASE_PX,
        latent_size=plain.dense.weight.shape[1],
        width_max=fitted[0],
        width_base=fitted[1],
        dense_norm=layout.dense_norm,
    )


def _generator(plain: PlainGenerator, settings: GeneratorSettings) -> Generator:
    generator = Generator(settings)
    _fill(generator.dense, plain.dense)
    _fill(generator.conv, plain.conv)
    for block, (first, second) in zip(generator.blocks, plain.blocks, strict=True):
        _fill(block.first, first)  # type: ignore[arg-type]  # nn.ModuleList forgets what it holds
        _fill(block.second, second)  # type: ignore[arg-type]
    for ours, theirs in zip(generator.to_image, plain.to_image, strict=True):
        _fill(ours, theirs)  # type: ignore[arg-type]
    return generator


def _fill(layer: EqualConv2d | EqualLinear, plain: PlainLayer) -> None:
    """Store what gives the plain weight after our scaling at run time."""
    with torch.no_grad():
        layer.weight.copy_(plain.weight / layer.scale)
        layer.bias.copy_(plain.bias)


def _nimg(stated: Mapping[str, Any]) -> int:
    found = stated.get("num_images_seen", 0)
    return int(found) if isinstance(found, int | float) and found > 0 else 0
