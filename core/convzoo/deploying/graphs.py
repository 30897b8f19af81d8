"""Asking and changing the graph of a part: who calls what, who reads it, and what takes whose place."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from convzoo.deploying.convolution import FusedConv2d

SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
PRODUCTS = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
MEANS = (torch.mean, "mean")
RELUS = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
"""The functions, and methods by their names, that graphs call for these."""

Node = Any
"""A node of a graph, or what else stands among the arguments of one; torch's own type for those has 17 members."""


class Graph:
    """The graph of a part, and its modules.

    Attributes:
        whole: both.
    """

    def __init__(self, whole: fx.GraphModule) -> None:
        self.whole = whole

    def nodes(self) -> list[Node]:
        """Every node in order, as they are now."""
        return list(self.whole.graph.nodes)

    def called(self, node: Node) -> Any:
        """The module that ``node`` calls; None if it calls none."""
        return self.whole.get_submodule(str(node.target)) if _is_node(node, "call_module") else None

    def module(self, node: Node) -> Any:
        """The module that ``node`` calls with one input, and that nobody else calls, reads from or hooks; else None."""
        module = self.called(node)
        if module is None or len(node.args) != 1 or node.kwargs or module._forward_hooks or module._forward_pre_hooks:
            return None
        return module if self._mentions()[str(node.target)] == 1 else None

    def _mentions(self) -> Counter[str]:
        """How often each module is called, or has something of it read."""
        found: Counter[str] = Counter()
        for node in self.whole.graph.nodes:
            if node.op == "call_module":
                found[str(node.target)] += 1
            elif node.op == "get_attr":
                parents = str(node.target).split(".")[:-1]
                found.update(".".join(parents[: depth + 1]) for depth in range(len(parents)))
        return found

    def act(self, node: Node) -> Any:
        """The activation that ``node`` may be, as a module; None if it is none."""
        if is_call(node, RELUS) and len(node.args) == 1 and set(node.kwargs) <= {"inplace"}:
            return nn.ReLU()
        return self.module(node)

    def only_input(self, node: Node) -> Node:
        """What ``node`` reads, if it reads but one thing, and alone; else None."""
        before = node.args[0] if node.args else None
        return before if reader(before) is node else None

    def last(self, nodes: list[Node]) -> Node:
        """The one of ``nodes`` that comes last."""
        return max(nodes, key=self.nodes().index)

    def put(self, node: Node, module: nn.Module) -> None:
        """Let ``node`` call ``module`` in place of what it calls."""
        self.whole.add_submodule(str(node.target), module)

    def fused(self, node: Node) -> FusedConv2d:
        """The convolution that ``node`` calls, which is made a :class:`FusedConv2d` if it is none."""
        conv = self.called(node)
        if not isinstance(conv, FusedConv2d):
            conv = FusedConv2d(conv)
            self.put(node, conv)
        return conv

    def skip(self, node: Node) -> None:
        """Take ``node`` out; who reads it reads its first argument."""
        node.replace_all_uses_with(node.args[0])
        self.whole.graph.erase_node(node)


def is_call(node: Node, targets: tuple[Any, ...]) -> bool:
    """Whether ``node`` calls one of these functions, or methods by their names."""
    kind = str if _is_node(node, "call_method") else None
    if kind is None and not _is_node(node, "call_function"):
        return False
    return any(node.target == target if kind else node.target is target for target in targets)


def reader(node: Node) -> Node:
    """The one node that reads ``node``, and reads it once; None if there are more, or none."""
    if not isinstance(node, fx.Node) or len(node.users) != 1:
        return None
    (user,) = node.users
    return user if user.op != "output" else None


def _is_node(node: Node, op: str) -> bool:
    return isinstance(node, fx.Node) and node.op == op
