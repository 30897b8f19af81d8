"""Normalisation and activation by name. All keep the shape ``(N, C, H, W)``."""

from __future__ import annotations

import torch
from torch import nn

from convzoo.errors import OptionError


def batch(channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """Batch normalisation (Ioffe and Szegedy, ICML 2015)."""
    return nn.BatchNorm2d(channels, eps, momentum)


def group(channels: int, *, groups: int = 32, eps: float = 1e-5) -> nn.Module:
    """Group normalisation (Wu and He, ECCV 2018); where there are fewer channels than groups, each is a group.

    Raises:
        OptionError: ``groups`` does not divide the channels.
    """
    if groups > channels:
        groups = channels
    if groups < 1 or channels % groups:
        raise OptionError(f"groups={groups} of norm 'group' does not divide {channels} channels")
    return nn.GroupNorm(groups, channels, eps)


def instance(channels: int, *, eps: float = 1e-5) -> nn.Module:
    """Instance normalisation with scale and shift (Ulyanov et al., 2016)."""
    return InstanceNorm(channels, eps, affine=True)


class InstanceNorm(nn.InstanceNorm2d):
    """torch's, without running statistics, and in the memory format of its input, which torch's loses."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        scale = self.weight.view(-1, 1, 1) * (variance + self.eps).rsqrt()
        return (x - mean) * scale + self.bias.view(-1, 1, 1)


def none(channels: int) -> nn.Module:
    """No normalisation."""
    return nn.Identity()


def no_act() -> nn.Module:
    """No activation."""
    return nn.Identity()


def prelu(*, num_parameters: int = 1, init: float = 0.25) -> nn.Module:
    """ReLU with a learned slope for negative values, one for all channels or one for each (He et al., ICCV 2015)."""
    return nn.PReLU(num_parameters, init)


def relu() -> nn.Module:
    """ReLU, in place: the builder's blocks only give it tensors that nobody else reads."""
    return nn.ReLU(inplace=True)
