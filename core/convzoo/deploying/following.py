"""What follows a convolution, or a scale and shift, in the same pass."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

Following = tuple[str, list[Any], str]
"""How oneDNN calls an activation: its name, its numbers, its variant."""

NOTHING: Following = ("none", [], "")


def following(act: nn.Module | None) -> Following | None:
    """How oneDNN calls ``act``, or None if it does not have it."""
    if act is None:
        return NOTHING
    if type(act) is nn.ReLU:
        return "relu", [], ""
    if type(act) is nn.ReLU6:
        return "hardtanh", [0.0, 6.0], ""
    if type(act) is nn.LeakyReLU:
        return "leaky_relu", [act.negative_slope], ""
    if type(act) is nn.SiLU:
        return "swish", [], ""
    if type(act) is nn.Hardswish:
        return "hardswish", [], ""
    if type(act) is nn.GELU:
        return "gelu", [], act.approximate
    return None


class Followed(nn.Module):
    """A module that may end in an activation, ``act``; None for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.act: nn.Module | None = None
        self._following: Following = NOTHING

    def then(self, act: nn.Module) -> None:
        """Let ``act`` follow, which :func:`following` knows."""
        known = following(act)
        assert known
        self.act, self._following = copy.deepcopy(act), known
