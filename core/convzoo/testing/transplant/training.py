"""Comparing one step in training mode: outputs, gradients, and the state that it leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import nn

from convzoo.testing.numerics import Difference, largest_difference
from convzoo.testing.transplant.comparing import difference, output_pairs, require_outputs
from convzoo.testing.transplant.copies import Copy, Example, named_state
from convzoo.testing.transplant.given import Given, adapted
from convzoo.testing.transplant.matter import random_sum, seen
from convzoo.testing.transplant.report import TrainingStep, TransplantError

SMALL = 1e-4
"""The share of the largest gradient by which smaller ones are measured: that of a bias before a norm is rounding."""
INPUT = "input "
"""How the tensors of the example are called among the leaves, before their number."""

Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]


class Step:
    """One step of a network in training mode.

    Args:
        network: its state afterwards is that after the step.
        example: what it is called with.

    Attributes:
        outputs: what it gives.
        leaves: its parameters by name, and the example's tensors by number.
        draws: whether it draws random numbers.
        gradients: by the names of the leaves, once :meth:`differentiate` was called.

    Raises:
        TransplantError: the network raises an error.
    """

    def __init__(self, network: Copy, example: Example) -> None:
        network.model.train()
        network.draws = False
        self.network = network
        self.leaves: dict[str, torch.Tensor] = {
            name: tensor.requires_grad_(True)
            for name, tensor in network.state.items()
            if isinstance(tensor, nn.Parameter) and (tensor.is_floating_point() or tensor.is_complex())
        }
        self.outputs = network.run(example.map(self._input))
        self.draws = network.draws
        self.gradients: dict[str, torch.Tensor] = {}

    def differentiate(self, outputs: Sequence[torch.Tensor], references: Sequence[torch.Tensor]) -> None:
        """Find the gradients of a random sum of the outputs, each divided by the size of its reference."""
        total = random_sum(outputs, references)
        if total.requires_grad:
            try:
                total.backward()
            except RuntimeError as error:
                raise TransplantError(
                    f"{self.network.who} has no gradients in training mode: {error}. Both networks are unchanged."
                ) from error
        self.gradients = {
            name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in self.leaves.items()
        }

    def seen(self, kernels: Collection[str], tolerance: float) -> set[str]:
        """The parameters that matter here, by their gradients."""
        return {
            name
            for name, gradient in self.gradients.items()
            if seen(self.leaves[name].detach(), gradient, name in kernels, tolerance).all()
        }

    def _input(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the example, which the network may write into."""
        if tensor.is_floating_point() or tensor.is_complex():
            tensor = tensor.clone().requires_grad_(True)
            self.leaves[f"{INPUT}{sum(name.startswith(INPUT) for name in self.leaves)}"] = tensor
        return tensor.clone()


def compare_steps(theirs: Step, ours: Step, given: Given) -> TrainingStep:
    """Compare one step of both networks, whose weights are the same.

    Raises:
        TransplantError: outputs differ in number or shape, or the adapter cannot be differentiated.
    """
    require_outputs(ours.outputs, theirs.outputs, " That is in training mode.")
    pairs = output_pairs(ours.outputs, theirs.outputs)
    for step, which in ((ours, 0), (theirs, 1)):
        step.differentiate([pair[which] for pair in pairs], [other.detach() for _, other in pairs])
    own, other = named_state(ours.network.model), named_state(theirs.network.model)
    with torch.no_grad():
        copies = {name: tensor.clone() for name, tensor in other.items()}
        made = adapted(given.adapt, copies, theirs.network, ours.network)
    state = {name: (own[name], other[source]) for source, name in given.pairs.items()}
    gradients = _gradients(theirs, ours, given)
    largest = max((float(gradient.abs().max()) for _, gradient in gradients.values()), default=0.0)
    return TrainingStep(
        outputs=_worst({f"output {i}": pair for i, pair in enumerate(pairs)}),
        gradients=largest_difference(gradients, SMALL * largest),
        statistics=_worst(state | {name: (own[name], tensor) for name, tensor in made.items()}),
        draws=theirs.draws or ours.draws,
    )


def _worst(pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> Difference:
    """The largest relative difference, with the name that has it."""
    found = [
        dataclasses.replace(difference([ours.detach()], [theirs.detach()]), where=name)
        for name, (ours, theirs) in pairs.items()
    ]
    return max(found, key=lambda each: (each.relative, each.absolute), default=Difference(0.0, 0.0))


def _gradients(theirs: Step, ours: Step, given: Given) -> Pairs:
    """By the reference's names, the gradient that follows from the model's, and the reference's own.

    Where the model's tensors are made of one of the reference, their gradients give its own by the chain rule. One that
    is a parameter in only one of the two has no gradient in the other.
    """
    state = theirs.network.state
    leaves = {name: tensor.detach().clone().requires_grad_(name in theirs.leaves) for name, tensor in state.items()}
    copies = {name: leaf.clone() for name, leaf in leaves.items()}
    made = {other: leaves[name].reshape(ours.network.state[other].shape) for name, other in given.pairs.items()}
    made |= adapted(given.adapt, copies, theirs.network, ours.network)
    come_from = {**given.adapted, **{other: (name,) for name, other in given.pairs.items()}}
    sources = {other: [name for name in names if name in theirs.leaves] for other, names in come_from.items()}
    trained = [other for other in made if other in ours.gradients]
    for other in trained:
        if sources[other] and not made[other].requires_grad:
            raise TransplantError(
                f"the gradient of {other} cannot be compared, since none passes through adapt: write it with torch's"
                " functions, without detach, data, numpy or no_grad"
            )
    pairs = {name: (ours.gradients[name], theirs.gradients[name]) for name in theirs.leaves if name.startswith(INPUT)}
    for other in trained:
        if not sources[other] and other not in given.model.ignored:
            pairs[other] = ours.gradients[other], torch.zeros_like(ours.gradients[other])
    through = [other for other in trained if made[other].requires_grad]
    used = {name for names in sources.values() for name in names}
    compared = [name for name in state if name in used - given.reference.ignored]
    follow: Sequence[torch.Tensor] = [torch.zeros_like(leaves[name]) for name in compared]
    if compared and through:
        follow = torch.autograd.grad(
            [made[other] for other in through],
            [leaves[name] for name in compared],
            [ours.gradients[other].to(made[other].dtype) for other in through],
            allow_unused=True,
            materialize_grads=True,
        )
    return pairs | {name: (g, theirs.gradients[name]) for name, g in zip(compared, follow, strict=True)}
