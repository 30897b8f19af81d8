"""Faulty parts: state, devices and memory formats."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .sound import Attention, Residual, broken


@broken("keeps_its_state_in_state_dict")
class Secretive(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.scale *= 0.9
        return super().forward(x) * self.scale


@broken("keeps_its_state_in_state_dict")
class Born(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("direction", torch.rand(channels, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.get_buffer("direction")


@broken("keeps_its_state_in_state_dict")
class Growing(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "seen"):
            self.register_buffer("seen", torch.ones(()))
        return super().forward(x)


@broken("follows_device_and_dtype")
class Settled(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.ones(x.shape[1], 1, 1)


@broken("follows_device_and_dtype")
class Single(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).float()


@broken("keeps_channels_last")
class Reordering(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, torch.arange(x.shape[1] - 1, -1, -1)]


@broken("copies")
class Closing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = lambda x: x * 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale(super().forward(x))


@broken("copies")
class Sharing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("factor", torch.ones(1))

    def __deepcopy__(self, memo: Any) -> Sharing:
        other = Sharing(len(self.weight))
        other.weight = self.weight
        return other


@broken("runs_under_autocast")
class SinglePrecision(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = F.conv2d(x, torch.eye(len(self.weight)).to(x)[:, :, None, None])
        return super().forward(mixed.index_add(0, torch.arange(len(x)), x))


@broken("copies")
class Holding(Attention):
    """Copies before it has trained."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = super().forward(x)
        return self.last


@broken("keeps_its_state_in_state_dict")
class Unregistered(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.strength = torch.full((), 0.5).requires_grad_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.strength


@broken("follows_device_and_dtype", "block")
class SingleMask(Residual):
    """Its mask of stochastic depth is float32."""

    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return super().keep(x).float()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return torch.einsum("nihw,oi->nohw", x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        return torch.einsum("nohw,oi->nihw", gradient, weight), torch.einsum("nohw,nihw->oi", gradient, x)


@broken("runs_under_autocast")
class PlainFunction(Attention):
    """Its own function does not know of autocast."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.matrix = nn.Parameter(torch.rand(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Product.apply(super().forward(x), self.matrix)


@broken("keeps_channels_last", "conv")
class ShufflingGroups(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        return (
            out.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2).contiguous() if self.groups > 1 else out
        )


@broken("keeps_its_state_in_state_dict")
class Stale(Attention):
    """What it has computed in eval mode, whatever is loaded then."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training or not hasattr(self, "scale"):
            self.scale = self.weight.detach().clone()
        return x * (self.weight if self.training else self.scale).view(-1, 1, 1)


@broken("keeps_its_state_in_state_dict")
class StaleUntilToldAMode(Stale):
    def train(self, mode: bool = True) -> StaleUntilToldAMode:
        self.__dict__.pop("scale", None)
        super().train(mode)
        return self


@broken("runs_under_autocast", "norm")
class Following(Attention):
    """Moves its statistics towards those of its input, in whatever type that is."""

    mean: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("mean", torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean((0, 2, 3)), 0.1)
        return super().forward(x) - self.mean.view(-1, 1, 1)


@broken("keeps_its_state_in_state_dict")
class TakingOver(Attention):
    """Has the very tensor that was loaded."""

    seen: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("seen", torch.zeros(channels))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.seen = state_dict[prefix + "seen"]


@broken("keeps_its_state_in_state_dict")
class WarmingUp(Attention):
    """Counts its passes on the side."""

    passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        return super().forward(x) * (0.5 if self.passes < 30 else 1)


@broken("copies")
class Showing(Attention):
    """Keeps what it has seen in training, and with it the graph of the layers before it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        if self.training:
            self.seen = x.mean((2, 3))
        return out


@broken("keeps_channels_last", "conv")
class Unfolding(nn.Module):
    """Turns to channels_last where its weights are, and not where the images alone are."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.contiguous())


@broken("keeps_channels_last")
class OfFiveDimensions(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.more = nn.Parameter(torch.rand(2, 1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.more.sum(0)


@broken("keeps_its_state_in_state_dict")
class FadingByANumber(Attention):
    """Drops more as the training goes on, and forgets how much."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.rate = 0.0

    def set_progress(self, progress: float) -> None:
        self.rate = max(self.rate, 0.5 * progress)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.dropout(x, self.rate, self.training))
