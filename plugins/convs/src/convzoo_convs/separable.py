"""Convolutions in two factors: space and channels apart, or height and width apart."""

from __future__ import annotations

from torch import nn

from convzoo.layers import ConvNormAct, Maker, require_groups, require_odd, require_positive, require_reach


class DepthwiseSeparable(nn.Sequential):
    """A convolution of each channel by itself, then a 1x1 convolution across channels, each with norm and activation.

    Howard et al., MobileNets, 2017, section 3.1, arXiv:1704.04861.
    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels, out_channels: channels before and after; both divisible by ``groups``.
        stride, dilation: of the depthwise convolution.
        groups: of the pointwise convolution; the depthwise one has as many as channels anyway.
        kernel_size: odd side of the depthwise kernel.
        norm, act: callables that make them, twice.

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
        kernel_size: int = 3,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        require_positive("in_channels", in_channels)
        require_positive("out_channels", out_channels)
        require_groups(groups, in_channels, out_channels)
        self.out_channels = out_channels
        self.depthwise = ConvNormAct(
            in_channels,
            in_channels,
            kernel_size=kernel_size,
            stride=stride,
            groups=in_channels,
            dilation=dilation,
            norm=norm,
            act=act,
        )
        self.pointwise = ConvNormAct(in_channels, out_channels, kernel_size=1, groups=groups, norm=norm, act=act)


class SpatiallySeparable(nn.Sequential):
    """A convolution along the width, then one along the height, each with norm and activation.

    Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 3.2.
    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``; between the two there are
    ``(N, out_channels, H, ceil(W / stride))``.

    Args:
        in_channels, out_channels: channels before and after; both divisible by ``groups``.
        stride: the first convolution takes it along the width, the second along the height.
        groups: of both.
        dilation: of each along its own direction.
        kernel_size: odd length ``N`` of the kernels 1xN and Nx1.
        norm, act: callables that make them, twice.

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
        kernel_size: int = 3,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "stride": stride, "dilation": dilation}
        for name, value in sizes.items():
            require_positive(name, value)
        require_odd("kernel_size", kernel_size)
        require_reach(kernel_size, dilation)
        require_groups(groups, in_channels, out_channels)
        self.out_channels = out_channels
        pad = kernel_size // 2 * dilation
        self.conv1 = nn.Conv2d(
            in_channels, out_channels, (1, kernel_size), (1, stride), (0, pad), (1, dilation), groups, bias=False
        )
        self.norm1 = norm(out_channels)
        self.act1 = act()
        self.conv2 = nn.Conv2d(
            out_channels, out_channels, (kernel_size, 1), (stride, 1), (pad, 0), (dilation, 1), groups, bias=False
        )
        self.norm2 = norm(out_channels)
        self.act2 = act()
