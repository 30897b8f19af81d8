"""Split attention: Zhang et al., ResNeSt, CVPR Workshops 2022, section 3, as its authors' code has it."""

from __future__ import annotations

import torch
from torch import nn

from convzoo.layers import (
    Maker,
    Position,
    add,
    conv2d,
    make_divisible,
    norm_of_pooled,
    require_positive,
    unpacked,
)


class SplitAttention(nn.Module):
    """Several convolutions of one input, summed with weights that their pooled sum decides, channel by channel.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels, out_channels: channels before and after; divisible by ``groups``, and the first by
            ``groups * radix``.
        stride, groups, dilation: of the convolutions; ``groups`` is the paper's cardinality.
        radix: number of convolutions; 1 is a sigmoid gate on one convolution.
        reduction: the hidden width is ``in_channels * radix / reduction``.
        divisor: which is rounded to a multiple of it; 1, the authors' rule, rounds down.
        min_width: and never less than this.
        avd: a 3x3 average pool takes the stride instead of the convolution.
        avd_first: the pool stands before the convolution instead of after it.
        avd_dilated: the first layer of every stage but the first keeps the pool where dilation has replaced its stride,
            as in the authors' PyTorch code (``is_first``); False leaves it out, as timm does.
        activate: False leaves out the activation after the convolutions.
        position: where the layer stands.
        norm, act: callables that make them.

    Raises:
        OptionError: an impossible size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        radix: int = 2,
        reduction: int = 4,
        divisor: int = 1,
        min_width: int = 32,
        avd: bool = False,
        avd_first: bool = False,
        avd_dilated: bool = True,
        activate: bool = True,
        position: Position | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        sizes = {"radix": radix, "reduction": reduction, "divisor": divisor, "min_width": min_width}
        for name, value in sizes.items():
            require_positive(name, value)
        self.radix, self.cardinality, self.out_channels = radix, groups, out_channels
        pool: nn.Module = nn.Identity()
        first_of_stage = position is not None and position.stage > 0 and position.layer == 0
        if avd and (stride > 1 or (avd_dilated and first_of_stage)):
            pool, stride = nn.AvgPool2d(3, stride, padding=1), 1
        self.pool_before = pool if avd_first else nn.Identity()
        self.pool_after = nn.Identity() if avd_first else pool
        wide = out_channels * radix
        self.conv = conv2d(in_channels, wide, 3, stride=stride, groups=groups * radix, dilation=dilation)
        self.norm0 = norm(wide)
        self.act0 = act() if activate else nn.Identity()
        exact = in_channels * radix / reduction
        hidden = max(int(exact), min_width) if divisor == 1 else make_divisible(exact, divisor, min_width)
        self.fc1 = conv2d(out_channels, hidden, 1, groups=groups, bias=True)
        self.norm1 = norm_of_pooled(norm, hidden)
        self.act1 = act()
        self.fc2 = conv2d(hidden, wide, 1, groups=groups, bias=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act0(self.norm0(self.conv(self.pool_before(x))))
        splits = unpacked(x.chunk(self.radix, 1), self.radix)
        pooled = add(splits).mean((2, 3), keepdim=True)
        logits = self.fc2(self.act1(self.norm1(self.fc1(pooled))))
        return self.pool_after(
            add([split * weight for split, weight in zip(splits, self._weights(logits), strict=True)])
        )

    def _weights(self, logits: torch.Tensor) -> list[torch.Tensor]:
        """``(N, out_channels * radix, 1, 1)``, group by group, to each split's ``(N, out_channels, 1, 1)``."""
        if self.radix == 1:
            return [logits.sigmoid()]
        by_split = logits.reshape(logits.shape[0], self.cardinality, self.radix, -1).transpose(1, 2).softmax(1)
        splits = unpacked(by_split.unbind(1), self.radix)
        return [weights.reshape(logits.shape[0], -1, 1, 1) for weights in splits]
