"""Layers of CondenseNets: Huang et al., CondenseNet, CVPR 2018, sections 3 and 4."""

from __future__ import annotations

import torch
from torch import nn

from convzoo import layers
from convzoo.layers import Maker, conv2d, drop_path, require_positive, sequence
from convzoo_condensenet.learned_group import LearnedGroupConv


class CondenseLayer(nn.Module):
    """Appends ``growth_rate`` new features to its input: ``(N, C, H, W)`` to ``(N, C + growth_rate, H, W)``.

    Norm, activation and a learned 1x1 group convolution to ``bottleneck * growth_rate``; norm, activation and a
    grouped 3x3 convolution.

    Args:
        in_channels: channels of the input.
        growth_rate: new features.
        bottleneck: width of the 1x1 convolution over ``growth_rate``.
        groups_1x1, condense_factor: groups of the 1x1 convolution, and what each group's inputs are divided by; see
            :class:`~convzoo_condensenet.learned_group.LearnedGroupConv`.
        groups_3x3: groups of the 3x3 convolution.
        dropout: rate of the dropout before the 1x1 convolution, in [0, 1).
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
        groups_1x1: int = 4,
        groups_3x3: int = 4,
        condense_factor: int = 4,
        dropout: float = 0.0,
        dilation: int = 1,
        attention: Maker | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        require_positive("growth_rate", growth_rate)
        require_positive("bottleneck", bottleneck)
        width = bottleneck * growth_rate
        self.out_channels = in_channels + growth_rate
        self.branch = sequence(
            norm1=norm(in_channels),
            act1=act(),
            dropout1=layers.dropout(dropout),
            conv1=LearnedGroupConv(in_channels, width, groups=groups_1x1, condense_factor=condense_factor),
            norm2=norm(width),
            act2=act(),
            conv2=conv2d(width, growth_rate, 3, groups=groups_3x3, dilation=dilation),
            attention=attention(growth_rate) if attention else None,
            drop_path=drop_path(drop_path_rate),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.branch(x)], 1)


class AveragePool(nn.Module):
    """Average pool, the whole transition of a CondenseNet: ``(N, C, H, W)`` to ``(N, C, H // stride, W // stride)``.

    Args:
        in_channels: channels of the input.
        stride: of the pool; 1 leaves it out.
        dilation: accepted, since it means nothing to a mean of neighbours.
    """

    def __init__(self, in_channels: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.pool = nn.AvgPool2d(stride, stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(x)
