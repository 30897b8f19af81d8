"""Shortcuts of residual blocks: ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ...)``."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from convzoo.errors import OptionError
from convzoo.layers import Maker, conv2d


def conv_shortcut(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    kernel_size: int = 1,
    dilation: int = 1,
    first_dilation: int = 1,
    norm: Maker = nn.BatchNorm2d,
) -> nn.Module:
    """A strided convolution and a norm: option B of He et al., CVPR 2016, section 4.1.

    Args:
        in_channels, out_channels, stride: of the path.
        kernel_size: of the convolution, where it is strided or dilated; elsewhere it is 1x1.
        dilation, first_dilation: of the stage, and of the stage before.
        norm: called with ``out_channels``.
    """
    kernel_size = 1 if stride == 1 and dilation == 1 else kernel_size
    conv = conv2d(
        in_channels, out_channels, kernel_size, stride=stride, dilation=first_dilation if kernel_size > 1 else 1
    )
    return nn.Sequential(conv, norm(out_channels))


def avg_shortcut(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    pool_dilated: bool = True,
    norm: Maker = nn.BatchNorm2d,
) -> nn.Module:
    """Average pooling, then a 1x1 convolution and a norm: ResNet-D of He et al., CVPR 2019, section 4.1.

    The pool's window is its stride; incomplete windows at the border average what they have.

    Args:
        in_channels, out_channels, stride: of the path.
        dilation: of the stage.
        pool_dilated: whether there is a pool in a stage whose stride has become a dilation: 2x2, stride 1, zero-padded
            to the right and below. timm has one, GluonCV has none.
        norm: called with ``out_channels``.
    """
    pool: nn.Module = nn.Identity()
    if stride > 1:
        pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
    elif dilation > 1 and pool_dilated:
        pool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 1))
    return nn.Sequential(pool, conv2d(in_channels, out_channels, 1), norm(out_channels))


class ZeroPadShortcut(nn.Module):
    """Subsampling and zero channels after the kept ones, without parameters: option A of He et al., CVPR 2016,
    section 4.1.

    Raises:
        OptionError: there are more channels before than after.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise OptionError(
                f"shortcut='zero_pad' only adds channels, and the block goes from {in_channels} to {out_channels};"
                " use shortcut='conv'"
            )
        self.stride = stride
        self.extra = out_channels - in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(F.avg_pool2d(x, 1, self.stride), (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, extra={self.extra}"
