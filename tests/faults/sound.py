"""Sound parts, which the faulty ones differ from in one thing, and how those are collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import Component, Model, OptionError, Stage, ref

WORDS = "a part of a test"


class Attention(nn.Module):
    """Sound; the broken ones differ from it in one thing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.view(-1, 1, 1)


BROKEN: list[tuple[str, Any]] = []
"""Name of the check that must catch it, and what is contributed."""


def broken(check: str, kind: str = "attention", **fields: Any) -> Callable[[Any], Any]:
    def add(target: Any) -> Any:
        BROKEN.append((check, Component(kind, target.__name__.lower(), target, WORDS, **fields)))
        return target

    return add


class Quiet(Attention):
    """Sound, as long as nobody asks anything of it."""

    def __init__(self, in_channels: int, *, stride: int = 1, **_: Any) -> None:
        super().__init__(in_channels)
        if stride > 1:
            raise OptionError("no strides")
        self.out_channels = in_channels


BASIC = ref("basic", planes=8)


def model(block: str | convzoo.Ref = BASIC, name: str = "tiny", **fields: Any) -> Model:
    stem = ref("cifar", width=8)
    return Model(name, "tiny", stem, (Stage((block,)),), num_classes=5, input_size=16, **fields)


class Through(Attention):
    """Sound: a gate that looks at its input."""

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=True).sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.gate(x)


class Residual(nn.Module):
    """Sound; what drops is in ``drop``."""

    def __init__(self, in_channels: int, *, stride: int = 1, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.out_channels, self.rate = in_channels, drop_path_rate
        self.branch = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1)
        self.path = nn.Conv2d(in_channels, in_channels, 1, stride)

    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return (
            x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - self.rate) / (1 - self.rate) if self.training else x.new_ones(1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.branch(x) * self.keep(x) + self.path(x)


class Head(nn.Module):
    """Sound."""

    classifier_name = "fc"
    draws = True

    def __init__(
        self, in_channels: int, num_classes: int, *, drop_rate: float = 0.0, global_pool: Literal["avg", "max"] = "avg"
    ) -> None:
        super().__init__()
        self.in_channels, self.rate, self.pool = in_channels, drop_rate, global_pool
        self.reset(num_classes)

    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        self.pool = global_pool or self.pool
        self.fc = nn.Linear(self.in_channels, num_classes) if num_classes else nn.Identity()

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = x.mean((2, 3)) if self.pool == "avg" else x.amax((2, 3))
        x = F.dropout(x, self.rate, self.training)
        return x if pre_logits else self.fc(x)
