"""DINOv2 networks through transformers: `dinov2`, trained on photographs, and `rad-dino`, on chest radiographs.

Weights come from the cache of the Hub's client at a pinned revision, or from a folder in the Hub's layout; nothing is
fetched here. Needs the extra: pip install "xrarchive[dino]".

The feature is the class token after the last norm, as in dgm-eval and CheXGenBench. Side, means and deviations are
those of the folder's preprocessor_config.json; square images are resized to that side as a whole, where DINOv2's own
recipe for photographs would cut off a border. RAD-DINO's side is 518 px: a benchmark that squeezes images to 299 px
before it (CheXGenBench does) reports another number.

Source: Oquab et al. 2023 (arXiv 2304.07193); Pérez-García et al. 2024 (arXiv 2401.10815).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from xrarchive.errors import InputDataError
from xrarchive.features.space import Means, Network, Space, in_three_channels, resize, torch_network
from xrarchive.files import read_json, sha256_file

DINOV2 = "dinov2"
RAD_DINO = "rad-dino"
WEIGHTS, CONFIG, PREPARING = "model.safetensors", "config.json", "preprocessor_config.json"

# Repository and commit of each.
PINNED = {
    DINOV2: ("facebook/dinov2-base", "f9e44c814b77203eaa57a6bdbbd535f21ede1415"),
    RAD_DINO: ("microsoft/rad-dino", "110cbc18d5133582e320b43d53bf5c44e410c936"),
}
# Maps of 1,370 tokens: more images at once are no faster on processors.
_BATCH = 4


@dataclass(frozen=True)
class Preparing:
    """What preprocessor_config.json says.

    Attributes:
        px: Side of the input.
        means: Per channel, of pixels in 0..1.
        stds: As `means`.
    """

    px: int
    means: Means
    stds: Means


def dino_space(name: str, weights: Path | None = None) -> Space:
    """The space `dinov2` or `rad-dino`.

    Args:
        name: Key of `PINNED`.
        weights: Folder with `WEIGHTS`, `CONFIG` and `PREPARING`; None = the pinned revision, from the Hub's cache.

    Raises:
        InputDataError: If a file is missing or says something else.
    """
    folder = weights or _cached(name)
    for part in (WEIGHTS, CONFIG, PREPARING):
        if folder is None or not (folder / part).is_file():
            raise _missing(name, part, folder)
    assert folder is not None
    settings = read_json(folder / CONFIG, what="settings of a network", fix="Fetch the folder again.")
    if settings.get("model_type") != "dinov2":
        raise InputDataError(
            f"{folder} holds a network of kind {settings.get('model_type')!r}, expected 'dinov2'.",
            fix=f"Give the folder of {PINNED[name][0]}.",
            path=folder,
        )
    preparing, dim = _read_preparing(folder), int(settings["hidden_size"])
    title = f"{PINNED[name][0]}, {preparing.px} px bicubic input, {dim}-d class token"
    return Space(name, title, dim, sha256_file(folder / WEIGHTS), partial(_load, folder, preparing), _BATCH)


def _load(folder: Path, preparing: Preparing) -> Network:
    """The network in evaluation mode.

    Raises:
        InputDataError: If transformers is missing or the weights do not fit the settings.
    """
    network = _read_network(folder)

    def forward(images: Tensor) -> Tensor:
        token: Tensor = network(pixel_values=images, interpolate_pos_encoding=True).pooler_output
        return token

    def prepare(pixels: Tensor) -> Tensor:
        return in_three_channels(resize(pixels, preparing.px, "bicubic"), preparing.means, preparing.stds)

    return torch_network(forward, prepare)


def _read_network(folder: Path) -> Any:
    transformers = _require_transformers()
    logging: Any = transformers.utils.logging
    showed = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        network, told = transformers.Dinov2Model.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, RuntimeError, ValueError) as err:
        raise InputDataError(
            f"{folder} cannot be used: {str(err).splitlines()[0]}", fix="Fetch the folder again.", path=folder
        ) from err
    finally:
        if showed:
            logging.enable_progress_bar()
    if wrong := sorted(str(name) for kind in ("missing_keys", "mismatched_keys") for name in told[kind]):
        raise InputDataError(
            f"{folder / WEIGHTS} lacks tensors its settings ask for, such as {wrong[0]}.",
            fix="Fetch the folder again.",
            path=folder,
        )
    return network.eval().requires_grad_(False)


def _require_transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as err:
        raise InputDataError(
            f"DINOv2 networks need a package that is not installed: {err.name}.",
            fix='Run: pip install "xrarchive[dino]"',
        ) from err
    try:
        _ = transformers.Dinov2Model  # imported when it is first asked for
    except (ImportError, RuntimeError) as err:
        raise InputDataError(
            f"transformers is installed but cannot be used: {err.__cause__ or err}.",
            fix="Mostly torchvision was built for another torch: install both from one index, for processors "
            "pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu",
        ) from err
    return transformers


def _read_preparing(folder: Path) -> Preparing:
    found = read_json(folder / PREPARING, what="preparation of images", fix="Fetch the folder again.")
    try:
        side = found["crop_size"]["height"]
        means, stds = (tuple(float(value) for value in found[key]) for key in ("image_mean", "image_std"))
        if len(means) != 3 or len(stds) != 3 or int(side) < 1:
            raise ValueError("expected three channels and a side")
    except (KeyError, TypeError, ValueError) as err:
        raise InputDataError(
            f"{folder / PREPARING} does not say how images are prepared: {err!r}.",
            fix="Fetch the folder again.",
            path=folder,
        ) from err
    return Preparing(int(side), means, stds)


def _cached(name: str) -> Path | None:
    """The pinned snapshot in the cache of the Hub's client; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    repo, revision = PINNED[name]
    found = try_to_load_from_cache(repo, WEIGHTS, revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _missing(name: str, part: str, folder: Path | None) -> InputDataError:
    repo, revision = PINNED[name]
    where = f"{folder} has no {part}" if folder else f"{repo} at {revision[:12]} is not in the Hub's cache"
    return InputDataError(
        f"The weights of the space {name!r} are missing: {where}.",
        fix=f"Fetch them once, hf download {repo} --revision {revision}, or name their folder: --space {name}=FOLDER.",
        path=folder,
    )
