"""Faulty parts: compilers."""

from __future__ import annotations

import torch

from .sound import Attention, Residual, broken


@broken("compiles")
class Undecided(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum() > 0 else super().forward(x) * 0.5


@broken("exports")
class OneBatch(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.shape[0] != 4 else super().forward(x) * 1.0


@broken("compiles", "block")
class Tossing(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        dropped = self.training and self.rate and torch.rand(()) < self.rate
        return x.new_zeros(1) if dropped else x.new_ones(1)
