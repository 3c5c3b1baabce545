"""The building blocks of Karras et al. 2018, "Progressive Growing of GANs", section 4.

Everything computes in the dtype of its input, float32 or bfloat16; weights are kept in float32. `kernels_ready` scales,
folds and casts the weights of a network once for all the passes of a training step.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

LEAK = 0.2
GAIN = math.sqrt(2)  # He's constant for leaky ReLU, as published
_EPSILON = 1e-8
# Nearest upsampling then a 3x3 convolution, or a 3x3 convolution then adding up 2x2, is a 4x4 convolution of stride 2
# whose taps are sums of the 3x3 kernel's taps: row and column t of the 4x4 take the rows and columns t - 1 and t.
_FOLD = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])


class _Equalised(nn.Module):
    """A weight drawn from N(0, 1) and scaled by gain / sqrt(fan-in) at run time (equalised learning rate)."""

    def __init__(self, weight: Tensor, outputs: int, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(weight[0].numel())
        self.ready: tuple[Tensor, Tensor] | None = None

    def kernel(self, dtype: torch.dtype) -> Tensor:
        """The weight as the operation takes it."""
        return (self.weight * self.scale).to(dtype)

    def make_ready(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Kernel and bias in `dtype`: those of `kernels_ready`, or made now."""
        return self.ready or (self.kernel(dtype), self.bias.to(dtype))


class EqualConv2d(_Equalised):
    """Convolution with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = GAIN) -> None:
        super().__init__(torch.randn(outputs, inputs, kernel, kernel), outputs, gain)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H, W]."""
        return F.conv2d(x, *self.make_ready(x.dtype), padding=self.padding)


class UpsampleConv2d(EqualConv2d):
    """Nearest upsampling by 2 and a 3x3 convolution, folded into one transposed 4x4 convolution of stride 2.

    The same function with 2.25 times fewer multiplications, as in the official code's fused layers.
    """

    def kernel(self, dtype: torch.dtype) -> Tensor:
        """[inputs, outputs, 4, 4], the folded 3x3 weight turned round."""
        return _fold(self.weight, self.scale, dtype).flip(2, 3).transpose(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, 2H, 2W]."""
        return F.conv_transpose2d(x, *self.make_ready(x.dtype), stride=2, padding=1)


class DownsampleConv2d(EqualConv2d):
    """3x3 convolution and averaging over 2x2, folded into one 4x4 convolution of stride 2, as in the official code."""

    def kernel(self, dtype: torch.dtype) -> Tensor:
        """[outputs, inputs, 4, 4]."""
        return _fold(self.weight, self.scale / 4, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H/2, W/2]."""
        return F.conv2d(x, *self.make_ready(x.dtype), stride=2, padding=1)


class EqualLinear(_Equalised):
    """Dense layer with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = GAIN) -> None:
        super().__init__(torch.randn(outputs, inputs), outputs, gain)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]."""
        return F.linear(x, *self.make_ready(x.dtype))


@contextlib.contextmanager
def kernels_ready(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Inside, the layers of `network` share one set of kernels in `dtype`, and their gradients one way back."""
    layers = [layer for layer in network.modules() if isinstance(layer, _Equalised)]
    try:
        for layer in layers:
            layer.ready = (layer.kernel(dtype), layer.bias.to(dtype))
        yield
    finally:
        for layer in layers:
            layer.ready = None


def _fold(weight: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """[O, I, 3, 3] -> [O, I, 4, 4], channels last: scale times the sum of the kernel at its four places inside 4x4."""
    outputs, inputs = weight.shape[:2]
    fold = _FOLD.to(weight)
    taps = weight.permute(0, 2, 3, 1).reshape(outputs, 9, inputs)
    wide = torch.matmul((torch.kron(fold, fold) * scale).to(dtype), taps.to(dtype))
    return wide.view(outputs, 4, 4, inputs).permute(0, 3, 1, 2)


class _LeakyGradient(Function):
    """gradient * slope; linear in the gradient, and flat in the features almost everywhere.

    Written out because autograd's own returns zeros for the features, which then travel back through every layer.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, activated: Tensor) -> Tensor:
        ctx.save_for_backward(activated)
        return torch.ops.aten.leaky_relu_backward(gradient, activated, LEAK, True)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        (activated,) = ctx.saved_tensors
        return _LeakyGradient.apply(outer[0], activated), None  # type: ignore[no-untyped-call]


class _Leaky(Function):
    """Leaky ReLU in place; its sign, all that the gradient needs, is kept by its result."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        F.leaky_relu_(x, LEAK)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        (activated,) = ctx.saved_tensors
        return _LeakyGradient.apply(gradient[0], activated)  # type: ignore[no-any-return,no-untyped-call]


class _LeakyPixelNorm(Function):
    """Leaky ReLU and pixel norm in one: x -> y = r a(x), with r = 1 / rms over channels of a(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        activated = F.leaky_relu(x, LEAK)
        inverse = _inverse_rms(activated)
        y = activated.mul_(inverse)
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        y, inverse = ctx.saved_tensors
        (gradient,) = gradients
        along = (gradient * y).mean(dim=1, keepdim=True)
        across = torch.addcmul(gradient, y, along, value=-1).mul_(inverse)
        return torch.ops.aten.leaky_relu_backward(across, y, LEAK, True)  # type: ignore[no-any-return]


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with slope `LEAK` below zero, in place where `x` is no leaf; twice differentiable."""
    return _Leaky.apply(x)  # type: ignore[no-any-return,no-untyped-call]


def leaky_pixel_norm(x: Tensor) -> Tensor:
    """`pixel_norm(leaky_relu(x))`, once differentiable."""
    return _LeakyPixelNorm.apply(x)  # type: ignore[no-any-return,no-untyped-call]


def pixel_norm(x: Tensor) -> Tensor:
    """Divide each feature vector (axis 1) by its root mean square."""
    return x * _inverse_rms(x)


def _inverse_rms(x: Tensor) -> Tensor:
    return torch.rsqrt(x.square().mean(dim=1, keepdim=True) + _EPSILON)


def minibatch_stddev(x: Tensor, group: int) -> Tensor:
    """Append one channel with the mean standard deviation over each run of `group` consecutive images.

    Consecutive images, so that real and generated ones can share a pass without sharing a group.
    """
    count, channels, height, width = x.shape
    size = group if count % group == 0 else count
    wide = torch.promote_types(x.dtype, torch.float32)  # 8 bits of mantissa are too few for small deviations
    groups = x.to(wide).view(count // size, size, channels, height, width)
    centred = groups - groups.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1) + _EPSILON).sqrt().mean(dim=(1, 2, 3))
    plane = deviation.repeat_interleave(size).view(count, 1, 1, 1).expand(count, 1, height, width)
    return torch.cat([x, plane.to(x.dtype)], dim=1)
