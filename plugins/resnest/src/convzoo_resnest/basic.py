"""A basic block with split attention, in the form of pytorchcv's ResNeSt(A)-18; the paper has bottlenecks only."""

from __future__ import annotations

from torch import nn

from convzoo import part
from convzoo.layers import ConvNormAct, Maker, drop_path, require_positive, sequence, shortcut_path
from convzoo.resnet.blocks import ResidualBlock
from convzoo_resnest.split_attention import SplitAttention


class SplitAttentionBasic(ResidualBlock):
    """A 3x3 convolution, an average pool that takes the stride, and split attention without an activation of its own.

    ``(N, in_channels, H, W)`` to ``(N, planes, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels: channels of the input.
        planes: channels of both convolutions.
        stride: of the block.
        radix: splits of the split attention.
        dilation, first_dilation: of the second and of the first convolution.
        shortcut, attention, norm, act: callables that make the parts; ``attention`` stands after the split attention.
        drop_path_rate: of the residual branch.

    Raises:
        OptionError: an impossible size.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        planes: int,
        stride: int = 1,
        radix: int = 2,
        dilation: int = 1,
        first_dilation: int = 1,
        shortcut: Maker = part("shortcut", "conv"),
        attention: Maker | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
        drop_path_rate: float = 0.0,
    ) -> None:
        require_positive("planes", planes)
        branch = sequence(
            conv1=ConvNormAct(in_channels, planes, dilation=first_dilation, norm=norm, act=act),
            pool=nn.AvgPool2d(3, stride, padding=1) if stride > 1 else None,
            conv2=SplitAttention(planes, planes, radix=radix, dilation=dilation, activate=False, norm=norm, act=act),
            attention=attention(planes) if attention else None,
            drop_path=drop_path(drop_path_rate),
        )
        path = shortcut_path(shortcut, in_channels, planes, stride, dilation, first_dilation, norm=norm)
        super().__init__(branch, path, act(), planes)
