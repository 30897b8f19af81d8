"""Two branches as one of twice the width, for inference."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from convzoo.layers import sequence

_BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def fusible(norm: nn.Module) -> bool:
    """Whether ``norm`` is, in eval mode, a scale and a shift of each channel that do not depend on the input."""
    return isinstance(norm, nn.Identity) or (isinstance(norm, _BATCH_NORMS) and norm.running_var is not None)


@torch.no_grad()
def with_norm(weight: torch.Tensor, bias: torch.Tensor | None, norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution that is ``norm`` after the one with ``weight`` and ``bias``."""
    if isinstance(norm, nn.Identity):
        return weight.clone(), weight.new_zeros(len(weight)) if bias is None else bias.clone()
    running = norm.running_mean, norm.running_var, norm.eps
    return fuse_conv_bn_weights(weight, bias, *running, norm.weight, norm.bias)  # type: ignore[arg-type]


@torch.no_grad()
def average(first: nn.Sequential, second: nn.Sequential) -> nn.Sequential | None:
    """One branch that computes ``0.5 * (first(x) + second(x))`` in eval mode, or None where that cannot be.

    Both are the same sequence of :class:`~convzoo.layers.ConvNormAct`, with activations that work on single numbers.
    The first convolution is not grouped and reads the same input for both, so that its outputs come side by side;
    those between keep them apart, in twice the groups; the last one is not grouped and sums them.

    It cannot be where a norm looks at its input, or where an activation has parameters.
    """
    layers = [*first, *second]
    learned = [act for act in map(_act, layers) if act is not None and any(True for _ in act.parameters())]
    if learned or not all(fusible(layer.norm) for layer in layers):
        return None
    merged: dict[str, nn.Module | None] = {}
    for number, pair in enumerate(zip(first, second, strict=True), start=1):
        conv: nn.Conv2d = pair[0].conv
        folded = [with_norm(layer.conv.weight, layer.conv.bias, layer.norm) for layer in pair]
        weights, biases = zip(*folded, strict=True)
        if number == len(first):
            weight, bias, groups = torch.cat(weights, 1).mul_(0.5), biases[0].add(biases[1]).mul_(0.5), 1
        else:
            weight, bias, groups = torch.cat(weights), torch.cat(biases), 1 if number == 1 else 2 * conv.groups
        merged[f"conv{number}"] = _convolution(conv, weight, bias, groups)
        merged[f"act{number}"] = copy.deepcopy(_act(pair[0]))
    return sequence(**merged)


def _act(layer: nn.Module) -> nn.Module | None:
    return getattr(layer, "act", None)


def _convolution(like: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor, groups: int) -> nn.Conv2d:
    sizes = (weight.shape[1] * groups, weight.shape[0], like.kernel_size, like.stride, like.padding, like.dilation)
    conv = nn.Conv2d(*sizes, groups, device="meta")  # type: ignore[arg-type]
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
    return conv
