"""The shortcut of Shake-Shake networks, as the author's code has it."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import fx, nn
from torch.nn import functional as F

from convzoo import OptionError
from convzoo.layers import Maker, conv2d, out_of_place
from convzoo_shake_shake.fusion import fusible, with_norm


class TwoPathShortcut(nn.Module):
    """An activation, then two 1x1 convolutions side by side, of which the second sees the image shifted by one pixel,
    then one norm.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, ceil(H / stride), ceil(W / stride))``. At stride 2 the first
    path reads the pixels 0, 2, 4, ..., and the second those that the first leaves out. What comes in at the border
    is zero. In a dilated stage the shift is by ``first_dilation``, which is one pixel of the image that the undilated
    stage would see.

    Args:
        in_channels: channels of the input.
        out_channels: half of them from each path.
        stride: of both paths.
        shift: where the image goes for the second path: ``"down_right"``, the author's, so that at stride 2 it
            reads -1 (zero), 1, 3, ...; or ``"up_left"``, for 1, 3, 5, ...
        first_dilation: of the stage before.
        norm, act: callables that make them.

    Raises:
        OptionError: ``out_channels`` is odd.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        shift: Literal["down_right", "up_left"] = "down_right",
        first_dilation: int = 1,
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        if out_channels % 2:
            raise OptionError(
                f"shortcut='two_path' gives half of the channels by each path, and {out_channels} is odd;"
                " use shortcut='conv'"
            )
        self.stride = stride
        self.shift = shift
        self.distance = first_dilation
        self.act = out_of_place(act())
        self.conv1 = conv2d(in_channels, out_channels // 2, 1)
        self.conv2 = conv2d(in_channels, out_channels // 2, 1)
        self.norm = norm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(x)
        paths = [
            self.conv1(self._pooled(x)),
            self.conv2(self._pooled(shifted(x, self.distance, self.shift == "up_left"))),
        ]
        return self.norm(torch.cat(paths, 1))

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, 1, self.stride) if self.stride > 1 else x

    def deploy(self) -> nn.Module:
        """With the norm in the convolutions' weights, where it is a batch norm."""
        deployed = copy.deepcopy(self)
        if fusible(self.norm):
            biases = [conv.bias for conv in (self.conv1, self.conv2) if conv.bias is not None]
            weight = torch.cat([self.conv1.weight, self.conv2.weight])
            weight, bias = with_norm(weight, torch.cat(biases) if biases else None, self.norm)
            half = len(weight) // 2
            for conv, rows in ((deployed.conv1, slice(half)), (deployed.conv2, slice(half, None))):
                conv.weight, conv.bias = nn.Parameter(weight[rows].clone()), nn.Parameter(bias[rows].clone())
            deployed.norm = nn.Identity()
        return deployed

    def extra_repr(self) -> str:
        dilated = f", distance={self.distance}" if self.distance > 1 else ""
        return f"stride={self.stride}, shift={self.shift!r}{dilated}"


def shifted(x: torch.Tensor, distance: int, back: bool) -> torch.Tensor:
    """``x``, ``(N, C, H, W)``, moved by ``distance`` pixels to the right and down, or to the left and up if ``back``.

    What comes in is zero. Of maps that are smaller than the distance nothing is left.
    """
    down, right = min(distance, x.shape[2]), min(distance, x.shape[3])
    if back:
        down, right = -down, -right
    return F.pad(x, (right, -right, down, -down))


fx.wrap("shifted")  # a tracer does not know how large a map is; its graphs call this
