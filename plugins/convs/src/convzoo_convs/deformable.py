"""Deformable convolutions: Dai et al., ICCV 2017, and Zhu et al., Deformable ConvNets v2, CVPR 2019, section 3.2."""

from __future__ import annotations

import torch
from torch import fx, nn

from convzoo import OptionError
from convzoo.layers import Maker, conv2d, match_memory_format, require_groups, require_positive

TAPS = 9
"""Of a 3x3 kernel."""
_ONNX = hasattr(torch.onnx, "ops")
"""Whether torch can be told what stands for an operator in ONNX, as it can since 2.8."""


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
        import torchvision.ops  # noqa: F401  it has the operator; here, so that the rest of the plugin does without it

        if _ONNX and torch.onnx.is_in_onnx_export():
            return self._in_onnx(x, offsets, masks)
        sizes = (*self.stride, *self.padding, *self.dilation)
        out = _deformed(x, self.weight, offsets, masks, *sizes, self.groups)  # type: ignore[arg-type]
        return match_memory_format(out, x)  # which the operator does not keep

    def _in_onnx(self, x: torch.Tensor, offsets: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        """ONNX's own operator in the place of torchvision's, which torch does not translate."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        bias = self.weight.new_zeros(self.out_channels)
        inputs = [each if each is None else each.to(dtype) for each in (x, self.weight, offsets, bias, masks)]
        attributes = {
            "kernel_shape": list(self.kernel_size),
            "strides": list(self.stride),
            "pads": [*self.padding, *self.padding],
            "dilations": list(self.dilation),
            "group": self.groups,
            "offset_group": _offset_groups(self.weight, offsets),
        }
        shape = (x.shape[0], self.out_channels, *offsets.shape[2:])
        out = torch.onnx.ops.symbolic("DeformConv", inputs, attributes, dtype=dtype, shape=shape, version=19)
        return out.to(x.dtype)


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
        self.modulation = modulation
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
        offsets = both[:, : self.offset_channels]
        masks = both[:, self.offset_channels :].sigmoid() if self.modulation else None
        return self.act(self.norm(self.conv(x, offsets, masks)))


def _offset_groups(weight: torch.Tensor, offsets: torch.Tensor) -> int:
    return offsets.shape[1] // (2 * weight.shape[2] * weight.shape[3])


def _deformed(
    x: torch.Tensor,
    weight: torch.Tensor,
    offsets: torch.Tensor,
    masks: torch.Tensor | None,
    stride_down: int,
    stride_right: int,
    pad_down: int,
    pad_right: int,
    dilation_down: int,
    dilation_right: int,
    groups: int,
) -> torch.Tensor:
    dtype = torch.promote_types(x.dtype, torch.float32)
    weighed = masks is not None
    masks = x.new_zeros([x.shape[0], 1]) if masks is None else masks
    bias = x.new_zeros([weight.shape[0]], dtype=dtype)
    out = torch.ops.torchvision.deform_conv2d(
        x.to(dtype),
        weight.to(dtype),
        offsets.to(dtype),
        masks.to(dtype),
        bias,
        stride_down,
        stride_right,
        pad_down,
        pad_right,
        dilation_down,
        dilation_right,
        groups,
        _offset_groups(weight, offsets),
        weighed,
    )
    return out.to(x.dtype)


fx.wrap("_deformed")  # a tracer does not know what type x has; its graphs call this
