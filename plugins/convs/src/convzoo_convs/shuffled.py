"""Grouped convolutions whose groups mix: Zhang et al., ShuffleNet, CVPR 2018, section 3.1."""

from __future__ import annotations

from torch import nn

from convzoo import OptionError
from convzoo.layers import ChannelShuffle, ConvNormAct, Maker, require_groups

DEFAULT_GROUPS = 8
"""Groups where neither the option nor the block says: the most that the paper tries."""


class Shuffled(ConvNormAct):
    """A grouped 3x3 convolution with norm and activation, then a channel shuffle.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels, out_channels: channels before and after; both divisible by the number of groups.
        stride, dilation: of the convolution.
        groups: the block's cardinality; if larger than 1, the number of groups.
        shuffle_groups: the number of groups; None takes the block's cardinality, or 8 where that is 1.
        norm, act: callables that make them.

    Raises:
        OptionError: an impossible size, or a cardinality larger than 1 that is not ``shuffle_groups``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        shuffle_groups: int | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        require_groups(groups, in_channels, out_channels)
        if shuffle_groups is None:
            shuffle_groups = groups if groups > 1 else DEFAULT_GROUPS
        if groups not in (1, shuffle_groups):
            raise OptionError(
                f"shuffle_groups {shuffle_groups} contradicts the block, whose cardinality (groups) is {groups};"
                f" leave one of them out"
            )
        require_groups(shuffle_groups, in_channels, out_channels, "shuffle_groups")
        super().__init__(
            in_channels, out_channels, stride=stride, groups=shuffle_groups, dilation=dilation, norm=norm, act=act
        )
        self.shuffle = ChannelShuffle(shuffle_groups)
