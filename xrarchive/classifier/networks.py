"""Two small architectures that share nothing but their interface: a residual one and a plain one.

float [N, 1, H, W] in [-1, 1] -> logits [N, K]. Batch norm is frozen at use, so that an image's logits do not depend on
the images beside it.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xrarchive.classifier.settings import Role

_DROPOUT = 0.2


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
    """The guide's architecture: strided residual blocks, averaged at the end."""

    def __init__(self, findings: int, width: int) -> None:
        super().__init__()
        self.stem = _convolution(1, width, kernel=5, stride=2)
        self.body = nn.Sequential(
            ResidualBlock(width, 2 * width), ResidualBlock(2 * width, 4 * width), ResidualBlock(4 * width, 4 * width)
        )
        self.head = nn.Linear(4 * width, findings)

    def features(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 4 * width]."""
        return self.body(F.relu(self.stem(images))).mean(dim=(2, 3))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> logits [N, K]."""
        return self.head(F.dropout(self.features(images), _DROPOUT, self.training))  # type: ignore[no-any-return]


class PlainNetwork(nn.Module):
    """The judge's architecture: convolutions and max pooling without shortcuts, average and maximum at the end."""

    def __init__(self, findings: int, width: int) -> None:
        super().__init__()
        sizes = [1, width, 2 * width, 4 * width, 4 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(a, b), nn.ReLU(), _convolution(b, b), nn.ReLU())
            for a, b in itertools.pairwise(sizes)
        )
        self.squeeze = nn.Linear(8 * width, 4 * width)
        self.head = nn.Linear(4 * width, findings)

    def features(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 4 * width]."""
        x = images
        for index, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2) if index else x)
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return F.relu(self.squeeze(pooled))

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] -> logits [N, K]."""
        return self.head(F.dropout(self.features(images), _DROPOUT, self.training))  # type: ignore[no-any-return]


Network = ResidualNetwork | PlainNetwork


def make_network(role: Role, findings: int, width: int) -> Network:
    """A fresh network of the role's architecture."""
    return ResidualNetwork(findings, width) if role == "guide" else PlainNetwork(findings, width)
