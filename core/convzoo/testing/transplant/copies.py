"""Copies that may be run and changed at will, so that both networks stay as they are until the end."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map

from convzoo.testing.transplant.quiet import as_before, random_state, seeded
from convzoo.testing.transplant.report import TransplantError


@dataclass(frozen=True)
class Example:
    """What both networks are called with: tensors on the CPU, those of floating point in float64."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, example_input: object, example_kwargs: object) -> Example:
        """The example of these arguments.

        Raises:
            TransplantError: they are neither a tensor nor a tuple, hold no tensor, or one without values.
        """
        if isinstance(example_input, torch.Tensor):
            example_input = (example_input,)
        if not isinstance(example_input, tuple):
            kind = type(example_input).__name__
            raise TransplantError(
                f"example_input must be a tensor, or a tuple of the positional arguments, got a {kind}. If the networks"
                f" take a {kind}, give (it,); arguments by keyword go into example_kwargs"
            )
        if not isinstance(example_kwargs, Mapping) or not all(isinstance(key, str) for key in example_kwargs):
            raise TransplantError(f"example_kwargs must map names to arguments, got {example_kwargs!r}")
        tensors = [
            leaf for leaf in tree_leaves((example_input, dict(example_kwargs))) if isinstance(leaf, torch.Tensor)
        ]
        if not tensors or any(tensor.is_meta for tensor in tensors):
            raise TransplantError(
                "the example must hold a tensor, with values: give images such as torch.randn(2, 3, 64, 64)"
            )
        return cls(example_input, dict(example_kwargs)).map(wide)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Example:
        """This example with ``function`` of every tensor, in new containers."""
        made = tree_map(
            lambda leaf: function(leaf) if isinstance(leaf, torch.Tensor) else leaf, (self.args, self.kwargs)
        )
        return Example(*made)


class Copy:
    """A copy of a network, in eval mode and float64 on the CPU.

    Args:
        model: the network.
        who: how messages call it.

    Attributes:
        model: the copy.
        state: its tensors by name, as :func:`named_state` gives them.
        names: for every name of a tensor the one in ``state``; the two differ where tensors are shared.
        draws: whether a run so far drew random numbers.

    Raises:
        TransplantError: it is no module, has no values, or cannot be copied.
    """

    def __init__(self, model: nn.Module, who: str) -> None:
        if not isinstance(model, nn.Module):
            raise TransplantError(f"{who} must be a torch.nn.Module that is built, got {model!r}")
        self.who = who
        try:
            self.model = _copied(model, who).eval()
            self.state, self.names = named_state(self.model), first_names(self.model)
        except TransplantError:
            raise
        except Exception as error:
            raise TransplantError(f"{who} cannot be copied: {type(error).__name__}: {error}") from error
        self.draws = False

    def run(
        self, example: Example, during: contextlib.AbstractContextManager[object] | None = None
    ) -> dict[str, torch.Tensor]:
        """The outputs by their place in what the network returns, as copies.

        Every run starts with the same random numbers, and attributes are as they were after one in eval mode.

        Raises:
            TransplantError: the network raises an error.
        """
        before = seeded()
        try:
            with contextlib.ExitStack() as stack:
                if not self.model.training:
                    stack.enter_context(as_before(self.model))
                if during:
                    stack.enter_context(during)
                returned = self.model(*example.args, **example.kwargs)
            outputs = {place: tensor.clone() for place, tensor in _outputs(returned)}
        except TransplantError:
            raise
        except Exception as error:
            mode = "training" if self.model.training else "eval"
            raise TransplantError(
                f"{self.who} cannot be run on the example in {mode} mode: {type(error).__name__}: {error}\nA copy of it"
                " runs on the CPU in float64, so its code must not ask for another device or dtype. Both networks are"
                " unchanged."
            ) from error
        self.draws |= random_state() != before
        return outputs


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU, in the most precise dtype of its kind."""
    return tensor.detach().to("cpu", _widest(tensor), copy=True)


def named_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and the buffers that are saved; a tensor with several names goes by the first."""
    names = first_names(model)
    return {name: tensor for name, tensor in full_state(model).items() if name == names[name]}


def full_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and the buffers that are saved, by all of their names, without those that have no elements."""
    state: dict[str, torch.Tensor] = {}
    for place, module in model.named_modules(remove_duplicate=False):
        state.update(module.named_parameters(place, recurse=False, remove_duplicate=False))
        passing = getattr(module, "_non_persistent_buffers_set", ())
        buffers = module.named_buffers(place, recurse=False, remove_duplicate=False)
        state.update((name, buffer) for name, buffer in buffers if name.rpartition(".")[2] not in passing)
    return {name: tensor for name, tensor in state.items() if tensor.numel()}


def first_names(model: nn.Module) -> dict[str, str]:
    """For every name of a tensor in the state, the first that it has."""
    state = full_state(model)
    first = {id(tensor): name for name, tensor in reversed(state.items())}
    return {name: first[id(tensor)] for name, tensor in state.items()}


def fits(theirs: torch.Tensor, ours: torch.Tensor) -> bool:
    """Whether both hold the same values apart from dimensions of size 1, and real or complex numbers."""
    shapes = [[n for n in tensor.shape if n > 1] for tensor in (theirs, ours)]
    return shapes[0] == shapes[1] and theirs.is_complex() == ours.is_complex()


def fill(target: Mapping[str, torch.Tensor], source: Mapping[str, torch.Tensor], mapping: Mapping[str, str]) -> None:
    """Copy values in place; ``mapping`` goes from names in ``source`` to names in ``target``."""
    with torch.no_grad():
        for theirs, ours in mapping.items():
            target[ours].copy_(source[theirs].reshape(target[ours].shape))


def install(target: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Write all ``values`` into ``target``, or none.

    Raises:
        TransplantError: one cannot be written, or is not there afterwards.
    """
    written: dict[str, torch.Tensor] = {}
    wanted = {name: value.detach().to(target[name]).reshape(target[name].shape) for name, value in values.items()}
    with torch.inference_mode():  # it lets tensors be written that were made under it, and others too
        try:
            for name, value in wanted.items():
                if value.isfinite().sum() != values[name].isfinite().sum():
                    raise ValueError(f"its values do not fit into {value.dtype}")
                written[name] = target[name].clone()
                target[name].copy_(value)
            for name, value in wanted.items():
                if not torch.equal(target[name].nan_to_num(), value.nan_to_num()):
                    raise ValueError("it shares its memory with another tensor of the model")
        except (RuntimeError, ValueError) as error:
            for done, value in reversed(written.items()):
                with contextlib.suppress(RuntimeError):
                    target[done].copy_(value)
            raise TransplantError(
                f"the two are equal, but {name} of the model cannot be written: {error}. The model is unchanged."
            ) from error


def _widest(tensor: torch.Tensor) -> torch.dtype:
    if tensor.is_complex():
        return torch.complex128
    return torch.float64 if tensor.is_floating_point() else tensor.dtype


def _copied(model: nn.Module, who: str) -> nn.Module:
    """A copy with widened tensors; plain tensors that modules keep, such as the last activations, are copied too."""
    registered = dict((*model.named_parameters(), *model.named_buffers()))
    for name, tensor in registered.items():
        if is_lazy(tensor):
            raise TransplantError(f"{who} is lazy and has no weights yet ({name}): run it once on the example")
        if tensor.is_meta:
            raise TransplantError(f"{who} has no values, being on the meta device ({name}): build it on another")
    plain = {id(v): v for module in model.modules() for v in vars(module).values() if isinstance(v, torch.Tensor)}
    memo: dict[int, Any] = {key: wide(tensor) for key, tensor in plain.items()}
    for tensor in registered.values():
        parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(wide(tensor), tensor.requires_grad) if parameter else wide(tensor)
    with torch.no_grad():
        made = copy.deepcopy(model, memo)
    return made._apply(lambda tensor: tensor.to("cpu", _widest(tensor)))  # compiled code does not use the memo


def _outputs(value: object, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors and numbers in nested mappings, lists, tuples and dataclasses, each with its path."""
    if isinstance(value, (bool, int, float, complex)):
        widest: dict[type, torch.dtype] = {float: torch.float64, complex: torch.complex128}
        value = torch.tensor(value, dtype=widest.get(type(value)))
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    elif dataclasses.is_dataclass(value):
        items = ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    for key, item in items:
        yield from _outputs(item, f"{path}.{key}")
