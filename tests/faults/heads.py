"""Faulty heads."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from convzoo import OptionError

from .sound import Head, broken


@broken("resets_to_what_is_asked", "head")
class DeafToPools(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset(num_classes)


@broken("resets_to_what_is_asked", "head")
class KeepingItsClassifier(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        if getattr(getattr(self, "fc", None), "out_features", None) != num_classes:
            super().reset(num_classes, global_pool)


@broken("resets_to_what_is_asked", "head")
class StaleWidth(nn.Module):
    """Its classifier has the width of the pool before."""

    classifier_name = "fc"

    def __init__(self, in_channels: int, num_classes: int, *, global_pool: Literal["avg", "both"] = "avg") -> None:
        super().__init__()
        self.width, self.pool = in_channels * (1 + (global_pool == "both")), global_pool
        self.reset(num_classes)

    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        self.pool = global_pool or self.pool
        self.fc = nn.Linear(self.width, num_classes) if num_classes else nn.Identity()

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        mean = x.mean((2, 3))
        x = torch.cat([mean, x.amax((2, 3))], 1) if self.pool == "both" else mean
        return x if pre_logits else self.fc(x)


@broken("resets_to_what_is_asked", "head")
class Waking(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset(num_classes, global_pool)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward(self.drop(x), pre_logits)


@broken("resets_to_what_is_asked", "head")
class ForgettingItsPool(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset(num_classes, global_pool or "avg")


@broken("resets_to_what_is_asked", "head")
class HalfReset(Head):
    """Has changed its pool when it refuses the number of classes."""

    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        self.pool = global_pool or getattr(self, "pool", None) or "avg"
        if num_classes < 0:
            raise OptionError(f"num_classes {num_classes} is negative")
        super().reset(num_classes, global_pool)


@broken("resets_to_what_is_asked", "head")
class BoastfulWidth(Head):
    in_features = 7


@broken("drops_only_in_training", "head")
class DroppingFeatures(Head):
    """What ``pre_logits`` gives is dropped in eval mode too."""

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        if pre_logits:
            return F.dropout(super().forward(x, True), self.rate)
        return super().forward(x)


@broken("resets_to_what_is_asked", "head")
class DeafWithoutClasses(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset(num_classes, global_pool if num_classes else None)
