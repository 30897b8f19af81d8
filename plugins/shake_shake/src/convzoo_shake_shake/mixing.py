"""Mixing two branches: Gastaldi, Shake-Shake regularization, 2017, section 1, with the modes of its table 1."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Level = Literal["image", "batch"]
ForwardMode = Literal["even", "shake"]
BackwardMode = Literal["even", "shake", "keep"]


class Mix(nn.Module):
    """``alpha * first + (1 - alpha) * second``, with gradients as if ``beta`` stood in the place of ``alpha``.

    Two tensors ``(N, C, H, W)`` to one of the same shape. In evaluation both coefficients are 0.5. In training each
    pass draws its own from torch's generator.

    Args:
        forward_mode: ``"shake"`` draws alpha uniformly from [0, 1), ``"even"`` takes 0.5.
        backward_mode: the same of beta, independently; ``"keep"`` takes the alpha of the forward pass.
        level: one number for each ``"image"``, or for the whole ``"batch"``.
    """

    def __init__(self, forward_mode: ForwardMode, backward_mode: BackwardMode, level: Level) -> None:
        super().__init__()
        self.forward_mode = forward_mode
        self.backward_mode = backward_mode
        self.level = level

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return weighted(first, second, 0.5)
        alpha = self._coefficient(self.forward_mode, first)
        if self.backward_mode == "keep" or self.forward_mode == self.backward_mode == "even":
            return weighted(first, second, alpha)
        return mix(first, second, alpha, self._coefficient(self.backward_mode, first))

    def _coefficient(self, mode: str, like: torch.Tensor) -> torch.Tensor | float:
        if mode == "even":
            return 0.5
        images = like.shape[0] if self.level == "image" else 1
        return torch.rand((images, 1, 1, 1), dtype=like.dtype, device=like.device)

    def extra_repr(self) -> str:
        return f"forward_mode={self.forward_mode!r}, backward_mode={self.backward_mode!r}, level={self.level!r}"


def weighted(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor | float) -> torch.Tensor:
    """``share * first + (1 - share) * second``."""
    return first * share + second * (1 - share)


def mix(
    first: torch.Tensor, second: torch.Tensor, alpha: torch.Tensor | float, beta: torch.Tensor | float
) -> torch.Tensor:
    """The value of mixing by ``alpha``, with the gradient of mixing by ``beta``.

    The coefficients are numbers, or tensors that broadcast, such as ``(N, 1, 1, 1)``.
    """
    backward = weighted(first, second, beta)
    forward = weighted(first.detach(), second.detach(), alpha)
    return backward + (forward - backward).detach()
