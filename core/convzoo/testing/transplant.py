"""Weights carried between two implementations that share no names, to prove a block equal to the code of its paper.

Operations are matched, not modules: every op that takes state together with something made of the input. A dispatch
mode sees them in the order in which they really run, with the state that reaches them, whether it belongs to a layer,
is a bare parameter in a functional call or in scripted code, or was made into another tensor first; hooks would see
calls of modules only. Under inference mode an op arrives whole: a linear layer is one, not a transpose and a product.

Two ops correspond when they are of one kind, their state has the same shapes, and their inputs are numerically equal.
As the model's state is filled just before the op that needs it first, one run finds them all, in whatever order
parallel branches stand. Only branches with one input and the same shapes look alike until they meet; if what follows
then differs, the run is repeated with another choice.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from convzoo.errors import ConvzooError
from convzoo.parity import Difference, jitter, largest_difference

TOLERANCE = 1e-8
"""Relative difference up to which two activations in float64 count as equal."""
PATIENCE = 32
"""Runs that may get no farther than the best before it is taken for good."""
PRODUCTS = ("linear", "conv1d", "conv2d", "conv3d")
"""Ops that are the same but for sizes of 1 and for where the channels stand."""


class TransplantError(ConvzooError, RuntimeError):
    """Two networks whose layers do not correspond."""


@dataclass(frozen=True)
class Divergence:
    """The first place where two networks compute different things; whatever ran before it agrees.

    Args:
        where: ``"input"`` or ``"output"`` of the operation.
        op: its kind, such as ``"conv2d"``; empty for the network as a whole.
        reference, model: a tensor that it uses, on either side.
        after: a tensor of the model, used by the operation before.
        difference: the largest, absolute.
        note: how shapes or options differ.
    """

    where: str
    op: str
    reference: str
    model: str
    after: str
    difference: float
    note: str = ""

    def __str__(self) -> str:
        at = f"{self.op} with {self.model} (reference: {self.reference})" if self.op else "the network"
        after = f", after {self.after}," if self.after else ""
        note = f" ({self.note})" if self.note else ""
        return f"the {self.where} of {at}{after} differs by {self.difference:.3g}{note}"


@dataclass(frozen=True, repr=False)
class Transplant:
    """What :func:`transplant` found; ``str`` says it in a few lines.

    Args:
        mapping: from the reference's names to the model's; a tensor with several names goes by the first.
        largest_difference: of the outputs, absolute.
        largest_relative: of the outputs, each relative to the largest value of the reference's.
        output_shapes: of all outputs.
        divergence: the first place where the two differ, if they do.
        by_order: the model's tensors whose counterpart only shape and order tell, since what comes in differs.
        unused_reference, unused_model: state that no operation uses and that was left alone.
    """

    mapping: Mapping[str, str]
    largest_difference: float
    largest_relative: float
    output_shapes: tuple[tuple[int, ...], ...]
    divergence: Divergence | None
    by_order: tuple[str, ...]
    unused_reference: tuple[str, ...]
    unused_model: tuple[str, ...]

    def __str__(self) -> str:
        shapes = ", ".join(map(str, self.output_shapes))
        lines = [
            f"{len(self.mapping)} tensors copied; outputs {shapes} differ by at most {self.largest_difference:.3g}"
            f" (relative {self.largest_relative:.3g})"
        ]
        if self.divergence:
            lines.append(f"first difference: {self.divergence}")
        lefts = {
            "matched by order only": self.by_order,
            "unused in the reference": self.unused_reference,
            "unused in the model": self.unused_model,
        }
        lines += [f"{title}, {len(names)}: {', '.join(_cut(names))}" for title, names in lefts.items() if names]
        return "\n".join(lines)

    __repr__ = __str__  # so that a failed assertion shows where the two part


def transplant(
    reference: nn.Module, model: nn.Module, example_input: torch.Tensor | tuple[torch.Tensor, ...]
) -> Transplant:
    """Give ``model`` the weights of ``reference``, by what runs in which order, and compare what the two compute.

    Copies of both are compared: in eval mode, in float64 on the CPU, and with the reference's norms and whatever else
    starts as a constant jittered, since fresh scales of 0 and statistics of 0 and 1 hide wrong copies. Afterwards
    ``model`` gets the reference's own weights in place; nothing else of it changes, and nothing of ``reference``.
    Memory is needed for the inputs and outputs of all the reference's layers, so take small images.

    Args:
        reference: the original; it may return a tensor, or tuples, lists and dicts of them.
        model: what must equal it.
        example_input: what both are called with, such as ``(N, C, H, W)``.

    Returns:
        What went where, how much the outputs differ and where that begins. That they differ is not an error.

    Raises:
        TransplantError: layers or outputs differ in number, kind, shape or sharing; ``model`` is unchanged then.
    """
    inputs = (example_input,) if isinstance(example_input, torch.Tensor) else tuple(example_input)
    inputs = tuple(t.detach().to("cpu", torch.float64 if t.is_floating_point() else t.dtype) for t in inputs)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        theirs, ours = _Record(_copy(reference, "the reference")), _Trace(_copy(model, "the model"))
        jitter(theirs.model)
        expected = theirs.run(inputs)
        ours.run(inputs)
        _require_same_layers(theirs, ours)
        best = _align(theirs, ours, inputs, expected)
        mapping = _with_companions(best.mapping, theirs.state, ours.state)
        # Once more, with nothing but the mapping.
        _fill(ours.state, theirs.state, mapping)
        pairs = _pairs(_Trace(ours.model).run(inputs), expected)
    if not pairs:
        before = f" Before them, {best.divergence}." if best.divergence else ""
        raise TransplantError(
            f"the outputs cannot be compared: the reference gives {_shapes(expected.values())}, the model"
            f" {_shapes(best.outputs.values())}.{before} Let both return the same tensors. The model is unchanged."
        )
    differences = [_difference([mine], [yours]) for mine, yours in pairs]
    _fill(_state(model), _state(reference), mapping)
    return Transplant(
        mapping=mapping,
        largest_difference=max(d.absolute for d in differences),
        largest_relative=max(d.relative for d in differences),
        output_shapes=tuple(tuple(yours.shape) for _, yours in pairs),
        divergence=best.divergence,
        by_order=tuple(best.by_order),
        unused_reference=tuple(name for name in theirs.state if name not in mapping),
        unused_model=tuple(name for name in ours.state if name not in mapping.values()),
    )


@dataclass
class _Op:
    """An operation on state and on something made of the input; ``upstream`` has a bit for every one that it needs."""

    index: int
    kind: str
    slots: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any]
    upstream: int
    inputs: list[torch.Tensor] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)


class _Trace(TorchDispatchMode):
    """Runs a network and lists its operations."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.state = model, _state(model)
        self.ops: list[_Op] = []
        self.uses: Counter[str] = Counter()
        # By storage, which views share: the state that a tensor is made of, or the operations that it comes from.
        self._made_of: dict[int, tuple[str, ...]] = {_storage(t): (name,) for name, t in self.state.items()}
        self._upstream: dict[int, int] = {}
        self._derived: list[tuple[Any, ...]] = []

    def run(self, inputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The outputs, by their place in what the network returns."""
        inputs = [tensor.clone() for tensor in inputs]
        self._upstream = {_storage(tensor): 0 for tensor in inputs}
        torch.default_generator.manual_seed(0)
        with torch.inference_mode(), self:
            outputs = dict(_tensors(self.model(*inputs)))
        self.uses = Counter(name for op in self.ops for name in op.slots)
        return outputs

    def before(self, op: _Op, tensors: list[torch.Tensor]) -> None:
        """Called with what an operation will get of what was made of the input."""

    def after(self, op: _Op, tensors: list[torch.Tensor]) -> None:
        """Called with what it gave."""

    def signature(self, op: _Op) -> tuple[object, ...]:
        """What an operation shares with its counterpart. How often its state is used is part of it: ties must tie."""
        kind, shapes = op.kind, [tuple(n for n in shape if n > 1) for shape in op.shapes]
        if op.kind in PRODUCTS:
            # (out, in, *kernel), of which out and in may be 1 for good.
            kind, shapes = "product", [shape[:2] + tuple(n for n in shape[2:] if n > 1) for shape in op.shapes]
        return kind, tuple(shapes), tuple(self.uses[name] for name in op.slots)

    def refresh(self, names: set[str]) -> None:
        """Make again what was made of state that has changed."""
        for slots, func, args, kwargs, made in self._derived:
            if not names.isdisjoint(slots):
                for old, (_, new) in zip(made, _tensors(func(*args, **kwargs)), strict=True):
                    old.copy_(new)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = func._schema.name.split("::")[1].strip("_")
        given = [tensor for _, tensor in _tensors((args, kwargs))]
        if kind.endswith(("_as", "_like")) or kind.startswith(("new_", "lift_fresh")):
            # Of the last tensor these take only the shape or type, or nobody has seen it before.
            given = given[:-1]
        active = [tensor for tensor in given if _storage(tensor) in self._upstream]
        slots = tuple(dict.fromkeys(name for tensor in given for name in self._made_of.get(_storage(tensor), ())))
        upstream = 0
        for tensor in active:
            upstream |= self._upstream[_storage(tensor)]
        op = None
        if active and slots:
            named = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
            options = {k: v for k, v in named.items() if v is not None and not list(_tensors(v))}
            shapes = tuple(tuple(self.state[name].shape) for name in slots)
            op = _Op(len(self.ops), kind, slots, shapes, options, upstream)
            self.ops.append(op)
            self.before(op, active)
            upstream |= 1 << op.index
        result = func(*args, **kwargs)
        made = [tensor for _, tensor in _tensors(result)]
        if op:
            self.after(op, made)
        elif slots:
            self._derived.append((slots, func, args, kwargs, made))
        for key in map(_storage, made):
            # Memory is used again: forget what stood there.
            self._made_of[key] = () if active else slots
            self._upstream.pop(key, None)
            if active:
                self._upstream[key] = upstream
        return result


class _Record(_Trace):
    """Keeps what goes in and out, copied, since somebody may write to it."""

    def before(self, op: _Op, tensors: list[torch.Tensor]) -> None:
        op.inputs = [tensor.clone() for tensor in tensors]

    def after(self, op: _Op, tensors: list[torch.Tensor]) -> None:
        op.outputs = [tensor.clone() for tensor in tensors]


@dataclass
class _Tie:
    """Candidates that nothing tells apart at an operation; settled once an agreeing operation has joined them all."""

    at: int
    choice: int
    group: list[int]
    settled: bool = False


class _Attempt(_Trace):
    """Runs the model and fills its state as it goes; at the first ties it takes the given choices."""

    def __init__(self, theirs: _Trace, ours: _Trace, choices: Sequence[int]) -> None:
        super().__init__(ours.model)
        self.theirs, self.uses, self.choices = theirs, ours.uses, choices
        self.mapping: dict[str, str] = {}
        self._inverse: dict[str, str] = {}
        self.by_order: list[str] = []
        self.ties: list[_Tie] = []
        self.outputs: dict[str, torch.Tensor] = {}
        self.divergence: Divergence | None = None
        self.reach = math.inf
        self._partners: dict[int, _Op] = {}  # by the index of the reference's operation, the model's
        self._latest: _Op | None = None
        self._candidates: dict[object, list[_Op]] = defaultdict(list)
        for op in theirs.ops:
            self._candidates[theirs.signature(op)].append(op)

    def finish(self, inputs: Sequence[torch.Tensor], expected: Mapping[str, torch.Tensor]) -> _Attempt:
        self.outputs = self.run(inputs)
        end = _Op(len(self.ops), "", ("",), ((),), {}, 0)
        for mine, yours in _pairs(self.outputs, expected):
            self._note("output", end, end, _difference([mine], [yours]))
        return self

    def before(self, op: _Op, tensors: list[torch.Tensor]) -> None:
        pool = [other for other in self._candidates[self.signature(op)] if self._free(op, other)]
        if not pool:
            raise TransplantError(
                f"the model shares its tensors otherwise than the reference: nothing of it is left for {_label(op)}."
                " Let the same layers share weights in both. The model is unchanged."
            )
        gaps = {other.index: _difference(tensors, other.inputs, op.kind, other.kind) for other in pool}
        same = [other for other in pool if gaps[other.index].relative <= TOLERANCE]
        kin = sum(1 << yours for yours, mine in self._partners.items() if op.upstream >> mine.index & 1)

        def unlike(other: _Op) -> tuple[int, bool]:
            # What computes other values has at least the same layers before it.
            return 0 if same else (other.upstream ^ kin).bit_count(), op.options != other.options

        least = min(map(unlike, same or pool))
        group = [other for other in same or pool if unlike(other) == least]
        choice = 0
        if same and len(group) > 1:
            choice = self.choices[len(self.ties)] if len(self.ties) < len(self.choices) else 0
            self.ties.append(_Tie(op.index, choice, [other.index for other in group]))
        partner = self._latest = group[choice]
        self._partners[partner.index] = op
        fresh = {yours: mine for yours, mine in zip(partner.slots, op.slots, strict=True) if yours not in self.mapping}
        self.mapping |= fresh
        self._inverse |= {mine: yours for yours, mine in fresh.items()}
        _fill(self.state, self.theirs.state, fresh)
        self.refresh(set(fresh.values()))
        if not same:
            self.by_order += fresh.values()
            self._note("input", op, partner, gaps[partner.index])
            return
        for tie in self.ties:
            met = [op.upstream >> self._partners[i].index & 1 for i in tie.group if i in self._partners]
            tie.settled |= sum(met) == len(tie.group)

    def after(self, op: _Op, tensors: list[torch.Tensor]) -> None:
        other = self._latest
        assert other is not None
        self._note("output", op, other, _difference(tensors, other.outputs, op.kind, other.kind))

    def _free(self, op: _Op, other: _Op) -> bool:
        """Whether neither is taken, nor any of their tensors by another."""
        return other.index not in self._partners and all(
            self.mapping.get(yours, mine) == mine and self._inverse.get(mine, yours) == yours
            for yours, mine in zip(other.slots, op.slots, strict=True)
        )

    def _note(self, where: str, op: _Op, other: _Op, gap: Difference) -> None:
        if self.divergence or gap.relative <= TOLERANCE:
            return
        notes, after = [gap.where] if gap.where else [], ""
        if where == "input" and op.upstream:
            after = self.ops[op.upstream.bit_length() - 1].slots[0]
        elif op.kind == other.kind:
            options = {name: (op.options.get(name), other.options.get(name)) for name in op.options | other.options}
            notes += [f"{name} {a}, the reference's {b}" for name, (a, b) in options.items() if a != b]
        self.reach = op.index
        self.divergence = Divergence(where, op.kind, other.slots[0], op.slots[0], after, gap.absolute, "; ".join(notes))


def _align(
    theirs: _Trace, ours: _Trace, inputs: Sequence[torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> _Attempt:
    """The attempt whose first difference, if any, comes latest."""
    best, patience = None, PATIENCE
    choices: list[int] = []
    while patience:
        attempt = _Attempt(theirs, ours, choices).finish(inputs, expected)
        patience -= 1
        if best is None or attempt.reach > best.reach:
            best, patience = attempt, PATIENCE
        # Back to the last choice before the difference, and rather to one whose branches have not met.
        left = [
            (not tie.settled, i)
            for i, tie in enumerate(attempt.ties)
            if tie.at <= attempt.reach and tie.choice + 1 < len(tie.group)
        ]
        if attempt.divergence is None or not left:
            break
        last = max(left)[1]
        choices = [tie.choice for tie in attempt.ties[:last]] + [attempt.ties[last].choice + 1]
    assert best is not None
    return best


def _require_same_layers(theirs: _Trace, ours: _Trace) -> None:
    yours, mine = _surplus(theirs, ours), _surplus(ours, theirs)
    if yours or mine:
        lines = [f"only in the reference, {len(yours)}:", *_cut(yours), f"only in the model, {len(mine)}:", *_cut(mine)]
        raise TransplantError(
            "\n".join(["the two do not run the same operations on their weights.", *lines])
            + "\nCounterparts are of one kind, with the same shapes and tensors (a bias on both or neither), and"
            " run equally often. Give the model the reference's kernel size, groups and bias. The model is unchanged."
        )


def _surplus(trace: _Trace, other: _Trace) -> list[str]:
    """A line for each operation without a counterpart, looked for where the orders of the two disagree."""
    found, wanted = [trace.signature(op) for op in trace.ops], [other.signature(op) for op in other.ops]
    surplus, lines = Counter(found) - Counter(wanted), []
    for tag, first, last, *_ in difflib.SequenceMatcher(None, found, wanted, False).get_opcodes():
        for op in trace.ops[first:last] if tag != "equal" else ():
            if surplus[trace.signature(op)] > 0:
                surplus[trace.signature(op)] -= 1
                times = max(trace.uses[name] for name in op.slots)
                lines.append(f"  {_label(op)}{f', used {times} times' if times > 1 else ''}")
    return lines


def _with_companions(
    mapping: Mapping[str, str], yours: Mapping[str, torch.Tensor], mine: Mapping[str, torch.Tensor]
) -> dict[str, str]:
    """And state that nothing computes with, such as batch norm's counter, beside tensors that correspond."""
    owners = {a.rpartition(".")[0]: b.rpartition(".")[0] for a, b in mapping.items()}
    result = dict(mapping)
    for name, tensor in yours.items():
        owner, _, own = name.rpartition(".")
        other = ".".join(filter(None, (owners.get(owner), own)))
        free = owner in owners and name not in mapping and other in mine and other not in result.values()
        if free and mine[other].shape == tensor.shape:
            result[name] = other
    return result


def _copy(model: nn.Module, who: str) -> nn.Module:
    if empty := [name for name, tensor in _state(model).items() if tensor.is_meta]:
        raise TransplantError(f"{who} has no values, being on the meta device ({empty[0]}): build it on another")
    return copy.deepcopy(model).to("cpu", torch.float64).eval()


def _fill(mine: Mapping[str, torch.Tensor], yours: Mapping[str, torch.Tensor], mapping: Mapping[str, str]) -> None:
    with torch.no_grad():
        for source, target in mapping.items():
            mine[target].copy_(yours[source].reshape(mine[target].shape))


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and the buffers that are saved, a tensor with several names under the first."""
    named = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}
    first = {id(tensor): name for name, tensor in reversed(named.items())}
    return {name: tensor for name, tensor in named.items() if first[id(tensor)] == name}


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: object, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _tensors(item, f"{path}.{key}")


def _laid_out(kind: str, tensor: torch.Tensor) -> torch.Tensor:
    """``(N, C, positions)`` for products, and no sizes of 1."""
    if kind in PRODUCTS and tensor.dim() > 2:
        tensor = (tensor.movedim(-1, 1) if kind == "linear" else tensor).flatten(2)
    return tensor.squeeze()


def _pairs(
    mine: Mapping[str, torch.Tensor], yours: Mapping[str, torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Outputs by their keys, or else by their order; none if they are not alike."""
    if len(mine) != len(yours):
        return []
    if mine.keys() != yours.keys():
        yours = dict(zip(mine, yours.values(), strict=True))
    pairs = [(mine[key], yours[key]) for key in mine]
    return pairs if all(a.shape == b.shape for a, b in pairs) else []


def _difference(
    mine: Sequence[torch.Tensor], yours: Sequence[torch.Tensor], kind: str = "", other: str = ""
) -> Difference:
    """The largest between what operations of these kinds take or give; in ``where`` the shapes, if they differ."""
    a, b = [_laid_out(kind, tensor) for tensor in mine], [_laid_out(other, tensor) for tensor in yours]
    if [tensor.shape for tensor in a] == [tensor.shape for tensor in b]:
        worst = largest_difference({str(i): pair for i, pair in enumerate(zip(a, b, strict=True))})
        return Difference(worst.absolute, worst.relative)
    return Difference(math.inf, math.inf, f"shape {_shapes(mine)}, the reference's {_shapes(yours)}")


def _label(op: _Op) -> str:
    owners = {name.rpartition(".")[0] for name in op.slots}
    owner = owners.pop() if len(owners) == 1 else ""
    state = ", ".join(
        f"{name[len(owner) :].lstrip('.')} {shape}" for name, shape in zip(op.slots, op.shapes, strict=True)
    )
    return f"operation {op.index + 1}: {op.kind}" + (f" of {owner}, {state}" if owner else f" with {state}")


def _shapes(tensors: Iterable[torch.Tensor]) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "no tensor"


def _cut(items: Sequence[str], limit: int = 8) -> list[str]:
    return [*items[:limit], *([f"… ({len(items) - limit} more)"] if len(items) > limit else [])]
