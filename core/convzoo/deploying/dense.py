"""Dense stages without copies: each layer writes its new features into one map, and reads from it."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

import torch
from torch import fx, nn

from convzoo.deploying.settings import at_rest, other_is_faster

FEW = 1024
"""Pixels of a batch up to which a map is small: its channels are in the caches when they are read."""


class DenseStage(nn.Sequential):
    """A stage in which layers that append to their input follow each other.

    On a processor without gradients a run of them fills one map, ``(N, channels after the last one, H, W)``: none of
    them copies what the former ones gave. It lies in channels_last, or, where it is small and most of the layers read
    single channels, each channel by itself.

    Args:
        layers: by their names; those that append give their new features alone.
        ends: channels after each layer that appends, by name.

    Attributes:
        apart: whether each channel lies by itself, so that it is ``(C, N, H, W)`` in memory; None for where that is
            likely to be faster.
    """

    def __init__(self, layers: dict[str, nn.Module], ends: dict[str, int]) -> None:
        super().__init__(OrderedDict(layers))
        self.ends = ends
        reading = [any(getattr(each, "reads_channels", False) for each in layers[name].modules()) for name in ends]
        self.reads_channels = 2 * sum(reading) > len(reading)
        self.apart: bool | None = None
        self.training = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        runs = at_rest(x) and x.dim() == 4
        names = list(self._modules)
        for number, (name, layer) in enumerate(self._modules.items()):
            end = self.ends.get(name)
            if end is None:
                x = layer(x)
            elif not runs:
                x = torch.cat([x, layer(x)], 1)
            else:
                if number == 0 or names[number - 1] not in self.ends:
                    whole, filled = self._room(x, names[number:]), x.shape[1]
                whole[:, filled:end] = layer(whole[:, :filled])
                x, filled = whole[:, :end], end
        return x

    def _room(self, x: torch.Tensor, names: list[str]) -> torch.Tensor:
        """A map that begins with ``x`` and has room for what the layers that begin ``names`` append."""
        ends = [self.ends[name] for name in itertools.takewhile(self.ends.__contains__, names)]
        if self._is_apart(x):
            whole = x.new_empty((ends[-1], x.shape[0], *x.shape[2:])).movedim(0, 1)
        else:
            whole = x.new_empty((x.shape[0], *x.shape[2:], ends[-1])).movedim(-1, 1)
        whole[:, : x.shape[1]] = x
        return whole

    def choose(self, x: torch.Tensor) -> None:
        """Time both layouts on an input, and change to the other one where it is faster by a tenth.

        Args:
            x: as :meth:`forward` takes it.
        """

        def run(apart: bool) -> None:
            self.apart = apart
            self.forward(x)

        if at_rest(x):
            usual = self._is_apart(x)
            self.apart = usual ^ other_is_faster(run, usual)

    def _is_apart(self, x: torch.Tensor) -> bool:
        return self.reads_channels and x[:, :1].numel() <= FEW if self.apart is None else self.apart


def join(stage: nn.Sequential) -> nn.Sequential:
    """``stage``, in one map where at least two layers in turn append to their input."""
    appending = [_cat(layer) is not None for layer in stage]
    if not any(one and other for one, other in itertools.pairwise(appending)):
        return stage
    ends = {}
    for name, layer in stage.named_children():
        if (cat := _cat(layer)) is not None:
            cat.replace_all_uses_with(cat.args[0][1])
            cat.graph.erase_node(cat)
            layer.recompile()  # type: ignore[operator]
            ends[name] = int(layer.out_channels)  # type: ignore[arg-type]
    return DenseStage(dict(stage.named_children()), ends)


def _cat(layer: Any) -> Any:
    """The last node of a layer's graph, if it appends something to the layer's one input."""
    if not isinstance(layer, fx.GraphModule) or not hasattr(layer, "out_channels"):
        return None
    nodes = list(layer.graph.nodes)
    inputs: list[Any] = [node for node in nodes if node.op == "placeholder"]
    last: Any = nodes[-1].args[0]
    if len(inputs) != 1 or not isinstance(last, fx.Node) or last.target is not torch.cat or len(last.users) != 1:
        return None
    arguments: list[Any] = [*last.args, *last.kwargs.values()]
    tensors, dim = arguments[0], arguments[1:]
    appends = isinstance(tensors, (list, tuple)) and len(tensors) == 2 and tensors[0] is inputs[0]
    return last if appends and dim == [1] and tensors[1] is not inputs[0] else None
