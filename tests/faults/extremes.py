"""Faulty parts: widths, small maps, loud images and positions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from convzoo import OptionError
from convzoo.layers import Position

from .sound import Attention, Through, broken


@broken("works_at_any_width")
class NothingHidden(Through):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.squeeze = nn.Parameter(torch.rand(channels // 16, 1, 1))


@broken("works_at_any_width", "conv")
class SquareOnly(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, in_channels, 3, padding=1)


@broken("works_at_any_width", "stem")
class ColourOnly(nn.Conv2d):
    reduction = 2

    def __init__(self, in_channels: int) -> None:
        super().__init__(3, 8, 3, stride=2, padding=1)


@broken("works_at_any_width")
class Divided(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.groups = nn.GroupNorm(16, channels)


@broken("works_at_any_width")
class Picky(Attention):
    def __init__(self, channels: int) -> None:
        if channels != 64:
            raise OptionError("only 64 channels")
        super().__init__(channels)


@broken("works_on_small_maps")
class Unbiased(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * x.var((2, 3), keepdim=True).sigmoid()


@broken("works_on_small_maps", "block")
class Windowed(nn.Module):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.conv = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, padding_mode="reflect")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


@broken("stays_finite")
class Normalizing(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / x.square().mean((1, 2, 3), keepdim=True).sqrt()


@broken("stays_finite")
class Rooting(Attention):
    """Its output is finite for zeros; its gradient is not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * x.square().mean((2, 3), keepdim=True).sqrt()


@broken("stays_finite")
class Exponential(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = x.exp()
        return super().forward(x) * (weights / weights.sum((2, 3), keepdim=True))


@broken("stands_anywhere")
class ByStage(Attention):
    def __init__(self, channels: int, *, position: Position | None = None) -> None:
        super().__init__(channels)
        self.kernel = (3, 5, 5, 7)[position.stage if position else 0]


@broken("works_at_any_width", "block", example={"planes": 64})
class Fixed(nn.Module):
    """Has a scale of 64 entries, whatever its planes."""

    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = nn.Conv2d(in_channels, planes, 1)
        self.scale = nn.Parameter(torch.rand(64, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * self.scale


@broken("stays_finite", "norm")
class ByMoments(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((2, 3), keepdim=True)
        variance = x.square().mean((2, 3), keepdim=True) - mean.square()
        return super().forward((x - mean) * (variance + 1e-5).rsqrt())


@broken("stands_anywhere")
class Placed(Attention):
    """Cannot be made by hand, where nobody tells it its position."""

    def __init__(self, channels: int, *, position: Position | None = None) -> None:
        super().__init__(channels)
        self.first = position.index == 0  # type: ignore[union-attr]


@broken("works_at_any_width")
class ByEight(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.mix = nn.Conv2d(channels // 8 * 8, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(super().forward(x))


@broken("works_on_small_maps", "conv")
class Circular(nn.Conv2d):
    """Its padding wraps around more than once where a dilation is larger than the map."""

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=dilation, dilation=dilation, padding_mode="circular")


@broken("works_at_any_width")
class DroppingWhereWide(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(super().forward(x), 0.1, self.training or x.shape[1] > 256)


@broken("works_on_small_maps", "norm")
class SpoiledByOneValue(nn.Module):
    """The unbiased variance of one value is not a number, and stays."""

    variance: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            values = x.detach().transpose(0, 1).flatten(1)
            self.variance.lerp_(values.var(1), 0.1)
        return x / (self.variance.view(-1, 1, 1) + 1e-5).sqrt()
