"""Faulty parts: groups and dilation."""

from __future__ import annotations

import math

from torch import nn

from .sound import broken


@broken("honours_groups_and_dilation", "conv")
class Ungrouped(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)


@broken("honours_groups_and_dilation", "conv")
class Undilated(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)


@broken("honours_dilation", "block")
class Shortsighted(nn.Conv2d):
    def __init__(self, in_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, in_channels, 3, padding=1)


@broken("honours_dilation", "block")
class HalfDilated(nn.Conv2d):
    def __init__(self, in_channels: int, *, dilation: int = 1, first_dilation: int = 1) -> None:
        super().__init__(in_channels, in_channels, 3, padding=dilation, dilation=dilation)


@broken("honours_groups_and_dilation", "conv")
class HalfGrouped(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        first = nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=groups)
        super().__init__(first, nn.Conv2d(out_channels, out_channels, 3, padding=1))


@broken("honours_groups_and_dilation", "conv")
class DilatedTwice(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=dilation**2, dilation=dilation**2)


@broken("honours_dilation", "block")
class FirstDilationEverywhere(nn.Sequential):
    def __init__(self, in_channels: int, *, dilation: int = 1, first_dilation: int = 1) -> None:
        spread = {"padding": first_dilation, "dilation": first_dilation}
        super().__init__(*(nn.Conv2d(in_channels, in_channels, 3, **spread) for _ in range(2)))
        self.out_channels = in_channels


@broken("honours_dilation", "shortcut")
class UndilatedShortcut(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)


@broken("honours_groups_and_dilation", "conv")
class UngroupedWhenStrided(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1, groups=groups if stride == 1 else 1)


@broken("honours_groups_and_dilation", "conv")
class Dividing(nn.Conv2d):
    """Takes the largest number of groups that divides the channels, and does not say so."""

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, groups=math.gcd(groups, in_channels, out_channels))


@broken("honours_groups_and_dilation", "conv")
class UngroupedWhereWidthsDiffer(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, groups=groups if in_channels == out_channels else 1)


@broken("honours_groups_and_dilation", "conv")
class NeverDepthwise(nn.Conv2d):
    """Takes as many groups as channels for none."""

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, groups=1 if groups == in_channels else groups)
