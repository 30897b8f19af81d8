"""Faulty parts: norms, activations and slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from .sound import Attention, Quiet, broken


@broken("uses_what_it_is_offered")
class Headstrong(Attention):
    def __init__(self, channels: int, *, act: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()


@broken("uses_what_it_is_offered", "block")
class Closed(Quiet):
    def __init__(self, in_channels: int, *, attention: Callable[..., nn.Module] | None = None) -> None:
        super().__init__(in_channels)


@broken("uses_what_it_is_offered", "block")
class Narrow(Quiet):
    def __init__(self, in_channels: int, *, shortcut: Callable[..., nn.Module] = nn.Conv2d) -> None:
        super().__init__(in_channels)


@broken("uses_what_it_is_offered", "block")
class HalfNormed(Quiet):
    def __init__(self, in_channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(in_channels)
        self.first, self.second = norm(in_channels), nn.BatchNorm2d(in_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.second(self.first(x)))


@broken("uses_what_it_is_offered", "block")
class HalfActivated(Quiet):
    def __init__(self, in_channels: int, *, act: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__(in_channels)
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(super().forward(self.act(x)))


@broken("uses_what_it_is_offered", "block")
class Keeping(Quiet):
    """Makes an attention, and forgets it."""

    def __init__(self, in_channels: int, *, attention: Callable[..., nn.Module] | None = None) -> None:
        super().__init__(in_channels)
        self.attention = attention(in_channels) if attention else None


@broken("uses_what_it_is_offered", "block", example={"planes": 64})
class Miscounting(nn.Module):
    """Makes its attention for the channels in, and gives it those that come out."""

    def __init__(self, in_channels: int, *, planes: int, attention: Callable[..., nn.Module] | None = None) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = nn.Conv2d(in_channels, planes, 1)
        self.attention = attention(in_channels) if attention else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(self.conv(x))


@broken("uses_what_it_is_offered", "shortcut")
class BareWhenStrided(nn.Sequential):
    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, norm: Callable[..., nn.Module] = nn.BatchNorm2d
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 1, stride)
        super().__init__(*((conv, norm(out_channels)) if stride == 1 else (conv,)))


@broken("uses_what_it_is_offered", "block", example={"planes": 64})
class Expanding(Miscounting):
    """Makes its attention for its planes, and more come out with any expansion but the default."""

    def __init__(
        self, in_channels: int, *, planes: int, expansion: int = 1, attention: Callable[..., nn.Module] | None = None
    ) -> None:
        super().__init__(planes, planes=planes * expansion, attention=attention)
        self.conv = nn.Conv2d(in_channels, self.out_channels, 1)


@broken("uses_what_it_is_offered", "shortcut")
class OwnNormWhereItShrinks(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        own = nn.BatchNorm2d if out_channels < in_channels else norm
        super().__init__(nn.Conv2d(in_channels, out_channels, 1), own(out_channels))


@broken("uses_what_it_is_offered", "block")
class BareWhereItDrops(Quiet):
    """Has its attention only where it drops nothing."""

    def __init__(
        self, in_channels: int, *, drop_path_rate: float = 0.0, attention: Callable[..., nn.Module] | None = None
    ) -> None:
        super().__init__(in_channels)
        self.attention = attention(in_channels) if attention and not drop_path_rate else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(super().forward(x))


@broken("uses_what_it_is_offered", "conv")
class ActivatedWhereGrouped(nn.Conv2d):
    """Has an activation of its own where it has groups."""

    def __init__(
        self, in_channels: int, out_channels: int, *, groups: int = 1, act: Callable[..., nn.Module] = nn.ReLU
    ) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, groups=groups)
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = super().forward(x)
        return self.act(F.relu(x) if self.groups > 1 else x)


@broken("uses_what_it_is_offered", "shortcut")
def pooled(
    in_channels: int, out_channels: int, *, stride: int = 1, norm: Callable[..., nn.Module] = nn.BatchNorm2d
) -> nn.Module:
    """Has a norm of its own at a stride, where the channels stay as they are."""
    pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
    if stride > 1 and in_channels == out_channels:
        return nn.Sequential(pool, nn.BatchNorm2d(out_channels))
    return nn.Sequential(pool, nn.Conv2d(in_channels, out_channels, 1, bias=False), norm(out_channels))


@broken("heeds_its_options_at_every_stride", "conv")
class SizedUnlessStrided(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, kernel_size: int = 5) -> None:
        super().__init__()
        size = kernel_size if stride == 1 else 3
        self.conv = nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


@broken("uses_what_it_is_offered")
class ActivatedByChoice(Attention):
    """Has an activation of its own with one of its choices."""

    def __init__(
        self, channels: int, *, mode: Literal["plain", "twice"] = "plain", act: Callable[..., nn.Module] = nn.ReLU
    ) -> None:
        super().__init__(channels)
        self.act = act()
        self.more = nn.ReLU() if mode == "twice" else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.more(self.act(super().forward(x)) - 0.1)


@broken("honours_groups_and_dilation", "conv")
class DilatedUnlessGrouped(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        dilation = dilation if groups == 1 else 1
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


@broken("honours_groups_and_dilation", "conv")
class PooledBeside(nn.Module):
    """At a stride, a convolution of single pixels beside it mixes all groups."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups)
        self.pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
        self.beside = nn.Conv2d(in_channels, out_channels, 1) if stride > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if self.beside is None else self.conv(x) + self.beside(self.pool(x))


@broken("uses_what_it_is_offered", "block")
class AttendingUnlessStrided(nn.Module):
    def __init__(self, in_channels: int, *, stride: int = 1, attention: Callable[..., nn.Module] | None = None) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.conv = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1)
        self.attention = attention(in_channels) if attention and stride == 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(self.conv(x))
