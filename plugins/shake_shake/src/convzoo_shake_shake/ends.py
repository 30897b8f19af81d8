"""Stem and head of networks whose blocks start with an activation: none after the stem, one before the pool."""

from __future__ import annotations

import torch
from torch import nn

from convzoo.layers import Maker, out_of_place
from convzoo.resnet.heads import Classifier, Pool
from convzoo.resnet.stems import Stem, cifar_stem


def linear_stem(in_channels: int, *, width: int = 16, kernel_size: int = 3, norm: Maker = nn.BatchNorm2d) -> Stem:
    """One convolution of stride 1 and a norm, without activation: ``(N, in_channels, H, W)`` to ``(N, width, H, W)``.

    Raises:
        OptionError: an impossible size.
    """
    return cifar_stem(in_channels, width=width, kernel_size=kernel_size, norm=norm, act=nn.Identity)


class ActivatedClassifier(Classifier):
    """An activation, then global pooling, dropout and one linear layer.

    ``(N, in_channels, H, W)`` to ``(N, num_classes)``.

    Args:
        in_channels, num_classes, global_pool, drop_rate: as those of
            :class:`~convzoo.resnet.heads.Classifier`.
        act: called with nothing; it leaves the feature map as it is.

    Raises:
        OptionError: an impossible value.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        global_pool: Pool = "avg",
        drop_rate: float = 0.0,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__(in_channels, num_classes, global_pool=global_pool, drop_rate=drop_rate)
        self.act = out_of_place(act())

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward(self.act(x), pre_logits)
