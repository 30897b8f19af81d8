"""Recording the operations of a network that use its state.

A dispatch mode sees every operation in the order in which they run, with the tensors that it gets. It does not matter
whether these belong to a layer, are bare parameters in a functional call or in scripted code, or were computed from
other state first; hooks would see calls of modules only. Under inference mode an operation arrives whole: a linear
layer is one operation, not a transpose and a product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convzoo.testing.transplant.copies import Copy, Example

PRODUCTS = ("linear", "conv1d", "conv2d", "conv3d", "convolution")
"""Operations that compute the same, apart from dimensions of size 1 and the position of the channels."""


@dataclass
class Op:
    """An operation that uses state together with tensors that depend on the network's input.

    Args:
        index: its place in the trace, from 0.
        kind: such as ``"conv2d"``.
        names: of the state that it uses, directly or through tensors computed from it.
        shapes: of that state.
        options: its arguments that are no tensors.
        upstream: a bit mask; bit ``i`` is set if it depends on the result of operation ``i``.
        inputs, outputs: the tensors that it got and gave, if recorded; of those it got, only what depends on the input.
    """

    index: int
    kind: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any]
    upstream: int
    inputs: list[torch.Tensor] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)


class Trace(TorchDispatchMode):
    """Runs a network and lists its operations.

    Args:
        state: the network's tensors by name.

    Attributes:
        ops: the operations, in the order in which they ran.
        uses: how many operations use each tensor of the state.
        kernels: the tensors whose last dimensions are a window that convolutions move over the image.
    """

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.state = state
        self.ops: list[Op] = []
        self.uses: Counter[str] = Counter()
        self.kernels: set[str] = set()
        # Tensors are known by their storage, which views share. For each: the state that it was computed from, and,
        # if it depends on the input, the operations that it depends on.
        self._sources: dict[int, tuple[str, ...]] = {_storage(t): (name,) for name, t in self.state.items()}
        self._upstream: dict[int, int] = {}
        self._derived: list[tuple[Any, ...]] = []  # calls that compute tensors from state alone

    def run(self, network: Copy, example: Example) -> dict[str, torch.Tensor]:
        """The outputs of the network, whose state it is, by their place in what it returns."""
        example = example.map(torch.clone)
        self._upstream = {_storage(tensor): 0 for tensor in _tensors(tree_leaves((example.args, example.kwargs)))}
        with torch.inference_mode():
            outputs = network.run(example, self)
        self.uses = Counter(name for op in self.ops for name in op.names)
        return outputs

    def sources(self, tensor: torch.Tensor) -> tuple[str, ...]:
        """The state that a tensor was computed from, if it does not depend on the input."""
        return self._sources.get(_storage(tensor), ())

    def before(self, op: Op, tensors: list[torch.Tensor]) -> None:
        """Called before an operation runs, with those of its arguments that depend on the network's input."""

    def after(self, op: Op, tensors: list[torch.Tensor]) -> None:
        """Called after an operation ran, with its results."""

    def signature(self, op: Op) -> tuple[object, ...]:
        """What an operation and its counterpart have in common: kind, shapes, and how often each tensor is used.

        The number of uses keeps shared weights from being matched with weights that are not shared.
        """
        kind, shapes = op.kind, [tuple(n for n in shape if n > 1) for shape in op.shapes]
        if op.kind in PRODUCTS:
            # (out, in, *kernel): a 1 among the channels counts, since it makes a depthwise convolution.
            kind, shapes = "product", [shape[:2] + tuple(n for n in shape[2:] if n > 1) for shape in op.shapes]
        return kind, tuple(shapes), tuple(self.uses[name] for name in op.names)

    def refresh(self, names: set[str]) -> None:
        """Compute again, in place, the tensors that were computed from the state ``names``, which has changed."""
        for sources, func, args, kwargs, made in self._derived:
            if not names.isdisjoint(sources):
                for old, new in zip(made, _tensors(func(*args, **kwargs)), strict=True):
                    old.copy_(new)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = func._schema.name.split("::")[1].strip("_")
        given = list(_tensors((args, kwargs)))
        if kind.endswith(("_as", "_like")) or kind.startswith(("new_", "lift_fresh")):
            # These use only the shape or dtype of their last tensor, or (lift_fresh) get one without a history.
            given = given[:-1]
        active = [tensor for tensor in given if _storage(tensor) in self._upstream]
        names = tuple(dict.fromkeys(name for tensor in given for name in self._sources.get(_storage(tensor), ())))
        upstream = 0
        for tensor in active:
            upstream |= self._upstream[_storage(tensor)]
        op = None
        if active and names:
            named = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
            options = {k: v for k, v in named.items() if v is not None and not list(_tensors(v))}
            shapes = tuple(tuple(self.state[name].shape) for name in names)
            op = Op(len(self.ops), kind, names, shapes, options, upstream)
            self.ops.append(op)
            for weight in _tensors(args[1:2]) if kind.startswith("conv") else ():
                if weight.dim() > 2:
                    self.kernels |= {name for name in self.sources(weight) if self.state[name].shape == weight.shape}
            self.before(op, active)
            upstream |= 1 << op.index
        result = func(*args, **kwargs)
        made = list(_tensors(result))
        if op:
            self.after(op, made)
        elif names:
            self._derived.append((names, func, args, kwargs, made))
        for key in map(_storage, made):
            # The memory may have belonged to a tensor that is gone: replace what was known of it.
            self._sources[key] = () if active else names
            self._upstream.pop(key, None)
            if active:
                self._upstream[key] = upstream
        return result


class Record(Trace):
    """A trace that keeps what goes into and comes out of each operation, as copies, since it may be overwritten."""

    def before(self, op: Op, tensors: list[torch.Tensor]) -> None:
        op.inputs = [tensor.clone() for tensor in tensors]

    def after(self, op: Op, tensors: list[torch.Tensor]) -> None:
        op.outputs = [tensor.clone() for tensor in tensors]


def label(op: Op) -> str:
    """An operation by its number, kind and state, such as ``operation 4: conv2d of layer1.0, weight (4, 4, 3, 3)``."""
    owners = {name.rpartition(".")[0] for name in op.names}
    owner = owners.pop() if len(owners) == 1 else ""
    state = ", ".join(
        f"{name[len(owner) :].lstrip('.')} {shape}" for name, shape in zip(op.names, op.shapes, strict=True)
    )
    return f"operation {op.index + 1}: {op.kind}" + (f" of {owner}, {state}" if owner else f" with {state}")


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: object) -> Iterator[torch.Tensor]:
    """The tensors with elements in nested mappings, lists and tuples."""
    if isinstance(value, torch.Tensor):
        if value.numel():
            yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)
