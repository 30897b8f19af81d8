"""Efficient channel attention: Wang et al., ECA-Net, CVPR 2020, section 3."""

from __future__ import annotations

import math

import torch
from torch import nn

from convzoo.layers import require_odd, require_reach


class EfficientChannelAttention(nn.Module):
    """Scales each channel by a 1-d convolution over its neighbours' means. Keeps the shape ``(N, channels, H, W)``.

    Args:
        channels: of the input.
        kernel_size: channels that look at each other, odd; by default the odd number next to
            ``(log2(channels) + 1) / 2``, at least 3.

    Raises:
        OptionError: ``kernel_size`` is not a positive odd number, or out of all bounds.
    """

    def __init__(self, channels: int, *, kernel_size: int | None = None) -> None:
        super().__init__()
        if kernel_size is None:
            nearest = int((math.log2(channels) + 1) / 2)
            kernel_size = max(nearest if nearest % 2 else nearest + 1, 3)
        require_odd("kernel_size", kernel_size)
        require_reach(kernel_size)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.conv(x.mean((2, 3)).unsqueeze(1)).sigmoid()
        return x * scale.transpose(1, 2).unsqueeze(-1)
