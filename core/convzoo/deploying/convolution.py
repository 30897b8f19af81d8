"""A convolution with what follows it in one pass over the feature map: its bias, a sum, an activation."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from convzoo.deploying.following import Followed
from convzoo.deploying.keeping import Keeping
from convzoo.deploying.settings import by_onednn, other_is_faster

FEW = 2**17
"""Numbers of a map or a weight up to which another pass over them costs less than oneDNN takes to begin."""


class FusedConv2d(nn.Conv2d, Followed, Keeping):
    """``act(conv(x) + other)`` for inference: ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``.

    On a processor, in float32 and without gradients, oneDNN computes it in one pass, in channels_last, with a weight
    that is laid out once. Elsewhere it is the convolution, the sum and the activation, one after the other.

    A layer's form for inference that is a convolution may be a subclass of it. The rewrites then take it for one, and
    change its weight and bias for what stands before and after it.

    Args:
        like: the convolution, whose sizes, weight and bias it takes over; padded with zeros.

    Attributes:
        act: what follows; None for nothing.
        sums: whether there is an ``other``, of the shape of the output.
        overwrites: whether the sum may take its place.
        general: whether torch's general functions compute it, wherever it runs.
    """

    def __init__(self, like: nn.Conv2d) -> None:
        sizes = like.kernel_size, like.stride, like.padding, like.dilation, like.groups
        super().__init__(like.in_channels, like.out_channels, *sizes, bias=False, device="meta")  # type: ignore[arg-type]
        self.weight = nn.Parameter(like.weight.detach())
        if like.bias is not None:
            self.bias = nn.Parameter(like.bias.detach())
        self.sums = self.overwrites = self.general = False
        self.training = False
        self._is_matrix = sizes == ((1, 1), (1, 1), (0, 0), (1, 1), 1)

    @property
    def free(self) -> bool:
        """Whether nothing but its bias follows yet."""
        return self.act is None and not self.sums

    def forward(self, x: torch.Tensor, other: torch.Tensor | None = None) -> torch.Tensor:
        if not self.general and by_onednn(x, self.weight) and (other is None or self._adds(x, other)):
            return self._at_once(x, other)
        y = self.plainly(x)
        if other is not None:
            y = y + other
        return y if self.act is None else self.act(y)

    def plainly(self, x: torch.Tensor) -> torch.Tensor:
        """The convolution and its bias, by torch's general functions.

        Args:
            x: ``(N, in_channels, H, W)``.
        """
        return self._conv_forward(x, self.weight, self.bias)

    def kernel(self) -> torch.Tensor:
        """The weight that a plain convolution of ``groups`` would have."""
        return self.weight

    def by_input(self, values: torch.Tensor) -> torch.Tensor:
        """``values``, ``(in_channels,)``, as each number of a row of ``weight`` is to be multiplied by them."""
        return values

    def choose(self, x: torch.Tensor, other: torch.Tensor | None = None) -> None:
        """Time both ways on an input, and take the general one from now on where it is faster by a tenth.

        Args:
            x, other: as :meth:`forward` takes them; both stay as they are.
        """

        def run(general: bool) -> None:
            self.general = general
            self.forward(x, other if other is None else other.clone())

        self.general = by_onednn(x, self.weight) and other_is_faster(run, usual=False)

    def _at_once(self, x: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        if self._is_matrix and self._is_small(x, other):
            return self._as_matrix(x, other)
        name, numbers, variant = self._following
        sizes = self._laid_out("packed", x), self.bias, self.padding, self.stride, self.dilation, self.groups
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise.default(x, *sizes, name, numbers, variant)
        other = other.contiguous(memory_format=torch.channels_last)
        at_once = name == "relu"  # of those that follow a sum, oneDNN has only this one
        after: Any = "add", 1.0, name if at_once else None, [], ""
        if self.overwrites:
            y = torch.ops.mkldnn._convolution_pointwise_.binary(other, x, *sizes, *after)
        else:
            y = torch.ops.mkldnn._convolution_pointwise.binary(x, other, *sizes, *after)
        return y if at_once or self.act is None else self.act(y)

    def _is_small(self, x: torch.Tensor, other: torch.Tensor | None) -> bool:
        """Whether a product of matrices is faster; unlike oneDNN, it takes a pass of its own for what follows."""
        pixels, weights = x[:, :1].numel(), self.in_channels * self.out_channels
        if self.bias is None and self.free and other is None:
            return weights <= FEW
        return max(weights, pixels * self.out_channels, pixels * weights >> 8) <= FEW

    def _as_matrix(self, x: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        """A 1x1 convolution as the product of two matrices, which starts sooner."""
        y = F.linear(x.permute(0, 2, 3, 1), self._laid_out("matrix", x), self.bias).permute(0, 3, 1, 2)
        if other is not None:
            y = y.add_(other)
        if self._following[0] == "relu":
            return y.relu_()
        return y if self.act is None else self.act(y)

    def _laid_out(self, form: str, x: torch.Tensor) -> torch.Tensor:
        """The weight as a matrix, or packed as oneDNN likes it."""
        made: torch.Tensor = self.once(self.weight, form, lambda: self._made(form, x))
        return made

    def _made(self, form: str, x: torch.Tensor) -> torch.Tensor:
        kernel = self.kernel().detach()
        if form == "matrix":
            return kernel.flatten(1).contiguous()
        sizes = self.padding, self.stride, self.dilation, self.groups, list(x.shape)
        return torch.ops.mkldnn._reorder_convolution_weight(kernel, *sizes)

    def _adds(self, x: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether ``other`` has the shape and type of what the convolution of ``x`` gives."""
        sizes: Any = zip(x.shape[2:], self.padding, self.dilation, self.kernel_size, self.stride, strict=True)
        sides = [
            (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for side, pad, dilation, kernel, stride in sizes
        ]
        return other.shape == (x.shape[0], self.out_channels, *sides) and other.dtype is x.dtype

    def extra_repr(self) -> str:
        return super().extra_repr() + f", act={self.act}" * (self.act is not None) + ", sums=True" * self.sums


def foldable(module: Any) -> bool:
    """Whether ``module`` is a convolution whose weight and bias may change, and that may do more."""
    if isinstance(module, FusedConv2d):
        return module.free
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def refilled(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor) -> FusedConv2d:
    """``conv`` with another weight and bias."""
    made = copy.copy(conv) if isinstance(conv, FusedConv2d) else FusedConv2d(conv)
    made._parameters = {"weight": nn.Parameter(weight.detach()), "bias": nn.Parameter(bias.detach())}
    return made
