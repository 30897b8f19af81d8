"""The block of wide networks for small images: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016."""

from __future__ import annotations

import torch
from torch import nn

from convzoo import OptionError, layers, part
from convzoo.layers import Maker, conv2d, drop_path, require_positive, require_rate, sequence, shortcut_path

MOST_KERNELS = 64
"""Convolutions of one block."""


def bare_shortcut(
    in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1, first_dilation: int = 1
) -> nn.Module:
    """A strided 1x1 convolution alone: what it is given has been through a norm, and so will what it gives.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``. Dilations are
    accepted, and mean nothing to single pixels.
    """
    return conv2d(in_channels, out_channels, 1, stride=stride)


class Preactivation(nn.Module):
    """Norm, activation and convolution, as often as there are kernels; nothing after the sum.

    ``(N, in_channels, H, W)`` to ``(N, planes, ceil(H / stride), ceil(W / stride))``. Where the shape changes, the
    shortcut reads what the first norm and activation give; elsewhere it is the input itself.

    Args:
        in_channels: channels of the input.
        planes: channels of all convolutions.
        stride: of the first convolution.
        kernel_sizes: of the convolutions, all odd: ``(3, 3)`` is B(3, 3) of the paper's section 2.1, ``(1, 3)`` its
            B(1, 3).
        dropout: rate of the dropout before every convolution but the first, in [0, 1).
        dilation, first_dilation: of the later convolutions, and of the first.
        shortcut, attention, norm, act: callables that make the parts; ``attention`` stands after the last convolution.
        drop_path_rate: of the residual branch.

    Raises:
        OptionError: an impossible size or rate.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        planes: int,
        stride: int = 1,
        kernel_sizes: tuple[int, ...] = (3, 3),
        dropout: float = 0.0,
        dilation: int = 1,
        first_dilation: int = 1,
        shortcut: Maker = part("shortcut", "bare"),
        attention: Maker | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        require_positive("planes", planes)
        require_rate("dropout", dropout)
        if not 1 <= len(kernel_sizes) <= MOST_KERNELS:
            raise OptionError(
                f"kernel_sizes must name at least one convolution, and {MOST_KERNELS} at most, got {len(kernel_sizes)}"
            )
        self.out_channels = planes
        modules: dict[str, nn.Module | None] = {
            "conv1": conv2d(in_channels, planes, kernel_sizes[0], stride=stride, dilation=first_dilation)
        }
        for number, kernel_size in enumerate(kernel_sizes[1:], start=2):
            modules[f"norm{number}"] = norm(planes)
            modules[f"act{number}"] = act()
            modules[f"dropout{number}"] = layers.dropout(dropout)
            modules[f"conv{number}"] = conv2d(planes, planes, kernel_size, dilation=dilation)
        self.first = sequence(norm=norm(in_channels), act=act())
        self.branch = sequence(
            **modules,
            attention=attention(planes) if attention else None,
            drop_path=drop_path(drop_path_rate),
        )

        self.shortcut = shortcut_path(shortcut, in_channels, planes, stride, dilation, first_dilation, norm=norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        return self.branch(h) + (x if isinstance(self.shortcut, nn.Identity) else self.shortcut(h))
