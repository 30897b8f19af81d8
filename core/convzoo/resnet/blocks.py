"""The two blocks of residual networks: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, figure 5."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

import torch
from torch import nn

from convzoo.api import part
from convzoo.errors import OptionError
from convzoo.layers import (
    Maker,
    conv2d,
    drop_path,
    last_norm,
    require_positive,
    sequence,
    shortcut_path,
)

_MAKERS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm)
"""Layers whose output is a tensor of its own, in which a sum may be written."""


class ResidualBlock(nn.Module):
    """``act(branch(x) + shortcut(x))``.

    In inference the sum is written where a norm at the end of the branch has written its output, if nobody looks at
    that by a hook: that saves the memory of a map, and the time of touching it.

    Args:
        branch: the residual branch.
        shortcut: the identity path.
        act: what follows the sum.
        out_channels: channels of both.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, act: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.act = act
        self.out_channels = out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, shortcut = self.branch(x), self.shortcut(x)
        if not torch.is_grad_enabled() and type(x) is torch.Tensor and self._may_overwrite(out, shortcut):
            out += shortcut
        else:
            out = out + shortcut
        return self.act(out)

    def _may_overwrite(self, out: torch.Tensor, shortcut: torch.Tensor) -> bool:
        """Whether the branch has made ``out`` itself and nobody else has it, and the sum is of its kind."""
        if type(self.branch) is not nn.Sequential or not self.branch:
            return False
        last = next(reversed(self.branch._modules.values()))
        made = type(last) in _MAKERS and not (last._forward_hooks or self.branch._forward_hooks)
        return made and (out.dtype, out.shape) == (shortcut.dtype, shortcut.shape)


class NormAct(nn.Sequential):
    """A norm and an activation: what ends a network whose blocks begin with theirs. Keeps ``(N, in_channels, H, W)``.

    Args:
        in_channels: channels of the input.
        dilation: accepted, since it means nothing to single pixels.
        norm, act: callables that make them.
    """

    def __init__(
        self, in_channels: int, *, dilation: int = 1, norm: Maker = nn.BatchNorm2d, act: Maker = nn.ReLU
    ) -> None:
        super().__init__(OrderedDict(norm=norm(in_channels), act=act()))
        self.out_channels = in_channels


class Basic(ResidualBlock):
    """Two 3x3 convolutions; the first is the slot ``conv`` and takes the stride.

    ``(N, in_channels, H, W)`` to ``(N, planes, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels: channels of the input.
        planes: channels of both convolutions.
        stride: of the block.
        dilation, first_dilation: of the second and of the first convolution.
        conv, shortcut, attention, norm, act: callables that make the parts; ``attention`` stands after the last norm.
        drop_path_rate: of the residual branch, see :class:`~convzoo.layers.DropPath`.
        zero_init_last: start the last norm's scale at 0, so that the block starts as its shortcut.

    Raises:
        OptionError: an impossible size.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int = 1,
        conv: Maker = part("conv", "plain"),
        shortcut: Maker = part("shortcut", "conv"),
        attention: Maker | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
        drop_path_rate: float = 0.0,
        zero_init_last: bool = False,
    ) -> None:
        require_positive("planes", planes)
        branch = sequence(
            conv1=conv(in_channels, planes, stride=stride, dilation=first_dilation, norm=norm, act=act),
            conv2=conv2d(planes, planes, 3, dilation=dilation),
            norm2=last_norm(norm, planes, zero_init_last),
            attention=attention(planes) if attention else None,
            drop_path=drop_path(drop_path_rate),
        )
        path = shortcut_path(shortcut, in_channels, planes, stride, dilation, first_dilation, norm=norm)
        super().__init__(branch, path, act(), planes)


class Bottleneck(ResidualBlock):
    """1x1, spatial, and 1x1 convolution; the spatial one is the slot ``conv``.

    ``(N, in_channels, H, W)`` to ``(N, planes * expansion, ceil(H / stride), ceil(W / stride))``. With
    ``cardinality`` groups of ``floor(planes * base_width / 64)`` channels each, it is the aggregated transformation
    of Xie et al., CVPR 2017, section 3 (form C of figure 3); with a ``base_width`` of 128, the wide bottleneck of
    Zagoruyko and Komodakis, BMVC 2016.

    Args:
        in_channels: channels of the input.
        planes: the nominal width.
        stride: of the block.
        cardinality: groups of the spatial convolution.
        base_width: channels of each group at 64 planes.
        expansion: output channels over ``planes``.
        reduce_first: what the first 1x1's width is divided by.
        stride_on: which convolution takes the stride; ``"1x1"``, the first, takes it in the networks that He et al.
            released for Caffe.
        dilation, first_dilation: of the stage, and of the spatial convolution.
        conv, shortcut, attention, norm, act: callables that make the parts; ``attention`` stands after the last norm.
        drop_path_rate: of the residual branch, see :class:`~convzoo.layers.DropPath`.
        zero_init_last: start the last norm's scale at 0, so that the block starts as its shortcut.

    Raises:
        OptionError: an impossible size.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        planes: int,
        stride: int = 1,
        cardinality: int = 1,
        base_width: int = 64,
        expansion: int = 4,
        reduce_first: int = 1,
        stride_on: Literal["3x3", "1x1"] = "3x3",
        dilation: int = 1,
        first_dilation: int = 1,
        conv: Maker = part("conv", "plain"),
        shortcut: Maker = part("shortcut", "conv"),
        attention: Maker | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
        drop_path_rate: float = 0.0,
        zero_init_last: bool = False,
    ) -> None:
        sizes = {"planes": planes, "cardinality": cardinality, "base_width": base_width}
        for name, value in {**sizes, "expansion": expansion, "reduce_first": reduce_first}.items():
            require_positive(name, value)
        width = math.floor(planes * base_width / 64) * cardinality
        require_positive(f"floor(planes * base_width / 64), of planes {planes} and base_width {base_width},", width)
        if width % reduce_first:
            raise OptionError(f"reduce_first {reduce_first} does not divide the inner width of {width}")
        first = width // reduce_first
        out_channels = planes * expansion
        strides = {"3x3": (1, stride), "1x1": (stride, 1)}[stride_on]
        branch = sequence(
            conv1=conv2d(in_channels, first, 1, stride=strides[0]),
            norm1=norm(first),
            act1=act(),
            conv2=conv(
                first, width, stride=strides[1], groups=cardinality, dilation=first_dilation, norm=norm, act=act
            ),
            conv3=conv2d(width, out_channels, 1),
            norm3=last_norm(norm, out_channels, zero_init_last),
            attention=attention(out_channels) if attention else None,
            drop_path=drop_path(drop_path_rate),
        )
        path = shortcut_path(shortcut, in_channels, out_channels, stride, dilation, first_dilation, norm=norm)
        super().__init__(branch, path, act(), out_channels)
