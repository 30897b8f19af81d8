"""Faulty parts: what learns, and what is read."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .sound import Attention, Through, broken


@broken("learns_from_where_it_starts")
class StartingAtNothing(nn.Module):
    """Two layers behind each other start at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = (nn.Conv2d(channels, channels, 1, bias=False) for _ in range(2))
        for layer in (self.down, self.up):
            nn.init.zeros_(layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.up(self.down(x))


@broken("learns_with_every_parameter")
class IdleRows(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = torch.cat([self.weight[:-2], self.weight[:2]])
        return x * weight.view(-1, 1, 1)


@broken("reads_every_channel", "stem")
class ReadingColoursOnly(nn.Conv2d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(min(in_channels, 3), 8, 3, padding=1)
        self.reduction = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x[:, :3])


@broken("reads_its_input_as_it_lies")
class Dense(Attention):
    """Takes its input to be dense in memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        _, c, h, w = x.shape
        return super().forward(x + torch.as_strided(x, x.shape, (c * h * w, h * w, w, 1)))


@broken("trains_after_evaluating")
class Remembering(Through):
    """Keeps what it has made of maps of one size."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.kept: Any = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kept is None or self.kept.shape != x.shape[2:]:
            self.kept = torch.linspace(0.5, 1, x[0, 0].numel(), device=x.device, dtype=x.dtype).view(x.shape[2:])
        return super().forward(x) * self.kept
