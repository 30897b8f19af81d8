"""Finding which operation of a model corresponds to which of the reference, and so which tensors do.

Two operations correspond when they are of one kind, their state has the same shapes, and their inputs are numerically
equal. The model runs with the reference's weights: just before an operation first uses a tensor, its counterpart is
looked up and the tensor gets the reference's values. So one run finds the whole mapping, in whatever order parallel
branches run. Only branches with the same input and the same shapes cannot be told apart until their results are used;
if what follows then differs, the model runs again with another choice.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from convzoo.errors import first_of
from convzoo.testing.numerics import Difference, largest_difference
from convzoo.testing.transplant.report import Divergence, TransplantError, label, shapes_of
from convzoo.testing.transplant.trace import PRODUCTS, Op, Trace, fill

TOLERANCE = 1e-8
"""Relative difference up to which two activations in float64 count as equal."""
PATIENCE = 32
"""Runs without progress after which the search for a better choice ends."""


@dataclass
class _Tie:
    """An operation with several equal candidates, of which one was chosen.

    Args:
        at: the index of the model's operation.
        choice: the place in ``group`` of the chosen candidate.
        group: the indices of the reference's operations that are candidates.
        settled: whether an operation that depends on all of them got the same input as its counterpart; the choice is
            then hardly wrong.
    """

    at: int
    choice: int
    group: list[int]
    settled: bool = False


class Attempt(Trace):
    """A run of the model in which its state is filled as it is used.

    Args:
        reference: the recorded operations of the reference.
        model: a trace of the model.
        choices: which candidate to take at the first ties; at all further ones it is the first.
    """

    def __init__(self, reference: Trace, model: Trace, choices: Sequence[int]) -> None:
        super().__init__(model.model)
        self.reference, self.uses, self.choices = reference, model.uses, choices
        self.mapping: dict[str, str] = {}  # from the reference's names to the model's
        self._inverse: dict[str, str] = {}
        self.by_order: list[str] = []
        self.ties: list[_Tie] = []
        self.outputs: dict[str, torch.Tensor] = {}
        self.divergence: Divergence | None = None
        self.reach = math.inf  # the index of the first operation that differs
        self._partners: dict[int, Op] = {}  # by the index of the reference's operation, the model's
        self._latest: Op | None = None  # the reference's operation for the one that runs
        self._candidates: dict[object, list[Op]] = defaultdict(list)
        for op in reference.ops:
            self._candidates[reference.signature(op)].append(op)

    def finish(self, inputs: Sequence[torch.Tensor], expected: Mapping[str, torch.Tensor]) -> Attempt:
        """Run the model, and compare its outputs with the ``expected`` ones of the reference."""
        self.outputs = self.run(inputs)
        end = Op(len(self.ops), "", ("",), ((),), {}, 0)
        for ours, theirs in output_pairs(self.outputs, expected):
            self._compare("output", end, end, difference([ours], [theirs]))
        return self

    def before(self, op: Op, tensors: list[torch.Tensor]) -> None:
        """Choose the operation's counterpart and fill the state that is used for the first time."""
        pool = [other for other in self._candidates[self.signature(op)] if self._free(op, other)]
        if not pool:
            raise TransplantError(
                f"the model shares its tensors otherwise than the reference: nothing of it is left for {label(op)}."
                " Let the same layers share weights in both. The model is unchanged."
            )
        gaps = {other.index: difference(tensors, other.inputs, op.kind, other.kind) for other in pool}
        same = [other for other in pool if gaps[other.index].relative <= TOLERANCE]
        known = sum(1 << theirs for theirs, ours in self._partners.items() if op.upstream >> ours.index & 1)

        def unlike(other: Op) -> tuple[int, bool]:
            # Where no input is equal, prefer the candidate that depends on the same operations.
            return 0 if same else (other.upstream ^ known).bit_count(), op.options != other.options

        least = min(map(unlike, same or pool))
        group = [other for other in same or pool if unlike(other) == least]
        choice = 0
        if same and len(group) > 1:
            choice = self.choices[len(self.ties)] if len(self.ties) < len(self.choices) else 0
            self.ties.append(_Tie(op.index, choice, [other.index for other in group]))
        partner = self._latest = group[choice]
        self._partners[partner.index] = op
        pairs = zip(partner.names, op.names, strict=True)
        fresh = {theirs: ours for theirs, ours in pairs if theirs not in self.mapping}
        self.mapping |= fresh
        self._inverse |= {ours: theirs for theirs, ours in fresh.items()}
        fill(self.state, self.reference.state, fresh)
        self.refresh(set(fresh.values()))
        if not same:
            self.by_order += fresh.values()
            self._compare("input", op, partner, gaps[partner.index])
            return
        for tie in self.ties:
            met = [op.upstream >> self._partners[i].index & 1 for i in tie.group if i in self._partners]
            tie.settled |= sum(met) == len(tie.group)

    def after(self, op: Op, tensors: list[torch.Tensor]) -> None:
        """Compare the operation's results with its counterpart's."""
        other = self._latest
        assert other is not None
        self._compare("output", op, other, difference(tensors, other.outputs, op.kind, other.kind))

    def _free(self, op: Op, other: Op) -> bool:
        """Whether ``other`` has no partner yet, and no tensor of either is mapped to one outside of the two."""
        return other.index not in self._partners and all(
            self.mapping.get(theirs, ours) == ours and self._inverse.get(ours, theirs) == theirs
            for theirs, ours in zip(other.names, op.names, strict=True)
        )

    def _compare(self, where: str, op: Op, other: Op, gap: Difference) -> None:
        """Keep the divergence, if this is the first."""
        if self.divergence or gap.relative <= TOLERANCE:
            return
        notes, after = [gap.where] if gap.where else [], ""
        if where == "input" and op.upstream:
            after = self.ops[op.upstream.bit_length() - 1].names[0]
        elif op.kind == other.kind:
            options = {name: (op.options.get(name), other.options.get(name)) for name in op.options | other.options}
            notes += [
                f"{name} {ours}, the reference's {theirs}" for name, (ours, theirs) in options.items() if ours != theirs
            ]
        self.reach = op.index
        self.divergence = Divergence(where, op.kind, other.names[0], op.names[0], after, gap.absolute, "; ".join(notes))


def best_attempt(
    reference: Trace, model: Trace, inputs: Sequence[torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> Attempt:
    """The attempt whose first difference, if any, comes latest."""
    best, patience = None, PATIENCE
    choices: list[int] = []
    while patience:
        attempt = Attempt(reference, model, choices).finish(inputs, expected)
        patience -= 1
        if best is None or attempt.reach > best.reach:
            best, patience = attempt, PATIENCE
        # Change the last choice before the difference; those that are not settled come first.
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


def require_same_layers(reference: Trace, model: Trace) -> None:
    """Raise unless both run operations of the same signatures equally often.

    Raises:
        TransplantError: they do not; the message lists the operations without a counterpart.
    """
    theirs, ours = _surplus(reference, model), _surplus(model, reference)
    if theirs or ours:
        lines = [f"only in the reference, {len(theirs)}:", *first_of(theirs)]
        lines += [f"only in the model, {len(ours)}:", *first_of(ours)]
        raise TransplantError(
            "\n".join(["the two do not run the same operations on their weights.", *lines])
            + "\nCounterparts are of one kind, with the same shapes and tensors (a bias on both or neither), and"
            " run equally often. Give the model the reference's kernel size, groups and bias. The model is unchanged."
        )


def _surplus(trace: Trace, other: Trace) -> list[str]:
    """A line for each operation without a counterpart; of equal ones, those where the two sequences differ."""
    found, wanted = [trace.signature(op) for op in trace.ops], [other.signature(op) for op in other.ops]
    surplus, lines = Counter(found) - Counter(wanted), []
    for tag, first, last, *_ in difflib.SequenceMatcher(None, found, wanted, False).get_opcodes():
        for op in trace.ops[first:last] if tag != "equal" else ():
            if surplus[trace.signature(op)] > 0:
                surplus[trace.signature(op)] -= 1
                times = max(trace.uses[name] for name in op.names)
                lines.append(f"  {label(op)}{f', used {times} times' if times > 1 else ''}")
    return lines


def with_companions(
    mapping: Mapping[str, str], reference: Mapping[str, torch.Tensor], model: Mapping[str, torch.Tensor]
) -> dict[str, str]:
    """``mapping``, and tensors that no operation uses but whose module is mapped, such as batch norm's counter."""
    owners = {theirs.rpartition(".")[0]: ours.rpartition(".")[0] for theirs, ours in mapping.items()}
    result = dict(mapping)
    for name, tensor in reference.items():
        owner, _, own = name.rpartition(".")
        other = ".".join(filter(None, (owners.get(owner), own)))
        free = owner in owners and name not in mapping and other in model and other not in result.values()
        if free and model[other].shape == tensor.shape:
            result[name] = other
    return result


def output_pairs(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Outputs of both by their keys, or else by their order; none if number or shapes differ."""
    if len(ours) != len(theirs):
        return []
    if ours.keys() != theirs.keys():
        theirs = dict(zip(ours, theirs.values(), strict=True))
    pairs = [(ours[key], theirs[key]) for key in ours]
    return pairs if all(a.shape == b.shape for a, b in pairs) else []


def difference(
    ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], kind: str = "", other: str = ""
) -> Difference:
    """The largest between inputs or outputs of operations of these kinds; if the shapes differ, ``where`` has them."""
    a, b = [_laid_out(kind, tensor) for tensor in ours], [_laid_out(other, tensor) for tensor in theirs]
    if [tensor.shape for tensor in a] == [tensor.shape for tensor in b]:
        worst = largest_difference({str(i): pair for i, pair in enumerate(zip(a, b, strict=True))})
        return Difference(worst.absolute, worst.relative)
    return Difference(math.inf, math.inf, f"shape {shapes_of(ours)}, the reference's {shapes_of(theirs)}")


def _laid_out(kind: str, tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` without dimensions of size 1; those of products as ``(N, C, positions)``."""
    if kind in PRODUCTS and tensor.dim() > 2:
        tensor = (tensor.movedim(-1, 1) if kind == "linear" else tensor).flatten(2)
    return tensor.squeeze()
