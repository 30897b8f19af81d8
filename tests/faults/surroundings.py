"""Faulty parts: settings of the process, seeds and modes."""

from __future__ import annotations

import random
import warnings

import torch
from torch import nn

from .sound import Attention, broken


@broken("leaves_the_process_alone")
class Seeding(Attention):
    def __init__(self, channels: int) -> None:
        torch.manual_seed(0)
        super().__init__(channels)


@broken("leaves_the_process_alone")
class Shuffling(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = random.random()


@broken("leaves_the_process_alone")
class Switching(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.use_deterministic_algorithms(True)
        return super().forward(x)


@broken("starts_by_the_seed")
class Wild(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        generator = torch.Generator()
        generator.seed()
        self.register_buffer("direction", torch.rand(channels, generator=generator))


_SHARED = nn.Parameter(torch.rand(64))


@broken("starts_by_the_seed")
class Tied(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = _SHARED


@broken("follows_train_and_eval")
class Frozen(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.BatchNorm2d(channels)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.eval()
        return self


@broken("follows_train_and_eval")
class Retiring(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.eval()
        return super().forward(x)


@broken("leaves_the_process_alone")
class SeedingPython(Attention):
    def __init__(self, channels: int) -> None:
        random.seed(42)
        super().__init__(channels)


@broken("starts_by_the_seed")
class AllAlike(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        generator = torch.Generator().manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(channels, channels, generator=generator))


@broken("follows_train_and_eval")
class RetiringAlone(Frozen):
    """When it sees a single sample."""

    train = Attention.train

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) == 1:
            self.norm.eval()
        return super().forward(self.norm(x))


@broken("follows_train_and_eval")
class BornRetired(Frozen):
    train = Attention.train

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm.eval()


@broken("follows_train_and_eval")
class Speechless(Attention):
    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)


@broken("leaves_the_process_alone")
class Silencing(Attention):
    def __init__(self, channels: int) -> None:
        warnings.filterwarnings("ignore")
        super().__init__(channels)


@broken("follows_train_and_eval")
class ResignedToOnePixel(Attention):
    """Its norm goes into eval mode on maps of one pixel, and stays there."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2:] == (1, 1):
            self.norm.eval()
        return super().forward(self.norm(x))


@broken("follows_train_and_eval")
class Resting(Attention):
    """Puts its norm into eval mode when the training comes to its end."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.BatchNorm2d(channels)

    def set_progress(self, progress: float) -> None:
        if progress > 0.8:
            self.norm.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(super().forward(x))


@broken("leaves_the_process_alone", "norm")
class CountingOnTheClass(nn.Module):
    """A batch norm whose momentum warms up by a count that all of them share."""

    seen = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            CountingOnTheClass.seen += 1
            self.norm.momentum = max(0.1, 1 / CountingOnTheClass.seen)
        return self.norm(x)
