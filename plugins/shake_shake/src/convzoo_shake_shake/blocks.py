"""The blocks of Shake-Shake networks: Gastaldi, 2017, sections 2.1 and 2.2, as the author's code has them."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from convzoo import deploy, part
from convzoo.layers import ConvNormAct, Maker, drop_path, out_of_place, require_positive, sequence, shortcut_path
from convzoo.resnet.blocks import ResidualBlock
from convzoo_shake_shake.fusion import average
from convzoo_shake_shake.mixing import BackwardMode, ForwardMode, Level, Mix


class MixedBlock(nn.Module):
    """``act_out(after(mix(branch1(h), branch2(h))) + shortcut(x))``, where ``h`` is ``act_in(x)``.

    Args:
        act_in: what the branches' input goes through; it leaves ``x`` as it is.
        branch1, branch2: two alike sequences of :class:`~convzoo.layers.ConvNormAct`.
        mix: makes one of their outputs.
        after: the attention and the stochastic depth of the mixed branch.
        shortcut: the identity path.
        act_out: what follows the sum.
        out_channels: channels of both paths.
    """

    def __init__(
        self,
        *,
        act_in: nn.Module,
        branch1: nn.Sequential,
        branch2: nn.Sequential,
        mix: Mix,
        after: nn.Sequential,
        shortcut: nn.Module,
        act_out: nn.Module,
        out_channels: int,
    ) -> None:
        super().__init__()
        self.act_in = act_in
        self.branch1 = branch1
        self.branch2 = branch2
        self.mix = mix
        self.after = after
        self.shortcut = shortcut
        self.act_out = act_out
        self.out_channels = out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act_in(x)
        return self.act_out(self.after(self.mix(self.branch1(h), self.branch2(h))) + self.shortcut(x))

    def deploy(self) -> nn.Module:
        """A plain residual block, whose one branch is twice as wide inside and has its norms in the convolutions.

        Where a norm is no batch norm, or an activation has parameters, the two branches stay.
        """
        # In eval mode, stochastic depth does nothing.
        after = sequence(
            attention=deploy(self.after.attention, rewrite=False) if hasattr(self.after, "attention") else None
        )
        parts = {"shortcut": deploy(self.shortcut, rewrite=False), "act_out": copy.deepcopy(self.act_out)}
        branch = average(self.branch1, self.branch2)
        if branch is None:
            branches = {name: copy.deepcopy(getattr(self, name)) for name in ("act_in", "branch1", "branch2", "mix")}
            return MixedBlock(**branches, after=after, **parts, out_channels=self.out_channels)
        act_in = None if isinstance(self.act_in, nn.Identity) else copy.deepcopy(self.act_in)
        whole = sequence(act_in=act_in, **dict(branch.named_children()), **dict(after.named_children()))
        return ResidualBlock(whole, parts["shortcut"], parts["act_out"], self.out_channels)


class ShakeShake(MixedBlock):
    """Two branches of activation, 3x3, norm, activation, 3x3, norm; nothing after the sum.

    ``(N, in_channels, H, W)`` to ``(N, planes, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels: channels of the input.
        planes: channels of all convolutions.
        stride: of the first ones.
        forward_mode, backward_mode, level: how the branches are mixed in training, see
            :class:`~convzoo_shake_shake.mixing.Mix`.
        dilation, first_dilation: of the second and of the first convolution of each branch.
        shortcut, attention, norm, act: callables that make the parts; ``attention`` stands after the mixing.
        drop_path_rate: of the mixed branch, see :class:`~convzoo.layers.DropPath`.

    Raises:
        OptionError: an impossible size.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        planes: int,
        stride: int = 1,
        forward_mode: ForwardMode = "shake",
        backward_mode: BackwardMode = "shake",
        level: Level = "image",
        dilation: int = 1,
        first_dilation: int = 1,
        shortcut: Maker = part("shortcut", "two_path"),
        attention: Maker | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
        drop_path_rate: float = 0.0,
    ) -> None:
        require_positive("planes", planes)

        def branch() -> nn.Sequential:
            return sequence(
                conv1=ConvNormAct(in_channels, planes, stride=stride, dilation=first_dilation, norm=norm, act=act),
                conv2=ConvNormAct(planes, planes, dilation=dilation, norm=norm, act=None),
            )

        super().__init__(
            act_in=out_of_place(act()),
            branch1=branch(),
            branch2=branch(),
            mix=Mix(forward_mode, backward_mode, level),
            after=_after(attention, planes, drop_path_rate),
            shortcut=shortcut_path(shortcut, in_channels, planes, stride, dilation, first_dilation, norm=norm, act=act),
            act_out=nn.Identity(),
            out_channels=planes,
        )


class ShakeShakeBottleneck(MixedBlock):
    """Two branches of 1x1, grouped 3x3 and 1x1 convolution, with an activation after the sum.

    ``(N, in_channels, H, W)`` to ``(N, planes * expansion, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels: channels of the input.
        planes: the nominal width.
        stride: of the 3x3 convolutions.
        cardinality: groups of each 3x3 convolution.
        base_width: channels of each group at 64 planes.
        expansion: output channels over ``planes``.
        forward_mode, backward_mode, level: how the branches are mixed in training, see
            :class:`~convzoo_shake_shake.mixing.Mix`.
        dilation, first_dilation: of the stage, and of the 3x3 convolutions.
        shortcut, attention, norm, act: callables that make the parts; ``attention`` stands after the mixing.
        drop_path_rate: of the mixed branch, see :class:`~convzoo.layers.DropPath`.

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
        forward_mode: ForwardMode = "shake",
        backward_mode: BackwardMode = "even",
        level: Level = "image",
        dilation: int = 1,
        first_dilation: int = 1,
        shortcut: Maker = part("shortcut", "conv"),
        attention: Maker | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
        drop_path_rate: float = 0.0,
    ) -> None:
        sizes = {"planes": planes, "cardinality": cardinality, "base_width": base_width, "expansion": expansion}
        for name, value in sizes.items():
            require_positive(name, value)
        width = math.floor(planes * base_width / 64) * cardinality
        require_positive(f"floor(planes * base_width / 64), of planes {planes} and base_width {base_width},", width)
        out_channels = planes * expansion
        common = {"norm": norm, "act": act}
        spatial = {"stride": stride, "groups": cardinality, "dilation": first_dilation}

        def branch() -> nn.Sequential:
            return sequence(
                conv1=ConvNormAct(in_channels, width, kernel_size=1, **common),
                conv2=ConvNormAct(width, width, **spatial, **common),
                conv3=ConvNormAct(width, out_channels, kernel_size=1, norm=norm, act=None),
            )

        super().__init__(
            act_in=nn.Identity(),
            branch1=branch(),
            branch2=branch(),
            mix=Mix(forward_mode, backward_mode, level),
            after=_after(attention, out_channels, drop_path_rate),
            shortcut=shortcut_path(shortcut, in_channels, out_channels, stride, dilation, first_dilation, norm=norm),
            act_out=act(),
            out_channels=out_channels,
        )


def _after(attention: Maker | None, channels: int, drop_path_rate: float) -> nn.Sequential:
    return sequence(attention=attention(channels) if attention else None, drop_path=drop_path(drop_path_rate))
