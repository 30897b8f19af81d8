"""Dense layers and transitions: Huang et al., Densely Connected Convolutional Networks, CVPR 2017, section 3."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from convzoo import OptionError, layers
from convzoo.layers import Maker, conv2d, drop_path, require_positive, sequence


class DenseLayer(nn.Module):
    """Appends ``growth_rate`` new features to its input: ``(N, C, H, W)`` to ``(N, C + growth_rate, H, W)``.

    Args:
        in_channels: channels of the input.
        growth_rate: new features.
        bottleneck: width of the 1x1 convolution before the 3x3 one, over ``growth_rate``; 0 for none.
        dropout: rate of the dropout of the new features, in [0, 1).
        dropout_after: ``"every"`` convolution of the layer, as in the authors' code, or the ``"last"``.
        dilation: of the 3x3 convolution.
        attention, norm, act: callables that make them; ``attention`` looks at the new features.
        drop_path_rate: of the new features, which are then 0 for whole samples.

    Raises:
        OptionError: an impossible size or rate.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        growth_rate: int,
        bottleneck: int = 4,
        dropout: float = 0.0,
        dropout_after: Literal["every", "last"] = "every",
        dilation: int = 1,
        attention: Maker | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        require_positive("growth_rate", growth_rate)
        if bottleneck < 0:
            raise OptionError(f"bottleneck must be at least 0, got {bottleneck}")
        self.out_channels = in_channels + growth_rate
        width = bottleneck * growth_rate
        new = conv2d(width or in_channels, growth_rate, 3, dilation=dilation)
        narrow = {
            "norm1": norm(in_channels),
            "act1": act(),
            "conv1": conv2d(in_channels, width, 1) if width else new,
            "dropout1": layers.dropout(dropout) if width and dropout_after == "every" else None,
        }
        wide = {"norm2": norm(width), "act2": act(), "conv2": new} if width else {}
        self.branch = sequence(
            **narrow,
            **wide,
            dropout2=layers.dropout(dropout),
            attention=attention(growth_rate) if attention else None,
            drop_path=drop_path(drop_path_rate),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.branch(x)], 1)

    def appended(self) -> nn.Sequential:
        """What makes the new features; checkpointing keeps them, and not the input once more for each layer."""
        return self.branch


class Transition(nn.Sequential):
    """Norm, activation, 1x1 convolution and average pool between two runs of dense layers.

    ``(N, in_channels, H, W)`` to ``(N, floor(in_channels * compression), H // stride, W // stride)``.

    Args:
        in_channels: channels of the input.
        stride: of the pool; 1 leaves it out.
        compression: share of the channels that is kept, in (0, 1].
        dropout: rate of the dropout after the convolution, in [0, 1).
        dilation: accepted, since it means nothing to single pixels.
        norm, act: callables that make them.

    Raises:
        OptionError: an impossible share or rate.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        stride: int = 1,
        compression: float = 0.5,
        dropout: float = 0.0,
        dropout_after: Literal["every", "last"] = "every",
        dilation: int = 1,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        if not 0 < compression <= 1:
            raise OptionError(f"compression is a share of the channels, above 0 and up to 1; got {compression}")
        out_channels = math.floor(in_channels * compression)
        require_positive(f"floor(in_channels * compression), of {in_channels} and {compression},", out_channels)
        super().__init__()
        self.out_channels = out_channels
        self.norm = norm(in_channels)
        self.act = act()
        self.conv = conv2d(in_channels, out_channels, 1)
        drop = layers.dropout(dropout)
        if drop and dropout_after == "every":
            self.dropout = drop
        if stride > 1:
            self.pool = nn.AvgPool2d(stride, stride)
