"""Small modules and rules that blocks of several families share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from convzoo.channels import gather_channels as gather_channels
from convzoo.channels import match_memory_format as match_memory_format
from convzoo.channels import shuffle_channels as shuffle_channels
from convzoo.channels import unpacked as unpacked
from convzoo.errors import LARGEST, OptionError, scalar, shown
from convzoo.errors import require_rate as require_rate
from convzoo.errors import require_share as require_share
from convzoo.spec.kinds import Position as Position

Maker = Callable[..., nn.Module]
"""A callable that makes a module: what a slot, ``norm`` or ``act`` is given as. An option of this type is a slot."""
Fill = Callable[[torch.Tensor], Any]
"""What starts a tensor in place, such as the functions of ``torch.nn.init``."""
Fills = Iterable[tuple[torch.Tensor, Fill]]
"""What an ``init`` component gives: each tensor that it starts, and how."""


FARTHEST = 2**15
"""Pixels, to each side, that a kernel may reach; images are smaller."""


class ConvNormAct(nn.Sequential):
    """A convolution without bias, its norm and its activation: the plain part for the slot ``conv``.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``, padded with
    ``kernel_size // 2 * dilation``.

    Args:
        in_channels, out_channels: channels before and after; both divisible by ``groups``.
        kernel_size: odd side of the kernel.
        stride, groups, dilation: of the convolution.
        norm: called with ``out_channels``.
        act: called with nothing; None leaves the activation out.

    Raises:
        OptionError: an impossible size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        norm: Maker = nn.BatchNorm2d,
        act: Maker | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.conv = conv2d(in_channels, out_channels, kernel_size, stride=stride, groups=groups, dilation=dilation)
        self.norm = norm(out_channels)
        if act is not None:
            self.act = act()


def conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1, with its arguments checked before it allocates anything.

    Args:
        in_channels, out_channels: channels before and after; both divisible by ``groups``.
        kernel_size: odd side of the kernel; the padding is ``kernel_size // 2 * dilation``.
        stride, groups, dilation: of the convolution.
        bias: whether it has one.

    Raises:
        OptionError: a size is not positive or out of all bounds, the kernel is even, or ``groups`` does not divide the
            channels.
    """
    for name, value in {"in_channels": in_channels, "out_channels": out_channels, "stride": stride}.items():
        require_positive(name, value)
    require_positive("dilation", dilation)
    require_odd("kernel_size", kernel_size)
    require_reach(kernel_size, dilation)
    require_groups(groups, in_channels, out_channels)
    padding = kernel_size // 2 * dilation
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)


class ChannelShuffle(nn.Module):
    """Channel ``g * (C / groups) + i`` goes to ``i * groups + g``, so that neighbours come from different groups.

    ``(N, C, H, W)`` keeps its shape and its memory format, which ``torch.nn.ChannelShuffle`` does not.

    Args:
        groups: divides the channels.

    Raises:
        OptionError: ``groups`` is not positive.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        require_positive("groups", groups)
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return shuffle_channels(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class DropPath(nn.Module):
    """Stochastic depth: in training, drops whole samples of a residual branch and scales the others up to keep the
    mean.

    Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.

    Args:
        rate: probability that a sample is dropped, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.4g}"


def drop_path(rate: float) -> nn.Module | None:
    """:class:`DropPath`, or None for a rate of 0."""
    return DropPath(rate) if rate > 0 else None


def dropout(rate: float) -> nn.Module | None:
    """``nn.Dropout``, or None for a rate of 0.

    Raises:
        OptionError: ``rate`` is not in [0, 1).
    """
    require_rate("dropout", rate)
    return nn.Dropout(rate) if rate else None


def sequence(**modules: nn.Module | None) -> nn.Sequential:
    """A Sequential of the modules that are there, under their names."""
    return nn.Sequential(OrderedDict((name, module) for name, module in modules.items() if module is not None))


def last_norm(norm: Maker, channels: int, zero: bool) -> nn.Module:
    """The norm at the end of a residual branch, ``norm(channels)``; with ``zero``, its scale starts at 0."""
    module = norm(channels)
    scale = getattr(module, "weight", None)
    if zero and isinstance(scale, nn.Parameter):
        nn.init.zeros_(scale)
    return module


def norm_of_pooled(norm: Maker, channels: int) -> nn.Module:
    """``norm(channels)`` for features of one pixel; group and instance norms become one group of all channels.

    A group that is one number is normalised to 0, and nothing of the features would be left.
    """
    module = norm(channels)
    if isinstance(module, (nn.GroupNorm, nn.InstanceNorm2d)):
        return nn.GroupNorm(1, channels, module.eps)
    return module


def shortcut_path(
    shortcut: Maker,
    in_channels: int,
    out_channels: int,
    stride: int,
    dilation: int,
    first_dilation: int,
    **offered: Maker,
) -> nn.Module:
    """An identity where the shape stays, else a ``shortcut``.

    Args:
        shortcut: called with all that follows.
        in_channels, out_channels, stride: of the block.
        dilation, first_dilation: of the stage, and of the stage before.
        **offered: the block's ``norm`` and, where the shortcut is to have it, ``act``.
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    sizes = {"stride": stride, "dilation": dilation, "first_dilation": first_dilation}
    return shortcut(in_channels, out_channels, **sizes, **offered)


def out_of_place(module: nn.Module) -> nn.Module:
    """``module``, of which no layer overwrites what it is given any more: each ``inplace`` is set to False.

    For activations whose input somebody else still reads. Behind a norm that may give its very input the builder does
    this by itself.
    """
    for each in module.modules():
        if getattr(each, "inplace", False):
            each.inplace = False  # type: ignore[assignment]
    return module


def add(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of ``tensors`` of one shape, from left to right.

    Unlike stacking and summing, it keeps channels_last and copies nothing.
    """
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


def make_divisible(value: float, divisor: int = 1, minimum: int | None = None) -> int:
    """``value`` rounded to the nearest multiple of ``divisor``, at least ``minimum`` (``divisor`` unless given)."""
    return max(divisor if minimum is None else minimum, int(value + divisor / 2) // divisor * divisor)


def require_positive(name: str, value: int) -> None:
    """Raise OptionError, naming the option ``name``, unless ``value`` is an integer from 1 to 2**31 - 1."""
    number = scalar(value)
    if type(number) is not int or number < 1:
        raise OptionError(f"{name} must be at least 1, got {shown(value)}")
    if number > LARGEST:
        raise OptionError(f"{name} must be at most {LARGEST}, got {shown(value)}")


def require_odd(name: str, value: int) -> None:
    """Raise OptionError, naming the option ``name``, unless ``value`` is odd and positive, and an integer."""
    number = scalar(value)
    if type(number) is not int or number < 1 or number % 2 == 0:
        raise OptionError(f"{name} must be an odd number, so that the size is kept; got {shown(value)}")


def require_reach(kernel_size: int, dilation: int = 1, name: str = "kernel_size") -> None:
    """Raise OptionError, naming the option ``name``, if a kernel reaches farther than 2**15 pixels to a side.

    Args:
        kernel_size, dilation: of the convolution.
        name: what the kernel's size is called.
    """
    if kernel_size // 2 * dilation > FARTHEST:
        spread = f" with a dilation of {shown(dilation)}" if dilation > 1 else ""
        raise OptionError(f"{name} {shown(kernel_size)}{spread} reaches farther than {FARTHEST} pixels to each side")


def require_groups(groups: int, in_channels: int, out_channels: int, name: str = "cardinality (groups)") -> None:
    """Raise OptionError, naming the option ``name``, unless ``groups`` divides ``in_channels`` and ``out_channels``."""
    number = scalar(groups)
    if type(number) is not int or number < 1 or in_channels % number or out_channels % number:
        raise OptionError(
            f"{name} {shown(groups)} does not divide the {in_channels} channels in and {out_channels} out"
        )
