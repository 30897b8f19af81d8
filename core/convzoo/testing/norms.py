"""Batch and instance norms in eval mode: running statistics that fit their network, and gradients by them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

LEAST_VARIANCE = 1e-4
"""Of the square of the mean: with less, a norm would blow up rounding."""


class _Norms(TorchFunctionMode):
    """Takes the place of norms that use running statistics, in networks that are no scripts."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in (F.batch_norm, F.instance_norm):
            return func(*args, **kwargs)
        bound = inspect.signature(func).bind(*args, **kwargs)
        bound.apply_defaults()
        x, mean, variance, weight, bias, by_input, _, eps = bound.args
        return func(*args, **kwargs) if by_input or mean is None else self.norm(x, mean, variance, weight, bias, eps)

    def norm(
        self,
        x: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
    ) -> torch.Tensor:
        """The norm of ``x``, ``(N, C, ...)``, with running statistics."""
        raise NotImplementedError


class Differentiable(_Norms):
    """Norms by their formula, since torch does not differentiate its own by the running statistics."""

    def norm(
        self,
        x: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
    ) -> torch.Tensor:
        def by_channel(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.reshape(-1, *[1] * (x.dim() - 2))

        x = (x - by_channel(mean)) * (by_channel(variance) + eps).rsqrt()
        x = x if weight is None else x * by_channel(weight)
        return x if bias is None else x + by_channel(bias)


class Calibrating(_Norms):
    """Gives each norm running statistics that are near those of what it gets.

    In a fresh network they are not: a plain one of many layers then makes its signal ever smaller, until the first
    layers show in no output.
    """

    def __init__(self) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(0)

    def norm(
        self,
        x: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
    ) -> torch.Tensor:
        dims = [0, *range(2, x.dim())]
        spread, centre = torch.var_mean(x, dims, correction=0)
        spread = spread.clamp(min=LEAST_VARIANCE * centre.square())
        shift, factor = (torch.rand(mean.shape, generator=self._generator, dtype=x.dtype) for _ in range(2))
        usable = spread.isfinite() & (spread > 0)
        mean.copy_(torch.where(usable, centre + (shift - 0.5) * spread.sqrt(), mean))
        variance.copy_(torch.where(usable, spread * (factor + 0.5), variance))
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)
