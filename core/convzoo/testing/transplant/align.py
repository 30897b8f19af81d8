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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from convzoo.errors import first_of, listed
from convzoo.testing.numerics import Difference
from convzoo.testing.transplant.comparing import difference, output_pairs
from convzoo.testing.transplant.copies import Copy, Example, fill
from convzoo.testing.transplant.given import Given, Known
from convzoo.testing.transplant.report import Divergence, TransplantError
from convzoo.testing.transplant.trace import Op, Trace, label

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
        given: what is known already.
        tolerance: the relative difference up to which two activations count as equal.
        choices: which candidate to take at the first ties; at all further ones it is the first.
    """

    def __init__(
        self, reference: Trace, model: Trace, given: Given, tolerance: float, choices: Sequence[int] = ()
    ) -> None:
        super().__init__(model.state)
        self.reference, self.uses, self.choices = reference, model.uses, choices
        self.tolerance = tolerance
        self.mapping = dict(given.pairs)  # from the reference's names to the model's
        self._inverse = {ours: theirs for theirs, ours in given.pairs.items()}
        self._theirs, self._ours = given.reference, given.model
        self.by_order: list[str] = []
        self.ties: list[_Tie] = []
        self.outputs: dict[str, torch.Tensor] = {}
        self.divergence: Divergence | None = None
        self.reach = math.inf  # the index of the first operation that differs
        self._partners: dict[int, Op] = {}  # by the index of the reference's operation, the model's
        self._latest: Op | None = None  # the reference's operation for the one that runs
        self._candidates: dict[object, list[Op]] = defaultdict(list)
        for op in reference.ops:
            if self._theirs.standing(op) != "apart":
                self._candidates[reference.signature(op)].append(op)
        # How many candidates are left for operations that may be left out.
        self._spare = Counter({signature: len(ops) for signature, ops in self._candidates.items()})
        self._spare.subtract(model.signature(op) for op in model.ops if self._ours.standing(op) == "open")
        given.fill(self.state, reference.state)

    def finish(self, network: Copy, example: Example, expected: Mapping[str, torch.Tensor]) -> Attempt:
        """Run the model, and compare its outputs with the ``expected`` ones of the reference."""
        self.outputs = self.run(network, example)
        end = Op(len(self.ops), "", ("",), ((),), {}, 0)
        for ours, theirs in output_pairs(self.outputs, expected):
            self._compare("output", end, end, difference([ours], [theirs]))
        return self

    def before(self, op: Op, tensors: list[torch.Tensor]) -> None:
        """Choose the operation's counterpart and fill the state that is used for the first time."""
        self._latest = None
        standing, signature = self._ours.standing(op), self.signature(op)
        pool = [other for other in self._candidates[signature] if self._free(op, other)]
        if standing == "apart" or (standing != "open" and not pool):
            return
        if not pool:
            raise TransplantError(
                f"the model shares its tensors otherwise than the reference: nothing of it is left for {label(op)}."
                " Let the same layers share weights in both. The model is unchanged."
            )
        gaps = {other.index: difference(tensors, other.inputs, op.kind, other.kind, finite=False) for other in pool}
        same = [other for other in pool if gaps[other.index].relative <= self.tolerance]
        if standing == "optional":
            if not same or self._spare[signature] < 1:
                return
            self._spare[signature] -= 1
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
        done = self._theirs.adapted | self.mapping.keys()
        fresh = {theirs: ours for theirs, ours in pairs if theirs not in done}
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
        if other := self._latest:
            self._compare("output", op, other, difference(tensors, other.outputs, op.kind, other.kind, finite=False))

    def _free(self, op: Op, other: Op) -> bool:
        """Whether ``other`` has no partner yet, and no tensor of either corresponds to one outside of the two."""
        return other.index not in self._partners and all(
            self.mapping.get(theirs, ours) == ours
            and self._inverse.get(ours, theirs) == theirs
            and (theirs in self._theirs.adapted) == (ours in self._ours.adapted)
            for theirs, ours in zip(other.names, op.names, strict=True)
        )

    def _compare(self, where: str, op: Op, other: Op, gap: Difference) -> None:
        """Keep the divergence, if this is the first."""
        if self.divergence or gap.relative <= self.tolerance:
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


def best_attempt(start: Callable[[Sequence[int]], Attempt]) -> Attempt:
    """The attempt whose first difference, if any, comes latest; ``start`` makes one with choices at its ties."""
    best, patience = None, PATIENCE
    choices: list[int] = []
    while patience:
        attempt = start(choices)
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


def require_same_layers(reference: Trace, model: Trace, given: Given) -> None:
    """Raise unless both run operations of the same signatures equally often, those that are settled aside.

    Raises:
        TransplantError: they do not; the message lists the operations without a counterpart.
    """
    theirs = _surplus(reference, given.reference, model, given.model)
    ours = _surplus(model, given.model, reference, given.reference)
    if theirs or ours:
        constant = [name for name, sources in given.adapted.items() if not sources]
        hidden = f" Of what adapt gives, {listed(constant)} was not seen to come from the reference's tensors: write it"
        hidden = f"{hidden} with torch's functions, not with numpy's." if constant else ""
        lines = [f"only in the reference, {len(theirs)}:", *first_of(theirs)]
        lines += [f"only in the model, {len(ours)}:", *first_of(ours)]
        raise TransplantError(
            "\n".join(["the two do not run the same operations on their weights.", *lines])
            + "\nCounterparts are of one kind, with the same shapes and tensors (a bias on both or neither), and"
            " run equally often. Give the model the reference's kernel size, groups and bias; or, if the two keep"
            " weights in different forms, name all tensors of these operations in pairs or let adapt give them."
            f"{hidden} The model is unchanged."
        )


def _surplus(trace: Trace, known: Known, other: Trace, others: Known) -> list[str]:
    """A line for each open operation without a counterpart; of equal ones, those where the two sequences differ."""
    ops = [op for op in trace.ops if known.standing(op) == "open"]
    wanted = [other.signature(op) for op in other.ops if others.standing(op) in ("open", "optional")]
    found = [trace.signature(op) for op in ops]
    surplus, lines = Counter(found) - Counter(wanted), []
    for tag, first, last, *_ in difflib.SequenceMatcher(None, found, wanted, False).get_opcodes():
        for op in ops[first:last] if tag != "equal" else ():
            if surplus[trace.signature(op)] > 0:
                surplus[trace.signature(op)] -= 1
                times = max(trace.uses[name] for name in op.names)
                lines.append(f"  {label(op)}{f', used {times} times' if times > 1 else ''}")
    return lines


def with_companions(
    mapping: Mapping[str, str],
    reference: Mapping[str, torch.Tensor],
    model: Mapping[str, torch.Tensor],
    given: Given,
) -> dict[str, str]:
    """``mapping``, and tensors that no operation uses but whose module is mapped, such as batch norm's counter."""
    owners = {theirs.rpartition(".")[0]: ours.rpartition(".")[0] for theirs, ours in mapping.items()}
    result, theirs, ours = dict(mapping), given.reference.adapted, given.model.adapted
    for name, tensor in reference.items():
        owner, _, own = name.rpartition(".")
        other = ".".join(filter(None, (owners.get(owner), own)))
        free = name not in mapping and name not in theirs and other not in ours and other not in result.values()
        if free and owner in owners and other in model and model[other].shape == tensor.shape:
            result[name] = other
    return result
