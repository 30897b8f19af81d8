"""Parallel branches: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 4, with 3x3 kernels alone, as
in figure 5 of Rethinking the Inception Architecture for Computer Vision, CVPR 2016."""

from __future__ import annotations

import torch
from torch import nn

from convzoo import OptionError
from convzoo.layers import ConvNormAct, Maker, require_groups, require_positive


class Inception(nn.Module):
    """1x1; 1x1 and 3x3; 1x1, 3x3 and 3x3; 3x3 average pool and 1x1: side by side, concatenated in this order.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``. Every convolution has its
    norm and activation. All convolutions of a branch have the branch's width.

    Args:
        in_channels, out_channels: channels before and after; both divisible by ``groups``.
        stride: of each branch: its last convolution takes it, or its pool.
        groups: of every convolution; a branch's width is a multiple of it.
        dilation: of the 3x3 convolutions. The pool, which only smooths, is never dilated.
        shares: the branches' widths are to each other as these four numbers, see :func:`widths`. The default has the
            proportions of GoogLeNet's first module, 64, 128, 32 and 32.
        norm, act: callables that make them.

    Raises:
        OptionError: an impossible size, or fewer than four channels for each group.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        shares: tuple[int, ...] = (2, 4, 1, 1),
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "stride": stride, "dilation": dilation}
        for name, value in sizes.items():
            require_positive(name, value)
        require_groups(groups, in_channels, out_channels)
        single, one, two, pooled = (groups * units for units in widths(out_channels // groups, shares))
        self.out_channels = out_channels

        def conv(before: int, after: int, kernel_size: int, stride: int = 1) -> ConvNormAct:
            spread = dilation if kernel_size > 1 else 1
            return ConvNormAct(
                before,
                after,
                kernel_size=kernel_size,
                stride=stride,
                groups=groups,
                dilation=spread,
                norm=norm,
                act=act,
            )

        self.branches = nn.ModuleList(
            [
                conv(in_channels, single, 1, stride),
                nn.Sequential(conv(in_channels, one, 1), conv(one, one, 3, stride)),
                nn.Sequential(conv(in_channels, two, 1), conv(two, two, 3), conv(two, two, 3, stride)),
                nn.Sequential(nn.AvgPool2d(3, stride, padding=1), conv(in_channels, pooled, 1)),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def widths(total: int, shares: tuple[int, ...]) -> list[int]:
    """``total`` in four parts, each at least 1, that are to each other as ``shares``.

    Each is rounded down, but to no less than 1, and the largest share, the first of equals, takes what is over or
    gives what is missing.

    Raises:
        OptionError: there are not four positive shares, or ``total`` is too small for them.
    """
    if len(shares) != 4 or min(shares) < 1:
        raise OptionError(f"shares are four positive numbers, one for each branch, got {shares!r}")
    parts = [max(1, total * share // sum(shares)) for share in shares]
    largest = shares.index(max(shares))
    parts[largest] += total - sum(parts)
    if parts[largest] < 1:
        raise OptionError(f"shares {shares!r} of {total} channels in each group leave a branch without any")
    return parts
