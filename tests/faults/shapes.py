"""Faulty parts: code, options and shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from convzoo import Component

from .sound import BROKEN, WORDS, Attention, broken

BROKEN.append(("names_code", Component("attention", "nowhere", "nowhere.to:be_found", WORDS)))


BROKEN.append(("names_code", Component("attention", "speechless", Attention)))


@broken("declares_options")
class Swallowing(Attention):
    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels)


@broken("declares_options")
class Untyped(Attention):
    def __init__(self, channels: int, *, rate=0.5) -> None:  # type: ignore[no-untyped-def]
        super().__init__(channels)


@broken("declares_shapes", "block")
class Boastful(Attention):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels)
        self.out_channels = 2 * in_channels


@broken("declares_shapes", "conv")
class Unpadded(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, dilation=dilation)


@broken("declares_shapes")
class EvenOnly(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2))


@broken("declares_shapes", "stem")
class Hasty(nn.Conv2d):
    reduction = 2

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 8, 3, stride=4, padding=1)


@broken("declares_shapes", "head")
class Headless(nn.Linear):
    classifier_name = "fc"

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward(x.mean((2, 3)))


@broken("declares_shapes", "block", example={})
class Needy(Attention):
    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels


@broken("honours_strides", "block")
class Stubborn(Attention):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels


@broken("has_weights_when_made", "conv")
class Lazy(nn.LazyConv2d):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(out_channels, 3, padding=1)


@broken("honours_strides", "shortcut")
class StridedWithChannelsOnly(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, stride if in_channels != out_channels else 1)


@broken("declares_shapes", "stem")
class PoolingFirst(nn.Module):
    """Pools before its activation, which is right for a ReLU only, and not what its level says."""

    out_channels, reduction = 8, 4

    def __init__(self, in_channels: int, *, act: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 3, 2, padding=1)
        self.act, self.pool = act(), nn.MaxPool2d(3, 2, padding=1)
        self.feature_info = {"num_chs": 8, "reduction": 2}

    def forward_intermediates(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        level = self.act(self.conv(x))
        return self.pool(level), [level]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.pool(self.conv(x)))


@broken("declares_shapes", "stem")
class HastyByAnOption(nn.Sequential):
    """Says that it has a pool when it has none."""

    out_channels, reduction = 8, 2

    def __init__(self, in_channels: int, *, pool: bool = True) -> None:
        super().__init__(nn.Conv2d(in_channels, 8, 3, padding=1), nn.MaxPool2d(3, 2, 1) if pool else nn.Identity())


@broken("declares_shapes", "stem")
class CountingTwice(nn.Sequential):
    """Its norm sees each batch twice where levels are asked for."""

    out_channels, reduction = 8, 1
    feature_info: ClassVar[dict[str, Any]] = {"num_chs": 8, "reduction": 1}

    def __init__(self, in_channels: int) -> None:
        super().__init__(nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8))

    def forward_intermediates(self, x: torch.Tensor) -> Any:
        return self(x), [self(x)]


@broken("works_at_any_width", "conv")
class TwoHalves(nn.Module):
    """Gives a channel less than it is asked for, where that is odd."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.half = nn.Conv2d(in_channels, out_channels // 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.half(x), self.half(x).neg()], 1)


@broken("works_at_any_width")
class InHeads(Attention):
    """Fails where the heads do not divide the channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = max(1, x.shape[1] // 16)
        gates = x.mean((2, 3)).reshape(x.shape[0], heads, -1).softmax(2).flatten(1)
        return super().forward(x) * gates[:, :, None, None]
