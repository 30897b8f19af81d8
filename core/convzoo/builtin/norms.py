"""Normalisation and activation by name. All keep the shape ``(N, C, H, W)``."""

from __future__ import annotations

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
    return nn.InstanceNorm2d(channels, eps, affine=True)


def none(channels: int) -> nn.Module:
    """No normalisation."""
    return nn.Identity()


def relu() -> nn.Module:
    """ReLU, in place: the builder's blocks only give it tensors that nobody else reads."""
    return nn.ReLU(inplace=True)
