"""Choosing and reordering channels, in the memory format that they have, and so that torch.fx can trace it.

A tracer knows no memory format, so what asks for one is a single call in its graphs: it is asked when the graph runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx


def unpacked(parts: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """The ``count`` tensors of ``parts``, one by one.

    For what ``chunk``, ``split`` and ``unbind`` give: torch.fx does not know how many there are, and so cannot iterate
    over them. ``unpacked(x.chunk(2, 1), 2)`` it can trace.

    Args:
        parts: a sequence of tensors.
        count: how many it has.
    """
    return [parts[number] for number in range(count)]


def match_memory_format(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``x``, in channels_last if ``like`` is; both are ``(N, C, H, W)``.

    For the end of a ``forward`` that leaves the memory format on its way, as unfold, reshape and indexing do. Where
    ``like`` is in both formats, as maps of one pixel are, ``x`` may be in either.
    """
    return _matched(x, like)


def gather_channels(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The channels of ``x`` that ``index`` names, in its order: ``(N, C, H, W)`` to ``(N, len(index), H, W)``.

    It keeps channels_last, which ``x[:, index]`` does not.
    """
    return _gathered(x, index)


def shuffle_channels(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Channel ``g * (C / groups) + i`` of ``x`` goes to ``i * groups + g``; ``(N, C, H, W)`` and its format stay."""
    return _shuffled(x, groups)


# A traced graph calls these instead of what they do; TorchScript compiles them, and so they are as plain as it needs.
def _matched(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if not like.is_contiguous():
        return x.contiguous(memory_format=torch.channels_last) if _is_last(like) else x
    return x if _is_last(x) else x.contiguous()


def _is_last(x: torch.Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _gathered(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    if _is_last(x):  # gathered as the last dimension, it stays the last
        return x.movedim(1, -1).index_select(-1, index).movedim(-1, 1)
    return x.index_select(1, index)


def _shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    if _is_last(x):  # shuffled as the last dimension, it stays the last
        return x.movedim(1, -1).unflatten(-1, (groups, -1)).transpose(-1, -2).flatten(-2).movedim(-1, 1)
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


fx.wrap("_matched")
fx.wrap("_gathered")
fx.wrap("_shuffled")
