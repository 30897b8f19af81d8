"""Activations that stand where others still read what they are given."""

from __future__ import annotations

from torch import nn

from convzoo.layers import Maker


def out_of_place(act: Maker) -> nn.Module:
    """``act()``, told not to work in place."""
    made = act()
    for module in made.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    return made
