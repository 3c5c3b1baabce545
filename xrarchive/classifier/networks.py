"""Three small architectures that share nothing but their interface: a residual, a plain and a densely connected one.

float [N, 1, H, W] in [-1, 1] -> logits [N, K + J], of findings and then of nuisances. Batch norm is frozen at use,
so that an image's logits do not depend on the images beside it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xrarchive.classifier.settings import ARCHITECTURES, XRV

if TYPE_CHECKING:
    from xrarchive.classifier.xrv import XrvNetwork

_DROPOUT = 0.2
# Up to this input the residual network has three strided blocks.
_THREE_BLOCKS_PX = 64
_DENSE_BLOCKS, _DENSE_LAYERS = 3, 3


def _convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, stride=2)
        self.second = _convolution(outputs, outputs)
        self.shortcut = _convolution(inputs, outputs, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H/2, W/2]."""
        within = self.second(F.relu(self.first(x)))
        return F.relu(within + self.shortcut(F.avg_pool2d(x, 2)))


class ResidualNetwork(nn.Module):
    """The guide's architecture: strided residual blocks, averaged at the end.

    Three blocks up to 64 px, one more for each doubling, so that what is averaged stays about 4x4.
    """

    def __init__(self, outputs: int, width: int, input_px: int) -> None:
        super().__init__()
        doublings = max(0, (input_px - 1).bit_length() - (_THREE_BLOCKS_PX - 1).bit_length())
        sizes = [width, 2 * width, 4 * width, 4 * width, *[4 * width] * doublings]
        self.stem = _convolution(1, width, kernel=5, stride=2)
        self.body = nn.Sequential(*(ResidualBlock(a, b) for a, b in itertools.pairwise(sizes)))
        self.head = nn.Linear(4 * width, outputs)

    def features(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 4 * width]."""
        return self.body(F.relu(self.stem(images))).mean(dim=(2, 3))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> logits [N, K + J]."""
        return self.head(F.dropout(self.features(images), _DROPOUT, self.training))  # type: ignore[no-any-return]


class PlainNetwork(nn.Module):
    """The judge's architecture: convolutions and max pooling without shortcuts, average and maximum at the end."""

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        sizes = [1, width, 2 * width, 4 * width, 4 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(a, b), nn.ReLU(), _convolution(b, b), nn.ReLU())
            for a, b in itertools.pairwise(sizes)
        )
        self.squeeze = nn.Linear(8 * width, 4 * width)
        self.head = nn.Linear(4 * width, outputs)

    def features(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 4 * width]."""
        x = images
        for index, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2) if index else x)
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return F.relu(self.squeeze(pooled))

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> logits [N, K + J]."""
        return self.head(F.dropout(self.features(images), _DROPOUT, self.training))  # type: ignore[no-any-return]


class DenseBlock(nn.Module):
    """3x3 convolutions each of which sees what all before it saw and made (Huang et al. 2017)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(inputs + index * growth),
                nn.ReLU(),
                nn.Conv2d(inputs + index * growth, growth, 3, padding=1, bias=False),
            )
            for index in range(_DENSE_LAYERS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, inputs + 3 * growth, H, W]."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class DenseNetwork(nn.Module):
    """The referee's architecture: densely connected blocks, each after an average over 2x2, averaged at the end."""

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.blocks, self.joints = nn.ModuleList(), nn.ModuleList()
        channels = width
        for index in range(_DENSE_BLOCKS):
            if index:
                self.joints.append(nn.Conv2d(channels, 2 * width, 1, bias=False))
                channels = 2 * width
            self.blocks.append(DenseBlock(channels, width))
            channels += _DENSE_LAYERS * width
        self.last = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, outputs)

    def features(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 5 * width]."""
        x = self.entry(images)
        for index, block in enumerate(self.blocks):
            x = block(F.avg_pool2d(self.joints[index - 1](x) if index else x, 2))
        return F.relu(self.last(x)).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> logits [N, K + J]."""
        return self.head(F.dropout(self.features(images), _DROPOUT, self.training))  # type: ignore[no-any-return]


Network: TypeAlias = "ResidualNetwork | PlainNetwork | DenseNetwork | XrvNetwork"


def make_network(architecture: str, outputs: int, width: int, input_px: int) -> Network:
    """A fresh network.

    Args:
        architecture: One of `ARCHITECTURES`.
        outputs: Findings and nuisances together.
        width: Channels of the first stage.
        input_px: Side of the images it will see.

    Raises:
        ValueError: If there is no such architecture.
    """
    if architecture == "residual":
        return ResidualNetwork(outputs, width, input_px)
    if architecture == "plain":
        return PlainNetwork(outputs, width)
    if architecture == "dense":
        return DenseNetwork(outputs, width)
    if architecture == XRV:
        from xrarchive.classifier.xrv import XrvNetwork

        return XrvNetwork(outputs)
    raise ValueError(f"unknown architecture {architecture!r}, known: {', '.join(ARCHITECTURES)}")
