"""Faulty parts: what they leave behind."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from .sound import Attention, broken


@broken("holds_no_memory")
class Hoarding(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.total = getattr(self, "total", 0) + out.mean()
        return out


@broken("holds_no_memory")
class Logging(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.log: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.log.append(float(x.detach().mean()))
        return super().forward(x)


@broken("holds_no_memory")
class Remembering(Attention):
    """Keeps something for every size of maps, in its class."""

    sizes: ClassVar[dict[tuple[int, ...], int]] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.sizes.setdefault(tuple(x.shape), 1)


@broken("holds_no_memory")
class NotingInEvalMode(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.notes: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        if not self.training:
            self.notes.append(1.0)
        return out


@broken("holds_no_memory")
class Remembered(Attention):
    """Keeps every instance in a list of the class."""

    made: ClassVar[list[nn.Module]] = []

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        Remembered.made.append(self)
