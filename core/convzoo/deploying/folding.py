"""Rewrites by arithmetic: what norms and means do goes into the weights of convolutions, or takes their place."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from convzoo.deploying.convolution import foldable, refilled
from convzoo.deploying.graphs import Graph, reader
from convzoo.deploying.pointwise import Clamp, ScaleShift

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""What does nothing in eval mode."""


def drop_idle(graph: Graph) -> int:
    """Dropouts and identities go."""
    found = [node for node in graph.nodes() if type(graph.module(node)) in IDLE]
    for node in found:
        graph.skip(node)
    return len(found)


def fold_norms(graph: Graph) -> int:
    """A batch norm after one convolution becomes a part of its weight and bias."""
    count = 0
    for node in graph.nodes():
        norm, before = graph.module(node), graph.only_input(node)
        conv: Any = graph.module(before)
        if _is_norm(norm) and foldable(conv):
            statistics = norm.running_mean, norm.running_var, norm.eps
            weight, bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics, norm.weight, norm.bias)
            graph.put(before, refilled(conv, weight, bias))
            graph.skip(node)
            count += 1
    return count


def clamp_first(graph: Graph) -> int:
    """A batch norm and a ReLU before a 1x1 convolution become a clamp.

    ``relu(s * x + b)`` is ``s * (max(x, t) - t)`` with ``t = -b / s`` where ``s > 0``, and with ``min`` where
    ``s < 0``. The factor and the subtraction go into the weight and bias of the convolution.
    """
    count = 0
    for node in graph.nodes():
        norm, relu = graph.module(node), reader(node)
        after = reader(relu)
        conv: Any = graph.module(after)
        if not _is_norm(norm) or type(graph.act(relu)) is not nn.ReLU:
            continue
        if not foldable(conv) or not _is_pointwise(conv) or conv.groups != 1:
            continue
        fused = graph.fused(after)
        low, high, scale, shift = _as_clamp(norm)
        matrix = fused.weight.detach().double().flatten(1)
        bias = (matrix * fused.by_input(shift)).sum(1) + (0 if fused.bias is None else fused.bias.detach().double())
        weight = (matrix * fused.by_input(scale)).view_as(fused.weight)
        graph.put(after, refilled(fused, weight.to(fused.weight.dtype), bias.to(fused.weight.dtype)))
        graph.put(node, Clamp(low, high))
        graph.skip(relu)
        count += 1
    return count


def pool_first(graph: Graph) -> int:
    """A mean over windows trades places with the 1x1 convolution before it."""
    count = 0
    for node in graph.nodes():
        pool, before = graph.module(node), graph.only_input(node)
        conv: Any = graph.module(before)
        if type(pool) is nn.AvgPool2d and foldable(conv) and _is_pointwise(conv) and _shrinks(pool):
            with graph.whole.graph.inserting_before(before):
                pooled = graph.whole.graph.call_module(str(node.target), before.args)
            before.args = (pooled,)
            node.replace_all_uses_with(before)
            graph.whole.graph.erase_node(node)
            count += 1
    return count


def reduce_norms(graph: Graph) -> int:
    """A batch norm that no convolution takes becomes a scale and a shift."""
    found = [(node, norm) for node in graph.nodes() if _is_norm(norm := graph.module(node))]
    for node, norm in found:
        graph.put(node, ScaleShift(*_scale_shift(norm)))
    return len(found)


def _is_norm(module: Any) -> bool:
    return type(module) in NORMS and module.running_var is not None


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.padding == (0, 0)


def _shrinks(pool: nn.AvgPool2d) -> bool:
    """Whether every window is whole, and there are fewer of them than pixels."""
    stride, padding = (size if isinstance(size, tuple) else (size, size) for size in (pool.stride, pool.padding))
    return min(stride) > 1 and padding == (0, 0) and not pool.ceil_mode and pool.divisor_override is None


def _scale_shift(norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What ``norm`` is in eval mode: ``x * scale + shift``."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return scale.to(norm.running_var.dtype), shift.to(norm.running_var.dtype)


def _as_clamp(norm: Any) -> tuple[torch.Tensor, ...]:
    """``low``, ``high``, ``scale``, ``shift``: the ReLU of ``norm`` is ``clamp(x, low, high) * scale + shift``."""
    scale, shift = (each.double() for each in _scale_shift(norm))
    turn = (-shift / scale).to(norm.running_var.dtype)
    flat = ~turn.isfinite()  # the scale is as good as 0: the ReLU of the shift, whatever x is
    turn, scale = turn.masked_fill(flat, 0), scale.masked_fill(flat, 0)
    most = torch.finfo(turn.dtype).max  # and not infinity, which no weight should be
    low, high = turn.masked_fill(scale < 0, -most), turn.masked_fill(scale > 0, most)
    return low, high, scale, torch.where(flat, shift.relu(), -turn.double() * scale)
