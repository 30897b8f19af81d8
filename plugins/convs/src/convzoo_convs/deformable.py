"""Deformable convolutions: Dai et al., ICCV 2017, and Zhu et al., Deformable ConvNets v2, CVPR 2019, section 3.2."""

from __future__ import annotations

import torch
from torch import nn

from convzoo import OptionError
from convzoo.layers import Maker, conv2d, match_memory_format, require_groups, require_positive

TAPS = 9
"""Of a 3x3 kernel."""


class DeformConv2d(nn.Conv2d):
    """A convolution without bias that reads its input where the offsets say, between pixels too, and 0 outside.

    It computes in float32 at least: offsets in half precision are off by whole pixels far from the corner, and not
    every device has the operator in bfloat16. The result has the input's type and memory format.
    """

    def forward(  # type: ignore[override]
        self, x: torch.Tensor, offsets: torch.Tensor, masks: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``x`` convolved.

        Args:
            x: ``(N, C, H, W)``.
            offsets: ``(N, offset_groups * taps * 2, H', W')``, in pixels; down, then right, for each tap.
            masks: ``(N, offset_groups * taps, H', W')``, what each tap's reading is multiplied by; None is 1.

        Returns:
            ``(N, out_channels, H', W')``.
        """
        from torchvision.ops import deform_conv2d  # here, so that the rest of the plugin does without it

        dtype = torch.promote_types(x.dtype, torch.float32)
        out = deform_conv2d(
            x.to(dtype),
            offsets.to(dtype),
            self.weight.to(dtype),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            mask=None if masks is None else masks.to(dtype),
        ).to(x.dtype)
        return match_memory_format(out, x)  # which the operator does not keep


class Deformable(nn.Module):
    """A 3x3 convolution whose taps are displaced and weighed as another 3x3 convolution of its input says.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``, with norm and activation.

    The convolution that gives offsets and masks starts at 0, as in the paper. So every tap starts at its place with a
    mask of ``sigmoid(0) = 0.5``, and the part starts as half of the plain convolution with its weights; without
    modulation, as the plain convolution.

    Args:
        in_channels, out_channels: channels before and after; both divisible by ``groups``.
        stride, groups, dilation: of the convolution; the one that gives the offsets has its stride and dilation, and
            sees all channels.
        modulation: weigh the taps too; False is the first version.
        offset_groups: shares of the input channels that have offsets and masks of their own; divides them.
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
        modulation: bool = True,
        offset_groups: int = 1,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "stride": stride, "dilation": dilation}
        for name, value in {**sizes, "offset_groups": offset_groups}.items():
            require_positive(name, value)
        require_groups(groups, in_channels, out_channels)
        if in_channels % offset_groups:
            raise OptionError(f"offset_groups {offset_groups} does not divide the {in_channels} channels in")
        self.out_channels = out_channels
        self.offset_channels, mask_channels = 2 * TAPS * offset_groups, TAPS * offset_groups * modulation
        self.offset = conv2d(
            in_channels, self.offset_channels + mask_channels, 3, stride=stride, dilation=dilation, bias=True
        )
        for tensor in self.offset.parameters():
            nn.init.zeros_(tensor)
        self.conv = DeformConv2d(in_channels, out_channels, 3, stride, dilation, dilation, groups, bias=False)
        self.norm = norm(out_channels)
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = self.offset(x)
        offsets, logits = both[:, : self.offset_channels], both[:, self.offset_channels :]
        masks = logits.sigmoid() if logits.shape[1] else None
        return self.act(self.norm(self.conv(x, offsets, masks)))
