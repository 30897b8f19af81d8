"""What a part of a network does, as a graph of its layers that rewrites can change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import fx, nn

from convzoo.deploying.convolution import FusedConv2d
from convzoo.deploying.pointwise import Clamp, ScaleShift

OURS = (FusedConv2d, ScaleShift, Clamp)


class _Tracer(fx.Tracer):
    # A graph that is read from a file is traced again, by one without arguments.
    def __init__(self, leaves: Iterable[nn.Module] = (), method: str = "forward") -> None:
        super().__init__()
        self.traced_func_name = method
        self._leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            m in self._leaves or isinstance(m, OURS) or _hooked(m) or super().is_leaf_module(m, module_qualified_name)
        )


def traced(part: nn.Module, method: str = "forward") -> fx.GraphModule | None:
    """The graph of ``part``, in eval mode, or None if it has none or has hooks.

    Modules in it without a graph, and those with hooks, are called whole.
    """
    if _hooked(part):
        return None
    leaves: set[nn.Module] = set()
    graph = _graph(part, leaves, method)
    if graph is None:
        leaves = {module for child in part.children() for module in _opaque(child)}
        graph = _graph(part, leaves, method) if leaves else None
    return None if graph is None else fx.GraphModule(part, graph)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _graph(part: nn.Module, leaves: set[nn.Module], method: str) -> fx.Graph | None:
    tracer: Any = _Tracer(leaves, method)
    try:
        return tracer.trace(part)
    except Exception:  # of a part of whoever
        return None


def _opaque(module: nn.Module) -> set[nn.Module]:
    """The innermost modules that have no graph, though what they hold has."""
    if fx.Tracer().is_leaf_module(module, "") or _graph(module, set(), "forward") is not None:
        return set()
    return {each for child in module.children() for each in _opaque(child)} or {module}
