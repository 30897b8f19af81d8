"""Faulty parts: their input, samples and surroundings."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from convzoo.layers import Position

from .sound import Attention, broken


@broken("leaves_its_input_alone")
class InPlace(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x.mul_(0.5)
        return super().forward(x)


@broken("leaves_its_input_alone", "block")
class Hasting(Attention):
    """Sound behind every norm but one that gives its very input; and nobody can see that it works in place."""

    def __init__(self, in_channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels
        self.norm = norm(in_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.norm(x).relu_()) + x


@broken("works_out_of_place_when_told", "act")
class Overwriting(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu_()


@broken("learns_with_every_parameter", example=({"idle": False}, {"idle": True}))
class Optional(Attention):
    """Sound with the first of its examples only."""

    def __init__(self, channels: int, *, idle: bool) -> None:
        super().__init__(channels)
        if idle:
            self.bias = nn.Parameter(torch.rand(channels))


@broken("learns_with_every_parameter")
class Idle(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.bias = nn.Parameter(torch.rand(channels))


@broken("learns_with_every_parameter")
class Rounded(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.level = nn.Parameter(torch.rand(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.level.round()


@broken("repeats_itself_in_eval_mode")
class AlwaysDropping(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(super().forward(x))


@broken("treats_samples_independently")
class Averse(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(0))


@broken("treats_samples_independently")
class Turning(Attention):
    """Sound in the first layer, and not in later ones."""

    def __init__(self, channels: int, *, position: Position | None = None) -> None:
        super().__init__(channels)
        self.later = position is not None and position.layer > 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(0) if self.later else x)


@broken("forgets_what_ran_before")
class Counting(Attention):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counting.calls += 1
        return super().forward(x) * Counting.calls


@broken("forgets_what_ran_before")
class Eager(Attention):
    mean: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("mean", torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.mean.lerp_(x.detach().mean((0, 2, 3)), 0.1)
        return out


@broken("draws_from_torch")
class Dicing(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (random.random() if self.training else 0.5)


@broken("draws_from_torch")
class Private(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "generator"):
            self.generator = torch.Generator()
        return super().forward(x) * (torch.rand(1, generator=self.generator).to(x) if self.training else 0.5)


@broken("draws_from_torch")
class Ageing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.scale *= 0.9 if self.training else 1
        return super().forward(x) * self.scale


@broken("leaves_its_input_alone")
class Clipping(Attention):
    """Its input, where that is loud."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x.clamp_(-20, 20)
        return super().forward(x)


@broken("learns_with_every_parameter")
class Decaying(Attention):
    """By itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.weight.data.mul_(0.99)
        return out


@broken("treats_samples_independently")
class ByTheLoudest(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x / x.detach().abs().max().clamp(min=20))


@broken("learns_with_every_parameter")
class Sparing(Attention):
    """Does not learn on large maps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and x[0, 0].numel() < 1000):
            return super().forward(x)


@broken("forgets_what_ran_before")
class Bounding(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.weight.clamp_(-3, 3)
        return super().forward(x)


@broken("learns_with_every_parameter")
class IdleInOddLayers(Attention):
    def __init__(self, channels: int, *, position: Position | None = None) -> None:
        super().__init__(channels)
        self.idle = position is not None and position.layer % 2 == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1 if self.idle else super().forward(x)


@broken("computes_the_same_behind_a_norm_that_gives_its_input", "conv")
class ReadingTwice(nn.Conv2d):
    """Activates in place what it still reads, where its norm gives its input."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.norm = norm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return torch.relu_(self.norm(y)) + y


@broken("works_out_of_place_when_told", "act")
class OverwritingInEvalMode(nn.Module):
    inplace = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.elu(x, inplace=self.inplace or not self.training)


@broken("evaluates_what_it_has_trained", "norm")
class Deviating(nn.Module):
    """Keeps deviations, and takes them for variances."""

    spread: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.register_buffer("spread", torch.ones(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x * (self.spread + 1e-5).rsqrt() * self.weight
        variance = x.var((0, 2, 3), correction=0, keepdim=True)[0]
        with torch.no_grad():
            self.spread.lerp_(variance.sqrt().to(self.spread.dtype), 0.1)
        return x * (variance + 1e-5).rsqrt() * self.weight


@broken("evaluates_what_it_has_trained")
class Halving(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 if self.training else 0.5)


@broken("computes_the_same_behind_a_norm_that_gives_its_input")
class AddingToTheNormed(Attention):
    """Right, and cannot be trained, since the gradient of the gate needs what is overwritten."""

    def __init__(self, channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(channels)
        self.norm = norm(channels)
        self.gate = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = super().forward(x)
        more = self.gate(x)
        out = self.norm(x)
        out += more
        return out


@broken("evaluates_what_it_has_trained", "norm")
class Squaring(Deviating):
    """Keeps mean squares, and takes them for variances."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)[0]
        if not self.training:
            return (x - mean) * (self.spread + 1e-5).rsqrt() * self.weight
        with torch.no_grad():
            self.spread.lerp_(x.square().mean((0, 2, 3), keepdim=True)[0].to(self.spread.dtype), 0.1)
        return (x - mean) * (x.var((0, 2, 3), correction=0, keepdim=True)[0] + 1e-5).rsqrt() * self.weight
