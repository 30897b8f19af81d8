"""Counting parameters and multiply-accumulates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Counts(NamedTuple):
    """``params``: parameters. ``macs``: multiply-accumulates of convolutions and linear layers on one image."""

    params: int
    macs: int


def count(model: nn.Module, input_size: tuple[int, ...]) -> Counts:
    """Parameters of ``model``, and its multiply-accumulates on one image.

    Norms, activations, pools and element-wise products do not count. The model is counted in eval mode and left in the
    mode that it was in.

    Args:
        model: it may be on the meta device, where nothing is computed.
        input_size: of the image, ``(channels, height, width)``.
    """
    like = next(model.parameters(), torch.empty((), device="meta"))
    image = torch.empty(1, *input_size, device=like.device, dtype=like.dtype)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(image)
    finally:
        for module, training in modes:
            module.training = training
    return Counts(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)
