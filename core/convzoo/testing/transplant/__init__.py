"""Copying weights between two implementations with different names, to prove a block equal to the code of its paper.

Operations are matched, not modules: ``trace`` records every operation that uses state, ``align`` finds which of the
model's correspond to which of the reference's, and ``report`` says what was found.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from convzoo.testing.numerics import jitter
from convzoo.testing.transplant.align import (
    best_attempt,
    difference,
    output_pairs,
    require_same_layers,
    with_companions,
)
from convzoo.testing.transplant.report import Divergence as Divergence
from convzoo.testing.transplant.report import Transplant as Transplant
from convzoo.testing.transplant.report import TransplantError as TransplantError
from convzoo.testing.transplant.report import shapes_of
from convzoo.testing.transplant.trace import Record, Trace, fill, named_state


def transplant(
    reference: nn.Module, model: nn.Module, example_input: torch.Tensor | tuple[torch.Tensor, ...]
) -> Transplant:
    """Copy the weights of ``reference`` to ``model``, matching layers by what they compute, and compare the outputs.

    Copies of both are compared: in eval mode, in float64 on the CPU, and with the reference's norms and whatever else
    starts as a constant jittered, since fresh scales of 0 and statistics of 0 and 1 hide wrong copies. Afterwards
    ``model`` gets the reference's own weights in place; nothing else of it changes, and nothing of ``reference``.
    Memory is needed for the inputs and outputs of all the reference's layers, so take small images.

    Args:
        reference: the original; it may return a tensor, or tuples, lists and dicts of them.
        model: what must equal it.
        example_input: what both are called with, such as ``(N, C, H, W)``.

    Returns:
        Which tensor went where, how much the outputs differ, and the first place where the two do. That they differ is
        not an error.

    Raises:
        TransplantError: layers or outputs differ in number, kind, shape or sharing; ``model`` is unchanged then.
    """
    inputs = (example_input,) if isinstance(example_input, torch.Tensor) else tuple(example_input)
    inputs = tuple(t.detach().to("cpu", torch.float64 if t.is_floating_point() else t.dtype) for t in inputs)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        theirs, ours = Record(_copy(reference, "the reference")), Trace(_copy(model, "the model"))
        jitter(theirs.model)
        expected = theirs.run(inputs)
        ours.run(inputs)
        require_same_layers(theirs, ours)
        best = best_attempt(theirs, ours, inputs, expected)
        mapping = with_companions(best.mapping, theirs.state, ours.state)
        # Run once more, with every tensor filled from the start.
        fill(ours.state, theirs.state, mapping)
        pairs = output_pairs(Trace(ours.model).run(inputs), expected)
    if not pairs:
        before = f" Before them, {best.divergence}." if best.divergence else ""
        raise TransplantError(
            f"the outputs cannot be compared: the reference gives {shapes_of(expected.values())}, the model"
            f" {shapes_of(best.outputs.values())}.{before} Let both return the same tensors. The model is unchanged."
        )
    differences = [difference([mine], [other]) for mine, other in pairs]
    fill(named_state(model), named_state(reference), mapping)
    return Transplant(
        mapping=mapping,
        largest_difference=max(d.absolute for d in differences),
        largest_relative=max(d.relative for d in differences),
        output_shapes=tuple(tuple(other.shape) for _, other in pairs),
        divergence=best.divergence,
        by_order=tuple(best.by_order),
        unused_reference=tuple(name for name in theirs.state if name not in mapping),
        unused_model=tuple(name for name in ours.state if name not in mapping.values()),
    )


def _copy(model: nn.Module, who: str) -> nn.Module:
    """A copy in eval mode, in float64 on the CPU.

    Raises:
        TransplantError: a tensor is on the meta device.
    """
    if empty := [name for name, tensor in named_state(model).items() if tensor.is_meta]:
        raise TransplantError(f"{who} has no values, being on the meta device ({empty[0]}): build it on another")
    return copy.deepcopy(model).to("cpu", torch.float64).eval()
