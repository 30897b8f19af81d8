"""Selective kernels: Li et al., Selective Kernel Networks, CVPR 2019, section 3, as its authors' prototxt has it."""

from __future__ import annotations

import torch
from torch import nn

from convzoo import OptionError
from convzoo.layers import (
    ConvNormAct,
    Maker,
    add,
    conv2d,
    make_divisible,
    norm_of_pooled,
    require_positive,
    unpacked,
)

MOST_BRANCHES = 64
"""Branches of one convolution."""


class SelectiveKernel(nn.Module):
    """Convolutions of growing dilation, summed with weights that their pooled sum decides, channel by channel.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels, out_channels: channels before and after; divisible by ``groups``.
        stride, groups, dilation: of the branches; branch ``i`` is dilated by ``i * dilation``, so that the second
            stands for a 5x5 kernel.
        branches: how many there are, 2 to 64.
        reduction: the hidden width is ``out_channels / reduction``.
        divisor: which is rounded to a multiple of it; 1 rounds down.
        min_width: and never less than this.
        split_input: give each branch its share of the input channels instead of all; timm's, not the paper's.
        norm, act: callables that make them.

    Raises:
        OptionError: an impossible size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        branches: int = 2,
        reduction: int = 16,
        divisor: int = 1,
        min_width: int = 32,
        split_input: bool = False,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        for name, value in {"reduction": reduction, "divisor": divisor, "min_width": min_width}.items():
            require_positive(name, value)
        if not 2 <= branches <= MOST_BRANCHES:
            raise OptionError(f"branches must be at least 2, and {MOST_BRANCHES} at most, got {branches}")
        if split_input and in_channels % branches:
            raise OptionError(f"split_input cannot give {branches} branches equal shares of {in_channels} channels")
        self.out_channels, self.split_input = out_channels, split_input
        self.paths = nn.ModuleList(
            ConvNormAct(
                in_channels // branches if split_input else in_channels,
                out_channels,
                stride=stride,
                groups=groups,
                dilation=dilation * (number + 1),
                norm=norm,
                act=act,
            )
            for number in range(branches)
        )
        exact = out_channels / reduction
        hidden = max(int(exact), min_width) if divisor == 1 else make_divisible(exact, divisor, min_width)
        self.reduce = conv2d(out_channels, hidden, 1)
        self.norm = norm_of_pooled(norm, hidden)
        self.act = act()
        self.select = conv2d(hidden, out_channels * branches, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = len(self.paths)
        inputs = unpacked(x.chunk(count, 1), count) if self.split_input else [x] * count
        paths = [path(part) for path, part in zip(self.paths, inputs, strict=True)]
        pooled = add(paths).mean((2, 3), keepdim=True)
        logits = self.select(self.act(self.norm(self.reduce(pooled))))
        weights = logits.reshape(logits.shape[0], count, -1, 1, 1).softmax(1)
        return add([path * weight for path, weight in zip(paths, unpacked(weights.unbind(1), count), strict=True)])
