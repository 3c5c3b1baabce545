"""The Inception network of the papers' FID: our own module of its graph, weights from a local file, never downloaded.

The weights are TensorFlow's `inception-2015-12-05`, as converted by mseitzer/pytorch-fid and used by torch-fidelity and
torchmetrics: one file, pinned by its sha256. Only with them can a figure be held beside published FIDs; those were
taken without antialiasing, which makes a difference for images above 299 px alone.

How the graph differs from torchvision's Inception v3 (pytorch_fid/inception.py): 1,008 outputs; average pooling leaves
padding out of its mean; and the last block pools by maximum, an oversight of the original that every FID carries.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xrarchive.errors import InputDataError
from xrarchive.features.space import Network, Space, in_three_channels, resize, torch_network
from xrarchive.files import sha256_file
from xrarchive.weights import channels_last

INCEPTION = "inception"
FEATURE_COUNT = 2048
INPUT_PX = 299
# Of both files below, which are the same bytes; their names end with its first 8 digits.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
# What pytorch-fid and torch-fidelity call it in torch's cache.
FILE_NAMES = ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth")

_TITLE = "Inception v3 of the original FID (TensorFlow, 2015-12-05), 299 px bilinear input, 2,048-d average pooling"
_URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/" + FILE_NAMES[0]
_OUTPUTS = 1008
_BATCH = 8
_HALF = (0.5, 0.5, 0.5)
# A convolution: name, channels, kernel. A side of two runs both on the same input, side by side.
_Step = tuple[str, int, int | tuple[int, int]]
_Steps = Sequence[_Step | tuple[_Step, _Step]]


def inception_space(weights: Path | None = None) -> Space:
    """The space `inception`.

    Args:
        weights: The weight file; None = where pytorch-fid or torch-fidelity left it in torch's cache.

    Raises:
        InputDataError: If it is not there, or is another file.
    """
    path = weights or _cached()
    if path is None or not path.is_file():
        where = path or Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAMES[0]
        raise InputDataError(
            f"The weights of the space {INCEPTION!r} are not at {where}.",
            fix=f"Fetch them once, curl -L --create-dirs -o {where} {_URL}, or name the file: "
            f"--space {INCEPTION}=FILE.",
            path=where,
        )
    found = sha256_file(path)
    if found != SHA256:
        raise InputDataError(
            f"{path} is not the Inception network of the FID: expected sha256 {SHA256[:12]}, found {found[:12]}.",
            fix=f"Get it again from {_URL}.",
            path=path,
        )
    return Space(INCEPTION, _TITLE, FEATURE_COUNT, found, partial(load_inception, path), _BATCH)


def load_inception(path: Path) -> Network:
    """The network behind `inception_space`, in evaluation mode; the file is read without unpickling code.

    Raises:
        InputDataError: If its tensors do not fit the network.
    """
    with torch.device("meta"):
        network = Inception()
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(tensors, strict=True, assign=True)
    except (OSError, RuntimeError, ValueError, EOFError, AttributeError, pickle.UnpicklingError) as err:
        why = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise InputDataError(f"{path} cannot be used: {why}", fix=f"Get it again from {_URL}.", path=path) from err
    network = channels_last(network.eval().requires_grad_(False))
    return torch_network(network, prepare)


def prepare(pixels: Tensor) -> Tensor:
    """uint8 [B, H, H] -> float32 [B, 3, 299, 299] in [-1, 1]."""
    return in_three_channels(resize(pixels, INPUT_PX, "bilinear"), _HALF, _HALF)


class Inception(nn.Module):
    """Images [B, 3, 299, 299] in [-1, 1] -> features [B, 2048]; tensors are named as in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_5(192, 32), _block_5(256, 64), _block_5(288, 64)
        self.Mixed_6a = _Mixed(288, _SHRINK_6, pool="max", stride=2)
        self.Mixed_6b, self.Mixed_6c = _block_6(128), _block_6(160)
        self.Mixed_6d, self.Mixed_6e = _block_6(160), _block_6(192)
        self.Mixed_7a = _Mixed(768, _SHRINK_7, pool="max", stride=2)
        self.Mixed_7b = _Mixed(1280, _WIDE, pool="average", pooled=192)
        self.Mixed_7c = _Mixed(2048, _WIDE, pool="max", pooled=192)
        self.fc = nn.Linear(FEATURE_COUNT, _OUTPUTS)  # not used: the published file holds it

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = F.max_pool2d(x, 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for name, block in self.named_children():
            x = block(x) if name.startswith("Mixed") else x
        features: Tensor = x.mean(dim=(2, 3))
        return features


class _Convolution(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class _Mixed(nn.Module):
    """Branches of convolutions and a pooled one, side by side; with stride 2 the last step of each halves the map."""

    def __init__(self, inputs: int, branches: Sequence[_Steps], *, pool: str, stride: int = 1, pooled: int = 0) -> None:
        super().__init__()
        self.branches, self.pool, self.stride = branches, pool, stride
        for steps in branches:
            width = inputs
            for number, step in enumerate(steps):
                for name, outputs, kernel in _sides(step):
                    shrinks = stride == 2 and number == len(steps) - 1
                    padding = 0 if shrinks else _same(kernel)
                    convolution = _Convolution(width, outputs, kernel, stride=stride if shrinks else 1, padding=padding)
                    self.add_module(name, convolution)
                width = outputs
        if pooled:
            self.branch_pool = _Convolution(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for steps in self.branches:
            y = x
            for step in steps:
                y = torch.cat([self.get_submodule(name)(y) for name, *_ in _sides(step)], dim=1)
            parts.append(y)
        if self.stride == 2:
            parts.append(F.max_pool2d(x, 3, 2))
        elif self.pool == "max":
            parts.append(self.branch_pool(F.max_pool2d(x, 3, 1, 1)))
        else:
            parts.append(self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)))
        return torch.cat(parts, dim=1)


def _sides(step: _Step | tuple[_Step, _Step]) -> tuple[_Step, ...]:
    return (step,) if isinstance(step[0], str) else step


def _same(kernel: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return height // 2, width // 2


def _block_5(inputs: int, pooled: int) -> _Mixed:
    branches: list[_Steps] = [
        [("branch1x1", 64, 1)],
        [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
    ]
    return _Mixed(inputs, branches, pool="average", pooled=pooled)


def _block_6(width: int) -> _Mixed:
    flat, tall = (1, 7), (7, 1)
    long: list[_Step] = [("branch7x7dbl_1", width, 1), ("branch7x7dbl_2", width, tall), ("branch7x7dbl_3", width, flat)]
    branches: list[_Steps] = [
        [("branch1x1", 192, 1)],
        [("branch7x7_1", width, 1), ("branch7x7_2", width, flat), ("branch7x7_3", 192, tall)],
        [*long, ("branch7x7dbl_4", width, tall), ("branch7x7dbl_5", 192, flat)],
    ]
    return _Mixed(768, branches, pool="average", pooled=192)


_SHRINK_6: Sequence[_Steps] = (
    [("branch3x3", 384, 3)],
    [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
)
_SHRINK_7: Sequence[_Steps] = (
    [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)],
    [("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)),
     ("branch7x7x3_4", 192, 3)],
)  # fmt: skip
_WIDE: Sequence[_Steps] = (
    [("branch1x1", 320, 1)],
    [("branch3x3_1", 384, 1), (("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1)))],
    [("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3),
     (("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1)))],
)  # fmt: skip


def _cached() -> Path | None:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return next((folder / name for name in FILE_NAMES if (folder / name).is_file()), None)
