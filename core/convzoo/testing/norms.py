"""Batch and instance norms in eval mode: running statistics that fit their network, and gradients by them."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

LEAST_VARIANCE = 1e-4
"""Of the square of the mean: with less, a norm would blow up rounding."""


class Running(NamedTuple):
    """What a norm with running statistics computes with beside its input; each tensor is ``(C,)``."""

    mean: torch.Tensor
    variance: torch.Tensor
    weight: torch.Tensor | None
    bias: torch.Tensor | None
    eps: float


class _Norms(TorchFunctionMode):
    """Takes the place of norms that use running statistics, in networks that are no scripts."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in (F.batch_norm, F.instance_norm):
            return func(*args, **kwargs)
        bound = inspect.signature(func).bind(*args, **kwargs)
        bound.apply_defaults()
        x, mean, variance, weight, bias, by_input, _, eps = bound.args
        if by_input or mean is None:
            return func(*args, **kwargs)
        return self.norm(x, Running(mean, variance, weight, bias, eps))

    def norm(self, x: torch.Tensor, by: Running) -> torch.Tensor:
        """The norm of ``x``, ``(N, C, ...)``."""
        raise NotImplementedError


class Differentiable(_Norms):
    """Norms by their formula, since torch does not differentiate its own by the running statistics."""

    def norm(self, x: torch.Tensor, by: Running) -> torch.Tensor:
        def by_channel(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.reshape(-1, *[1] * (x.dim() - 2))

        x = (x - by_channel(by.mean)) * (by_channel(by.variance) + by.eps).rsqrt()
        x = x if by.weight is None else x * by_channel(by.weight)
        return x if by.bias is None else x + by_channel(by.bias)


class Calibrating(_Norms):
    """Gives each norm running statistics that are near those of what it gets.

    In a fresh network they are not: a plain one of many layers then makes its signal ever smaller, until the first
    layers show in no output.
    """

    def __init__(self) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(0)

    def norm(self, x: torch.Tensor, by: Running) -> torch.Tensor:
        dims = [0, *range(2, x.dim())]
        spread, centre = torch.var_mean(x, dims, correction=0)
        spread = spread.clamp(min=LEAST_VARIANCE * centre.square())
        shift, factor = (torch.rand(by.mean.shape, generator=self._generator, dtype=x.dtype) for _ in range(2))
        usable = spread.isfinite() & (spread > 0)
        by.mean.copy_(torch.where(usable, centre + (shift - 0.5) * spread.sqrt(), by.mean))
        by.variance.copy_(torch.where(usable, spread * (factor + 0.5), by.variance))
        return F.batch_norm(x, by.mean, by.variance, by.weight, by.bias, False, 0.0, by.eps)
