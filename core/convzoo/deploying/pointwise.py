"""What is done to each number of a feature map, for inference, in as few passes over it as there can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from convzoo.deploying.following import Followed
from convzoo.deploying.keeping import Keeping
from convzoo.deploying.settings import at_rest, by_onednn


class ScaleShift(Followed):
    """``act(x * scale + shift)``, channel by channel: what a batch norm is in eval mode. Keeps ``(N, C, H, W)``.

    Args:
        scale, shift: ``(C,)``.
    """

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale)
        self.bias = nn.Parameter(shift)
        self.training = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if by_onednn(x, self.weight) and x.is_contiguous(memory_format=torch.channels_last):
            weight, channels = self.weight.view(-1, 1, 1, 1), len(self.weight)
            sizes = weight, self.bias, (0, 0), (1, 1), (1, 1), channels
            return torch.ops.mkldnn._convolution_pointwise.default(x, *sizes, *self._following)
        y = torch.addcmul(_by_channel(self.bias), x, _by_channel(self.weight))
        return y if self.act is None else self.act(y)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}" + f", act={self.act}" * (self.act is not None)


class Clamp(Keeping):
    """``min(max(x, low), high)``, channel by channel. Keeps ``(N, C, H, W)``.

    Args:
        low, high: ``(C,)``.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, low: torch.Tensor, high: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.training = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if at_rest(x) and self.once(self.high, "", self._is_open):
            return torch.clamp_min(x, _by_channel(self.low))
        return torch.clamp(x, _by_channel(self.low), _by_channel(self.high))

    def _is_open(self) -> bool:
        """Whether nothing can be too large, as behind a norm of positive scales."""
        return bool((self.high >= torch.finfo(self.high.dtype).max).all())

    def extra_repr(self) -> str:
        return f"{len(self.low)}"


def mean(x: torch.Tensor) -> torch.Tensor:
    """The mean over all pixels: ``(N, C, H, W)`` to ``(N, C, 1, 1)``."""
    return F.avg_pool2d(x, x.shape[2:]) if at_rest(x) and x.numel() > 0 else x.mean((2, 3), keepdim=True)


def times(x: torch.Tensor, y: Any) -> torch.Tensor:
    """``x * y``, in place of ``x``, which nobody else reads, where that may be."""
    return x.mul_(y) if _fits(x, y) else x * y


def plus(x: torch.Tensor, y: Any) -> torch.Tensor:
    """``x + y``, in place of ``x``, which nobody else reads, where that may be."""
    return x.add_(y) if _fits(x, y) else x + y


def add_product(total: torch.Tensor, x: Any, y: Any) -> torch.Tensor:
    """``total + x * y``, in place of ``total``, which nobody else reads, where that may be."""
    tensors = isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor)
    return total.addcmul_(x, y) if tensors and _fits(total, x) and _fits(total, y) else total + x * y


def product_plus(x: torch.Tensor, y: Any, total: Any) -> torch.Tensor:
    """``x * y + total``, in place of ``x``, which nobody else reads, where that may be."""
    if isinstance(y, torch.Tensor) and isinstance(total, torch.Tensor) and _fits(x, y) and _fits(x, total):
        return torch.addcmul(total, x, y, out=x)
    return x * y + total


def _fits(x: Any, y: Any) -> bool:
    """Whether what is made of both has the shape and type of ``x``, and may stand in its place."""
    if not isinstance(x, torch.Tensor) or not at_rest(x):
        return False
    if isinstance(y, (int, float)):
        return x.is_floating_point()
    if not isinstance(y, torch.Tensor) or y.dtype is not x.dtype or y.dim() != x.dim():
        return False
    return all(b in (1, a) for a, b in zip(x.shape, y.shape, strict=True))


def _by_channel(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1)
