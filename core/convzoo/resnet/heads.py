"""Heads: from the last feature map to the classes."""

from __future__ import annotations

import typing
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from convzoo.errors import OptionError, require_choice, require_int, require_rate

Pool = Literal["avg", "max", "avgmax", "catavgmax", ""]
"""Global poolings: mean, maximum, the mean of both, both side by side, and none."""


class Classifier(nn.Module):
    """Global pooling, dropout, and one linear layer.

    ``(N, in_channels, H, W)`` to ``(N, num_classes)``; with ``num_classes`` 0, to the pooled features
    ``(N, in_features)``.

    Args:
        in_channels: channels of the feature map.
        num_classes: outputs; 0 for none.
        global_pool: ``"avg"``, ``"max"``, their mean ``"avgmax"``, both side by side ``"catavgmax"``, or ``""`` for
            no pooling, which needs ``num_classes`` 0.
        drop_rate: dropout before the linear layer, in [0, 1).

    Raises:
        OptionError: an impossible value.
    """

    classifier_name = "fc"

    def __init__(
        self, in_channels: int, num_classes: int, *, global_pool: Pool = "avg", drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        require_rate("drop_rate", drop_rate)
        self.in_channels = in_channels
        self.drop_rate = drop_rate
        self.fc: nn.Module = nn.Identity()
        self.global_pool: str = "avg"
        self._set(num_classes, global_pool)

    @property
    def in_features(self) -> int:
        """Features that the linear layer is given."""
        return self._width(self.global_pool)

    def _width(self, global_pool: str) -> int:
        return self.in_channels * (2 if global_pool == "catavgmax" else 1)

    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new linear layer of ``num_classes``, 0 for none, and another ``global_pool`` unless that is None.

        Where there was no pooling, new classes bring the mean, since they need one.

        Raises:
            OptionError: an impossible value; nothing is changed then.
        """
        if global_pool is None:
            global_pool = self.global_pool or ("avg" if num_classes else "")
        self._set(num_classes, global_pool)
        self.fc.train(self.training)

    def _set(self, num_classes: int, global_pool: str) -> None:
        global_pool = require_choice("global_pool", global_pool, typing.get_args(Pool))
        num_classes = require_int("num_classes", num_classes, at_least=0)
        if not global_pool and num_classes:
            raise OptionError(
                f"global_pool='' leaves nothing for a classifier of {num_classes} classes; set num_classes=0"
            )
        fc = nn.Linear(self._width(global_pool), num_classes) if num_classes else nn.Identity()
        self.global_pool, self.fc = global_pool, fc

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = self._pool(x)
        if self.drop_rate:
            x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        if not self.global_pool:
            return x
        if self.global_pool == "avg":
            return F.adaptive_avg_pool2d(x, 1).flatten(1)
        if self.global_pool == "max":
            return F.adaptive_max_pool2d(x, 1).flatten(1)
        avg, maximum = F.adaptive_avg_pool2d(x, 1).flatten(1), F.adaptive_max_pool2d(x, 1).flatten(1)
        return 0.5 * (avg + maximum) if self.global_pool == "avgmax" else torch.cat([avg, maximum], 1)

    def extra_repr(self) -> str:
        return f"global_pool={self.global_pool!r}, drop_rate={self.drop_rate}"
