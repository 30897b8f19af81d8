"""Stems: from the image to the first stage."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from convzoo.layers import Maker, conv2d, require_positive

Pool = Literal["max", "max_ceil", "conv", "none"]
"""What may end a stem, see :class:`Stem`."""


class Stem(nn.Module):
    """Convolutions, a norm, an activation and a pool; the feature level of the stem stands before the pool.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``, with ``H'`` about ``H / reduction``.

    Args:
        conv: one convolution, or a Sequential that ends in one.
        out_channels: its channels.
        stride: its total stride.
        norm, act: callables that make them.
        pool: ``"max"`` is a 3x3 max pool of stride 2, padded by 1; ``"max_ceil"`` the same without padding, its size
            rounded up (``ceil_mode``), as in networks of Caffe, so that every window lies one pixel further to the
            right and below; ``"conv"`` a 3x3 convolution of stride 2 with norm and activation (Bello et al.,
            Revisiting ResNets, NeurIPS 2021, appendix B); ``"none"`` nothing.
    """

    def __init__(
        self,
        conv: nn.Module,
        out_channels: int,
        *,
        stride: int,
        norm: Maker,
        act: Maker,
        pool: Pool,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.reduction = stride if pool == "none" else 2 * stride
        self.feature_info = {"num_chs": out_channels, "reduction": stride}
        self.conv = conv
        self.norm = norm(out_channels)
        self.act = act()
        self.pool: nn.Module = nn.Identity()
        if pool == "max":
            self.pool = nn.MaxPool2d(3, 2, padding=1)
        elif pool == "max_ceil":
            self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        elif pool == "conv":
            self.pool = nn.Sequential(conv2d(out_channels, out_channels, 3, stride=2), norm(out_channels), act())

    def forward_intermediates(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The output for ``x``, ``(N, in_channels, H, W)``, and the feature level before the pool."""
        level = self.act(self.norm(self.conv(x)))
        return self.pool(level), [level]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_intermediates(x)[0]


def conv_stem(
    in_channels: int,
    *,
    width: int = 64,
    kernel_size: int = 7,
    pool: Pool = "max",
    norm: Maker = nn.BatchNorm2d,
    act: Maker = nn.ReLU,
) -> Stem:
    """One strided convolution and a pool: He et al., CVPR 2016, table 1.

    Args:
        in_channels: channels of the image.
        width: channels of the output.
        kernel_size: odd side of the kernel.
        pool, norm, act: see :class:`Stem`.

    Raises:
        OptionError: an impossible size.
    """
    require_positive("width", width)
    conv = conv2d(in_channels, width, kernel_size, stride=2)
    return Stem(conv, width, stride=2, norm=norm, act=act, pool=pool)


def deep_stem(
    in_channels: int,
    *,
    width: int = 32,
    tiered: bool = False,
    pool: Pool = "max",
    norm: Maker = nn.BatchNorm2d,
    act: Maker = nn.ReLU,
) -> Stem:
    """Three 3x3 convolutions, the first strided, of ``width``, ``width`` and ``2 * width`` channels: ResNet-C of He
    et al., CVPR 2019.

    Args:
        in_channels: channels of the image.
        width: of the first two convolutions; the output has ``2 * width`` channels.
        tiered: makes the first one ``3 * (width // 4)`` wide.
        pool, norm, act: see :class:`Stem`.

    Raises:
        OptionError: an impossible size.
    """
    require_positive("width", width)
    first = 3 * (width // 4) if tiered else width
    conv = nn.Sequential(
        conv2d(in_channels, first, 3, stride=2),
        norm(first),
        act(),
        conv2d(first, width, 3),
        norm(width),
        act(),
        conv2d(width, 2 * width, 3),
    )
    return Stem(conv, 2 * width, stride=2, norm=norm, act=act, pool=pool)


def cifar_stem(
    in_channels: int,
    *,
    width: int = 16,
    kernel_size: int = 3,
    norm: Maker = nn.BatchNorm2d,
    act: Maker = nn.ReLU,
) -> Stem:
    """One convolution of stride 1 and no pool, for images of 32 px: He et al., CVPR 2016, section 4.2.

    Args:
        in_channels: channels of the image.
        width: channels of the output.
        kernel_size: odd side of the kernel.
        norm, act: see :class:`Stem`.

    Raises:
        OptionError: an impossible size.
    """
    require_positive("width", width)
    return Stem(conv2d(in_channels, width, kernel_size), width, stride=1, norm=norm, act=act, pool="none")
