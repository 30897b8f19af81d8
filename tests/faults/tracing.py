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


class Iterating(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *others = super().forward(x).split(1, 1)
        return torch.cat([first, *others], 1)


@broken("traces")
class Noisy(Attention):
    """Draws what a tracer takes for a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 + torch.rand(1) if self.training else torch.ones(1))


class Unreadable(Attention):
    """Is a single call in the graph, which TorchScript cannot read."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _untold(super().forward(x))


def _untold(x: torch.Tensor) -> torch.Tensor:
    return [lambda: x, lambda: x * 1][x.dim() % 2]()


torch.fx.wrap("_untold")


@broken("compiles", "block")
class Tossing(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        dropped = self.training and self.rate and torch.rand(()) < self.rate
        return x.new_zeros(1) if dropped else x.new_ones(1)
