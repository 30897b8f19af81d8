"""The parts of a network, rewritten one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from convzoo.deploying.dense import join
from convzoo.deploying.graphs import Graph
from convzoo.deploying.in_place import is_plain
from convzoo.deploying.rewrites import Rewrite
from convzoo.deploying.tracing import traced
from convzoo.network.model import ConvNet


class Tapped(nn.Module):
    """A stem, rewritten, that has a feature level before its end.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``.

    Args:
        stem: what it was made from.
        body: gives the output and a list of the level.
    """

    def __init__(self, stem: Any, body: nn.Module) -> None:
        super().__init__()
        self.out_channels, self.reduction, self.feature_info = stem.out_channels, stem.reduction, stem.feature_info
        self.body = body
        self.training = False

    def forward_intermediates(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The output and the level."""
        return self.body(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)[0]


def rewritten(module: Any, rewrites: Sequence[Rewrite], counts: Counter[str]) -> Any:
    """A network, or whatever holds some, with its stem and layers rewritten; of another module, itself.

    Args:
        module: in eval mode; it is used up.
        rewrites: in the order in which they are tried.
        counts: by name, how many places each has changed; added to.
    """
    networks = [each for each in module.modules() if isinstance(each, ConvNet)]
    if not networks:
        return _part(module, rewrites, counts)
    for network in networks:
        network.stem = _stem(network.stem, rewrites, counts)
        for number, stage in enumerate(network.stages):
            for name, layer in stage.named_children():
                setattr(stage, name, _part(layer, rewrites, counts))
            network.stages[number] = join(stage)  # type: ignore[arg-type]
        first = next((name for name, each in network.named_modules() if isinstance(each, nn.Conv2d)), None)
        network.default_cfg = {**network.default_cfg, "first_conv": first}
        network.rewritten = True
    return module


def _stem(stem: nn.Module, rewrites: Sequence[Rewrite], counts: Counter[str]) -> nn.Module:
    if not hasattr(stem, "forward_intermediates"):
        return _part(stem, rewrites, counts)
    body = _part(stem, rewrites, counts, "forward_intermediates")
    return stem if body is stem else Tapped(stem, body)


def _part(part: nn.Module, rewrites: Sequence[Rewrite], counts: Counter[str], method: str = "forward") -> nn.Module:
    """A part whose graph is rewritten; of one whose graph does not say all, the parts in it."""
    whole = traced(part, method)
    graph = None if whole is None else Graph(whole)
    if graph is None or not is_plain(graph):
        for name, child in part.named_children():
            setattr(part, name, _part(child, rewrites, counts))
        return part
    whole = graph.whole
    found = Counter({rewrite.name: rewrite.apply(graph) for rewrite in rewrites})
    if not found.total():
        return part
    counts.update(found)
    whole.graph.eliminate_dead_code()
    whole.delete_all_unused_submodules()
    whole.recompile()
    for name in ("out_channels", "reduction"):
        if hasattr(part, name):
            setattr(whole, name, getattr(part, name))
    return whole.eval()
