"""Faulty blocks: what they do when they are run a second time for the backward pass."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from .sound import Residual, broken


@broken("trains_alike_with_checkpointing", "block")
class CountingBatches(Residual):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, stride=stride)
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.batches.add_(1)
        return super().forward(x)


@broken("trains_alike_with_checkpointing", "block")
class TakingTurns(Residual):
    """Scales one pass in two, and so not what is computed again."""

    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, stride=stride)
        self.turns = itertools.cycle((1.0, 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * next(self.turns))


@broken("trains_alike_with_checkpointing", "block")
class AppendingSomethingElse(nn.Module):
    """Puts what it makes in front."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels + 4
        self.branch = nn.Sequential(nn.Conv2d(in_channels, 4, 3, padding=1))

    def appended(self) -> nn.Sequential:
        return self.branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.branch(x), x], 1)
