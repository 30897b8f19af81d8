"""Squeeze-and-excitation: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, section 3."""

from __future__ import annotations

import torch
from torch import nn

from convzoo.layers import Maker, make_divisible, require_positive


class SqueezeExcite(nn.Module):
    """Scales each channel by what two layers make of all channels' means. Keeps the shape ``(N, channels, H, W)``.

    Args:
        channels: of the input.
        reduction: what the channels are divided by between the two layers.
        divisor: the width between the layers is rounded to a multiple of it; 1 rounds down. Those of the
            networks that the authors released are whole either way.
        act: called with nothing; stands between the layers.

    Raises:
        OptionError: ``reduction`` or ``divisor`` is not positive.
    """

    def __init__(self, channels: int, *, reduction: int = 16, divisor: int = 1, act: Maker = nn.ReLU) -> None:
        super().__init__()
        require_positive("reduction", reduction)
        require_positive("divisor", divisor)
        width = max(channels // reduction, 1) if divisor == 1 else make_divisible(channels / reduction, divisor)
        self.fc1 = nn.Conv2d(channels, width, 1)
        self.act = act()
        self.fc2 = nn.Conv2d(width, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * scale.sigmoid()
