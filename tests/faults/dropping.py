"""Faulty parts: stochastic depth and dropout."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from .sound import Head, Quiet, Residual, broken


@broken("drops_whole_branches", "block")
class Steady(Quiet):
    def __init__(self, in_channels: int, *, drop_path_rate: float = 0.0) -> None:
        super().__init__(in_channels)


@broken("drops_whole_branches", "block")
class DroppingAll(Residual):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.branch(x) + self.path(x)) * self.keep(x)


@broken("drops_whole_branches", "block")
class DroppingUnlessStrided(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return super().keep(x) if self.branch.stride[0] == 1 else x.new_ones(1)


@broken("drops_whole_branches", "block")
class DroppingUnscaled(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return super().keep(x) * (1 - self.rate if self.training else 1)


@broken("drops_whole_branches", "block")
class DroppingWithoutAttention(Residual):
    """Forgets to drop where it has an attention."""

    def __init__(
        self,
        in_channels: int,
        *,
        stride: int = 1,
        attention: Callable[..., nn.Module] | None = None,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_channels, stride=stride, drop_path_rate=0.0 if attention else drop_path_rate)
        self.attention = attention(in_channels) if attention else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(self.branch(x)) * self.keep(x) + self.path(x)


@broken("drops_whole_branches", "block")
class DroppingBeforeTheNorm(Residual):
    def __init__(
        self,
        in_channels: int,
        *,
        stride: int = 1,
        drop_path_rate: float = 0.0,
        norm: Callable[..., nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__(in_channels, stride=stride, drop_path_rate=drop_path_rate)
        self.norm = norm(in_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.branch(x) * self.keep(x)) + self.path(x)


@broken("drops_whole_branches", "block")
class DroppingPixels(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(torch.ones_like(x[:, :, :1, :1]), self.rate, self.training)


@broken("drops_whole_branches", "block")
class DroppingForEver(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return super().keep(x) if self.training else x.new_ones(1) * (1 - self.rate)


@broken("drops_whole_branches", "block")
class KeepingByTheRate(Residual):
    """Takes the rate of dropping for that of keeping."""

    def keep(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.rate:
            return x.new_ones(1)
        return x.new_empty(len(x), 1, 1, 1).bernoulli_(self.rate) / self.rate


@broken("drops_only_in_training", "head")
class Undropping(Head):
    def __init__(self, in_channels: int, num_classes: int, *, drop_rate: float = 0.0) -> None:
        super().__init__(in_channels, num_classes)


@broken("drops_only_in_training", "head")
class DroppingAlways(Head):
    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward(F.dropout(x, self.rate), pre_logits)


@broken("drops_only_in_training", "head")
class DryAfterReset(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        self.rate = 0.0 if hasattr(self, "fc") else self.rate
        super().reset(num_classes, global_pool)


@broken("drops_only_in_training", "block")
class DryWhereStrided(nn.Module):
    def __init__(self, in_channels: int, *, stride: int = 1, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1)
        self.out_channels, self.rate = in_channels, drop_rate if stride == 1 else 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.dropout(x, self.rate, self.training))
