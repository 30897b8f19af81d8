"""How networks start: ``(tensor, fill)`` for each tensor whose part has left it to the network."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn

from convzoo.layers import Fills


def default(model: nn.Module) -> Fills:
    """torch's own: Kaiming uniform with a = sqrt(5) for weights, uniform for biases."""
    return iter(())


def kaiming(
    model: nn.Module,
    *,
    mode: Literal["fan_out", "fan_in"] = "fan_out",
    distribution: Literal["normal", "uniform"] = "normal",
    linear_bias: Literal["default", "zero"] = "default",
) -> Fills:
    """Kaiming initialisation of 2-d convolutions for ReLU (He et al., ICCV 2015); linear weights keep torch's default.

    Args:
        model: what is started.
        mode: the fan that sets the deviation; ``"fan_out"`` counts all output channels of a grouped convolution.
        distribution: of the weights.
        linear_bias: torch's uniform default, or zero.
    """
    fill = nn.init.kaiming_normal_ if distribution == "normal" else nn.init.kaiming_uniform_
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            yield module.weight, partial(fill, mode=mode, nonlinearity="relu")
        elif isinstance(module, nn.Linear) and linear_bias == "zero":
            yield module.bias, nn.init.zeros_
