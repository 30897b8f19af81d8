"""Dilated convolutions: Yu and Koltun, Multi-Scale Context Aggregation by Dilated Convolutions, ICLR 2016."""

from __future__ import annotations

from torch import nn

from convzoo.layers import ConvNormAct, Maker, require_positive


def dilated(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    rate: int = 2,
    norm: Maker = nn.BatchNorm2d,
    act: Maker = nn.ReLU,
) -> ConvNormAct:
    """A 3x3 convolution, dilated ``rate`` times as much as its stage, with norm and activation.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels, out_channels: channels before and after; both divisible by ``groups``.
        stride, groups: of the convolution.
        dilation: of the stage.
        rate: what the stage's dilation is multiplied by.
        norm, act: callables that make them.

    Raises:
        OptionError: an impossible size.
    """
    require_positive("rate", rate)
    return ConvNormAct(
        in_channels, out_channels, stride=stride, groups=groups, dilation=dilation * rate, norm=norm, act=act
    )
