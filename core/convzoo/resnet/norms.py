"""Normalisation and activation by name. All keep the shape ``(N, C, H, W)``."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from convzoo.errors import OptionError, require_share, scalar, shown
from convzoo.layers import require_positive


def batch(channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """Batch normalisation (Ioffe and Szegedy, ICML 2015).

    Raises:
        OptionError: ``eps`` is not above 0 and up to 1, or ``momentum`` not from 0 to 1.
    """
    _require_eps(eps)
    require_share("momentum", momentum)
    return nn.BatchNorm2d(channels, eps, momentum)


def group(channels: int, *, groups: int = 32, eps: float = 1e-5) -> nn.Module:
    """Group normalisation (Wu and He, ECCV 2018); where there are fewer channels than groups, each is a group.

    Raises:
        OptionError: ``groups`` does not divide the channels, or ``eps`` is not above 0 and up to 1.
    """
    _require_eps(eps)
    if groups > channels:
        groups = channels
    if groups < 1 or channels % groups:
        raise OptionError(f"groups={groups} of norm 'group' does not divide {channels} channels")
    return nn.GroupNorm(groups, channels, eps)


def instance(channels: int, *, eps: float = 1e-5) -> nn.Module:
    """Instance normalisation with scale and shift (Ulyanov et al., 2016).

    Raises:
        OptionError: ``eps`` is not above 0 and up to 1.
    """
    _require_eps(eps)
    return InstanceNorm(channels, eps, affine=True)


class InstanceNorm(nn.InstanceNorm2d):
    """torch's, without running statistics, and in the memory format of its input, which torch's loses."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        scale = self.weight.view(-1, 1, 1) * (variance + self.eps).rsqrt()
        return (x - mean) * scale + self.bias.view(-1, 1, 1)


def _require_eps(eps: float) -> None:
    number = scalar(eps)
    if type(number) not in (int, float) or not 0 < number <= 1:
        raise OptionError(f"eps must be a number above 0, and no more than 1, got {shown(eps)}")


def none(channels: int) -> nn.Module:
    """No normalisation."""
    return nn.Identity()


def no_act() -> nn.Module:
    """No activation."""
    return nn.Identity()


def prelu(*, num_parameters: int = 1, init: float = 0.25) -> nn.Module:
    """ReLU with a learned slope for negative values, one for all channels or one for each (He et al., ICCV 2015).

    Raises:
        OptionError: ``num_parameters`` is not positive.
    """
    require_positive("num_parameters", num_parameters)
    return nn.PReLU(num_parameters, init)


def gelu(*, approximate: Literal["none", "tanh"] = "none") -> nn.Module:
    """GELU (Hendrycks and Gimpel, 2016), exact or by the hyperbolic tangent."""
    return nn.GELU(approximate)


def relu() -> nn.Module:
    """ReLU, in place: the builder's blocks only give it tensors that nobody else reads."""
    return nn.ReLU(inplace=True)
