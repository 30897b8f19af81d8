"""Convolutional block attention: Woo et al., CBAM, ECCV 2018, section 3, as its authors' code has it."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import nn

from convzoo import OptionError
from convzoo.layers import Fills, Maker, conv2d, last_norm, require_odd, require_positive, require_share

Pool = Literal["avg", "max", "lp", "lse"]


class CBAM(nn.Sequential):
    """A channel gate, then a spatial gate. Keeps the shape ``(N, channels, H, W)``.

    The defaults are the authors'. timm's module is
    ``mlp_bias=False, order="mean_max", spatial_momentum=0.1, spatial_zero_init=False``.

    Args:
        channels: of the input.
        reduction: what the channels are divided by between the channel gate's two layers.
        mlp_bias: whether those layers have biases.
        pools: what the channel gate sums over: mean, maximum, L2 norm, log-sum-exp.
        spatial: False leaves the spatial gate out.
        spatial_kernel: odd side of its kernel.
        order: of the two maps that it looks at.
        spatial_momentum: of its norm, if that is a batch norm.
        spatial_zero_init: start its norm's scale at 0, so that the gate starts at 0.5 everywhere.
        norm, act: callables that make them.

    Raises:
        OptionError: an impossible size or momentum.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        mlp_bias: bool = True,
        pools: tuple[Pool, ...] = ("avg", "max"),
        spatial: bool = True,
        spatial_kernel: int = 7,
        order: Literal["max_mean", "mean_max"] = "max_mean",
        spatial_momentum: float = 0.01,
        spatial_zero_init: bool = True,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        require_positive("reduction", reduction)
        require_odd("spatial_kernel", spatial_kernel)
        require_share("spatial_momentum", spatial_momentum)
        if not pools:
            raise OptionError("pools must name at least one of avg, max, lp, lse")
        self.channel = ChannelGate(channels, max(channels // reduction, 1), mlp_bias, pools, act)
        if spatial:
            gate_norm = last_norm(norm, 1, spatial_zero_init)
            if isinstance(gate_norm, nn.BatchNorm2d):
                gate_norm.momentum = spatial_momentum
            self.spatial = SpatialGate(spatial_kernel, order, gate_norm)


class ChannelGate(nn.Module):
    """Scales each channel by what one two-layer perceptron makes of several global pools (equation 2)."""

    def __init__(self, channels: int, width: int, bias: bool, pools: tuple[Pool, ...], act: Maker) -> None:
        super().__init__()
        self.pools = pools
        self.fc1 = nn.Conv2d(channels, width, 1, bias=bias)
        self.act = act()
        self.fc2 = nn.Conv2d(width, channels, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scales = [self.fc2(self.act(self.fc1(_pooled(x, pool)))) for pool in self.pools]
        return x * sum(scales[1:], scales[0]).sigmoid()


class SpatialGate(nn.Module):
    """Scales each pixel by what one convolution makes of the channels' maximum and mean (equation 3)."""

    def __init__(self, kernel_size: int, order: str, norm: nn.Module) -> None:
        super().__init__()
        self.order = order
        self.conv = conv2d(2, 1, kernel_size)
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        reduce = {"max": x.amax, "mean": x.mean}
        maps = [reduce[name](1, keepdim=True) for name in self.order.split("_")]
        return x * self.norm(self.conv(torch.cat(maps, 1))).sigmoid()


def _pooled(x: torch.Tensor, pool: Pool) -> torch.Tensor:
    if pool == "avg":
        return x.mean((2, 3), keepdim=True)
    if pool == "max":
        return x.amax((2, 3), keepdim=True)
    return x.norm(2, (2, 3), keepdim=True) if pool == "lp" else x.logsumexp((2, 3), keepdim=True)


def cbam_init(model: nn.Module) -> Fills:
    """The authors' start: Kaiming normal convolutions by fan-out, classifier by fan-in, every bias 0.

    The projection shortcuts and the channel gates' layers keep torch's default weights, as they do in the authors'
    code, which chooses by parameter name.
    """
    default = {id(m) for gate in model.modules() if isinstance(gate, ChannelGate) for m in gate.modules()}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and id(module) not in default and ".shortcut." not in name:
            yield module.weight, partial(nn.init.kaiming_normal_, mode="fan_out")
        elif isinstance(module, nn.Linear):
            yield module.weight, nn.init.kaiming_normal_
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            yield module.bias, nn.init.zeros_
