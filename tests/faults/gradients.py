"""Faulty parts: gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .sound import Attention, Through, broken


@broken("differentiates_what_it_computes")
class Detaching(Through):
    def gate(self, x: torch.Tensor) -> torch.Tensor:
        return super().gate(x.detach())


@broken("differentiates_what_it_computes", "block")
class DetachingWhenStrided(nn.Module):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.conv = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.data if self.conv.stride[0] > 1 else x)


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return 2 * gradient


@broken("differentiates_what_it_computes")
class Doubling(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(_Doubled.apply(x))


@broken("differentiates_what_it_computes")
class DetachingInTraining(Through):
    """And that at random, so that the gradient has to be looked at on average."""

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        return super().gate(F.dropout(x, 0.5).detach() if self.training else x)


@broken("differentiates_what_it_computes")
class MisledWeight(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.weight * self.weight.detach()).view(-1, 1, 1)


@broken("differentiates_what_it_computes", "block", example={"planes": 128})
class DetachingWhereEqual(nn.Module):
    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__()
        self.out_channels, self.equal = planes, in_channels == planes
        self.conv = nn.Conv2d(in_channels, planes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + (x.detach() if self.equal else 0)
