"""What a graph overwrites, and what it may: memory that is read afterwards must be as it was."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from convzoo.deploying.convolution import FusedConv2d
from convzoo.deploying.graphs import MEANS, Graph, is_call
from convzoo.deploying.pointwise import Clamp, ScaleShift, add_product, mean, plus, product_plus, times

_OURS = (times, plus, product_plus, add_product)
"""What we write in place with, where the first argument is nobody else's."""
_MODULES = (
    *(nn.Conv2d, nn.Conv1d, nn.Linear, nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.Sigmoid),
    *(nn.AvgPool2d, nn.MaxPool2d, FusedConv2d, ScaleShift, Clamp),
)
_FUNCTIONS = (
    *(mean, torch.cat, torch.sigmoid, "sigmoid", "softmax", operator.sub, torch.sub, operator.add, torch.add, "add"),
    *(operator.mul, torch.mul, "mul", *MEANS, F.avg_pool2d, F.max_pool2d, F.conv2d),
)
"""What gives a tensor in memory of its own."""


_OPERATORS = {
    *("iadd", "iand", "iconcat", "ifloordiv", "ilshift", "imatmul", "imod", "imul", "ior", "ipow", "irshift", "isub"),
    *("itruediv", "ixor", "setitem", "delitem"),
}


def is_plain(graph: Graph) -> bool:
    """Whether a graph means the same with every function in place that of its name out of place.

    That is so where what is written into is read by nobody afterwards, but as the result. Else an order counts that
    the nodes do not show.
    """
    writing = [node for node in graph.nodes() if _writes(graph, node)]
    return all(node.users and may_overwrite(graph, node, _written(graph, node)) for node in writing)


def writes_between(graph: Graph, first: Any, last: Any) -> bool:
    """Whether something is written between two nodes, so that what the first one reads may not be there any more."""
    nodes = graph.nodes()
    return any(_writes(graph, node) for node in nodes[nodes.index(first) + 1 : nodes.index(last)])


def may_overwrite(graph: Graph, node: Any, term: Any) -> bool:
    """Whether nobody has ``term``, or memory that it shares, once ``node`` has read it."""
    if not _is_fresh(graph, term) or list(node.args).count(term) != 1:
        return False
    others = [user for user in term.users if user is not node]
    return graph.last([node, *others]) is node and all(_gives_its_own(graph, user) for user in others)


def _is_fresh(graph: Graph, node: Any) -> bool:
    """Whether the memory of what ``node`` gives is nobody else's."""
    if _gives_its_own(graph, node):
        return True
    return isinstance(node, fx.Node) and _writes(graph, node) and may_overwrite(graph, node, _written(graph, node))


def _gives_its_own(graph: Graph, node: Any) -> bool:
    """Whether ``node`` makes its result in memory of its own."""
    module = graph.called(node)
    if module is None:
        return is_call(node, _FUNCTIONS) and not _writes(graph, node)
    if isinstance(module, FusedConv2d) or type(module) in _MODULES:
        return not _writes(graph, node)
    return type(module).__module__ == "torch.nn.modules.activation" and not _writes(graph, node)


def _writes(graph: Graph, node: Any) -> bool:
    """Whether ``node`` may write into what it reads. What is not torch's or ours is not known, and so it may."""
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    if node.op == "call_module":
        module = graph.called(node)
        known = isinstance(module, FusedConv2d) or type(module).__module__.startswith(("torch.nn", "convzoo.deploying"))
        return not known or getattr(module, "inplace", False) or getattr(module, "overwrites", False)
    if node.op != "call_function":
        return False
    name, home = getattr(node.target, "__name__", ""), getattr(node.target, "__module__", None) or ""
    if is_call(node, _OURS) or name.endswith("_") or "out" in node.kwargs or _is_in_place(node):
        return True
    if home == "_operator":
        return name in _OPERATORS
    return not home.startswith(("torch", "convzoo", "builtins", "math"))


def _written(graph: Graph, node: Any) -> Any:
    """Which of what it reads ``node`` writes into."""
    if "out" in node.kwargs:
        return node.kwargs["out"]
    place = 1 if getattr(graph.called(node), "overwrites", False) else 0
    return node.args[place] if len(node.args) > place else None


def _is_in_place(node: Any) -> bool:
    """Whether a function is asked to work in place."""
    try:
        given = inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments
    except (TypeError, ValueError):  # it does not tell
        given = node.kwargs
    return bool(given.get("inplace", False))
