"""Rewrites that save passes and memory: convolutions do what follows them, and results take the place of terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from convzoo.deploying.convolution import FusedConv2d, foldable
from convzoo.deploying.following import following
from convzoo.deploying.graphs import MEANS, PRODUCTS, SUMS, Graph, is_call, reader
from convzoo.deploying.in_place import may_overwrite, writes_between
from convzoo.deploying.pointwise import ScaleShift, add_product, mean, plus, product_plus, times


def fuse_sums(graph: Graph) -> int:
    """The sum of a convolution's output and something else is made by the convolution."""
    count = 0
    for node in graph.nodes():
        if not is_call(node, SUMS) or len(node.all_input_nodes) != 2 or node.kwargs:
            continue
        terms = [each for each in node.args if foldable(graph.module(each)) and reader(each) is node]
        if not terms:
            continue
        before = graph.last(terms)  # which may add to the other
        if writes_between(graph, before, node):
            continue
        (other,) = (each for each in node.args if each is not before)
        conv = graph.fused(before)
        # A pixel of the output is made of many of the input, which must still be there.
        conv.sums, conv.overwrites = True, other is not before.args[0] and may_overwrite(graph, node, other)
        with graph.whole.graph.inserting_before(node):
            new = graph.whole.graph.call_module(str(before.target), (before.args[0], other))
        node.replace_all_uses_with(new)
        graph.whole.graph.erase_node(node)
        graph.whole.graph.erase_node(before)
        count += 1
    return count


def fuse_acts(graph: Graph) -> int:
    """An activation after a convolution, or after a scale and shift, is made by it."""
    count = 0
    for node in graph.nodes():
        act, before = graph.act(node), graph.only_input(node)
        if act is None or following(act) is None or before is None or before.op != "call_module":
            continue
        module: Any = graph.called(before)
        if foldable(graph.module(before)):
            module = graph.fused(before)
        if isinstance(module, (FusedConv2d, ScaleShift)) and module.act is None:
            module.then(act)
            graph.skip(node)
            count += 1
    return count


def lay_out(graph: Graph) -> int:
    """Convolutions that nothing was done to get their weights laid out as well."""
    modules = ((node, graph.module(node)) for node in graph.nodes())
    found = [node for node, module in modules if foldable(module) and not isinstance(module, FusedConv2d)]
    for node in found:
        graph.fused(node)
    return len(found)


def pool_means(graph: Graph) -> int:
    """The mean over all pixels becomes an average pool."""
    count = 0
    for node in graph.nodes():
        arguments = [*node.args[1:], *node.kwargs.values()]
        if is_call(node, MEANS) and set(node.kwargs) <= {"dim", "keepdim"} and arguments == [(2, 3), True]:
            _call(graph, node, mean, (node.args[0],))
            count += 1
    return count


def overwrite(graph: Graph) -> int:
    """Products and sums take the place of a term that nobody reads afterwards."""
    count = 0
    for node in graph.nodes():
        if len(node.args) != 2 or node.kwargs or not is_call(node, (*SUMS, *PRODUCTS)):
            continue
        own = [each for each in node.args if may_overwrite(graph, node, each)]
        if own:
            count += 1
            if not is_call(node, SUMS):
                _call(graph, node, times, (own[0], _other(node, own[0])))
            elif not _sum_product(graph, node, own):
                _call(graph, node, plus, (own[0], _other(node, own[0])))
    return count


def _sum_product(graph: Graph, node: Any, own: list[Any]) -> bool:
    """Make the sum of a product and something else in one pass; False if it is no such sum."""
    for product in node.args:
        rest = _other(node, product)
        if not is_call(product, (times, *PRODUCTS)) or reader(product) is not node or product.kwargs:
            continue
        if writes_between(graph, product, node):
            continue
        if rest in own:
            _call(graph, node, add_product, (rest, *product.args))
        elif is_call(product, (times,)):
            _call(graph, node, product_plus, (*product.args, rest))
        else:
            continue
        graph.whole.graph.erase_node(product)
        return True
    return False


def _other(node: Any, term: Any) -> Any:
    return node.args[1] if term is node.args[0] else node.args[0]


def _call(graph: Graph, node: Any, function: Callable[..., torch.Tensor], arguments: tuple[Any, ...]) -> None:
    """Let ``function`` be called in place of ``node``."""
    with graph.whole.graph.inserting_before(node):
        new = graph.whole.graph.call_function(function, arguments)
    node.replace_all_uses_with(new)
    graph.whole.graph.erase_node(node)
