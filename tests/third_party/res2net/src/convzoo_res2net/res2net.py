"""The convolution of Res2Net: Gao et al., Res2Net, TPAMI 2021, section 3.1."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from convzoo import OptionError
from convzoo.layers import ConvNormAct, Maker, Position, require_positive, sequence, unpacked


class MultiScaleConv(nn.Module):
    """Splits the channels, and convolves each split together with what came out of the one before: equation 1.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``. Of the ``scale`` splits all
    but one have a 3x3 convolution with norm and activation. As in the authors' code the one without is the last, where
    the paper has the first. A split cannot be added to a result of another size; hence, as in that code, nothing is
    added in the first layer of a stage, nor with a stride, and the last split goes through a 3x3 average pool that
    counts the padding. The paper's blocks keep the width; where a block does not, nothing is added either, and the
    pooled split is taken to its width by a 1x1 convolution with norm and activation.

    Args:
        in_channels, out_channels: channels before and after; both divisible by ``scale``, and those of a split by
            ``groups``.
        stride, groups, dilation: of the 3x3 convolutions; the pool has the stride too, the 1x1 convolution the groups.
        scale: splits, ``s`` in the paper; 1 is a plain convolution.
        position: of the layer in its network; without one, it is taken not to be the first of its stage.
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
        scale: int = 4,
        position: Position | None = None,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        require_positive("scale", scale)
        for channels in (in_channels, out_channels):
            if channels % scale:
                raise OptionError(f"scale {scale} does not divide {channels} channels")
        widths = in_channels // scale, out_channels // scale
        layer = partial(ConvNormAct, *widths, groups=groups, norm=norm, act=act)
        self.scale = scale
        self.convs = nn.ModuleList(layer(stride=stride, dilation=dilation) for _ in range(max(1, scale - 1)))
        same = widths[0] == widths[1]
        self.hierarchical = same and stride == 1 and (position is None or position.layer > 0)
        self.last = sequence(
            pool=None if self.hierarchical or scale == 1 else nn.AvgPool2d(3, stride, 1),
            project=None if same or scale == 1 else layer(kernel_size=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        splits = unpacked(x.chunk(self.scale, 1), self.scale)
        outs: list[torch.Tensor] = []
        for split, conv in zip(splits, self.convs, strict=False):
            outs.append(conv(split + outs[-1] if self.hierarchical and outs else split))
        if self.scale > 1:
            outs.append(self.last(splits[-1]))
        return torch.cat(outs, 1)
