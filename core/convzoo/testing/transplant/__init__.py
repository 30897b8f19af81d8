"""Copying weights between two implementations with different names, to prove a block equal to the code of its paper.

Operations are matched, not modules: ``trace`` records every operation that uses state, and ``align`` finds which of the
model's correspond to which of the reference's, apart from what is ``given``. ``matter`` finds weights that the example
does not examine, ``training`` compares a step, and ``report`` says what was found. All of it happens on ``copies``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from convzoo.testing.norms import Calibrating
from convzoo.testing.numerics import jitter
from convzoo.testing.transplant.align import Attempt, best_attempt, require_same_layers, with_companions
from convzoo.testing.transplant.comparing import difference, output_pairs, require_outputs
from convzoo.testing.transplant.copies import Copy, Example, full_state, install
from convzoo.testing.transplant.given import Adapter, Given, adapted, understood
from convzoo.testing.transplant.matter import idle_tensors, repeats
from convzoo.testing.transplant.quiet import undisturbed
from convzoo.testing.transplant.report import Divergence as Divergence
from convzoo.testing.transplant.report import TrainingStep as TrainingStep
from convzoo.testing.transplant.report import Transplant as Transplant
from convzoo.testing.transplant.report import TransplantError as TransplantError
from convzoo.testing.transplant.trace import Record, Trace
from convzoo.testing.transplant.training import Step, compare_steps


def transplant(
    reference: nn.Module,
    model: nn.Module,
    example_input: torch.Tensor | tuple[Any, ...],
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    pairs: Mapping[str, str] | None = None,
    adapt: Adapter | None = None,
    ignore: str | Iterable[str] = (),
    training: bool = False,
    tolerance: float = 1e-8,
) -> Transplant:
    """Copy the weights of ``reference`` to ``model``, matching layers by what they compute, if the two are equal.

    Copies of both are compared: in eval mode, in float64 on the CPU, and with the reference's norms and whatever else
    starts as a constant jittered, since fresh scales of 0 and statistics of 0 and 1 hide wrong copies. If the result
    is ``equal``, ``model`` gets the reference's own weights in place; otherwise, and after an error, it is as it was.
    Nothing else of it changes, and nothing of ``reference``. Memory is needed for the inputs and outputs of all the
    reference's layers, so take small images, but not so small that a layer's window meets only the padding around them.

    Random numbers start anew for each run of each copy. In training mode layers that draw them, such as dropout, agree
    only where both networks draw the same in the same order; set their rates to 0 otherwise.

    Args:
        reference: the original; it may return a tensor, or tuples, lists, dicts and dataclasses of them.
        model: what must equal it.
        example_input: what both are called with: a tensor such as ``(N, C, H, W)``, or a tuple of positional arguments,
            which may hold tensors in lists and dicts, and other values.
        example_kwargs: arguments by keyword.
        pairs: tensors that are known to correspond, from the reference's names to the model's, as in the result's
            ``mapping``. A ``*`` stands for the same in both names: ``{"fc.*": "head.*"}``.
        adapt: for tensors that the two keep in different forms, such as one projection for three: a function of the
            reference's tensors by name, which returns tensors of the model by name. It must be written with torch's
            functions, which show what it uses, and is called several times.
        ignore: names, of either, of tensors that need not be carried over nor matter, such as a table of indices that
            only one keeps; with ``*`` for anything.
        training: compare a step in training mode too, if the two agree in eval mode: the outputs, the gradients of all
            that was carried over and of the example, and the running statistics afterwards.
        tolerance: the relative difference up to which values in float64 count as equal: outputs, gradients, what is
            compared on the way, and outputs before and after a weight is changed.

    Returns:
        Whether the two are ``equal``, which tensor went where, how much the outputs differ, the first place where the
        two do, and which weights show in no output. That they differ is not an error.

    Raises:
        TransplantError: layers or outputs differ in number, kind, shape or sharing, either network cannot be run or
            copied, or an argument does not fit them; both networks are unchanged.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance < 1:
        raise TransplantError(f"tolerance is a relative difference between 0 and 1, got {tolerance!r}")
    if not isinstance(training, bool):
        raise TransplantError(f"training must be True or False, got {training!r}")
    with undisturbed():
        theirs, ours = Copy(reference, "the reference"), Copy(model, "the model")
        example = Example.of(example_input, {} if example_kwargs is None else example_kwargs)
        jitter(theirs.model)
        with torch.no_grad():
            theirs.run(example.map(torch.clone), Calibrating())
        given = understood(theirs, ours, pairs, adapt, ignore)
        result = _compare(theirs, ours, example, given, training, float(tolerance))
        if result.equal:
            source = full_state(reference)
            values = {other: source[name].detach() for name, other in result.mapping.items()}
            with torch.no_grad():
                copies = {name: source[name].clone() for name in theirs.state}
                values |= adapted(given.adapt, copies, theirs, ours)
            install(full_state(model), values)
    return result


def _compare(theirs: Copy, ours: Copy, example: Example, given: Given, training: bool, tolerance: float) -> Transplant:
    """Align the two copies, fill the model's, and compare them."""
    first, second = Record(theirs.state), Trace(ours.state)
    expected = first.run(theirs, example)
    second.run(ours, example)
    require_same_layers(first, second, given)
    best = best_attempt(
        lambda choices: Attempt(first, second, given, tolerance, choices).finish(ours, example, expected)
    )
    given = given.aligned(with_companions(best.mapping, theirs.state, ours.state, given))
    # Run once more, with every tensor filled from the start.
    last = Attempt(first, second, given, tolerance).finish(ours, example, expected)
    require_outputs(last.outputs, expected, f" Before them, {last.divergence}." if last.divergence else "")
    pairs = output_pairs(last.outputs, expected)
    differences = [difference([mine], [other]) for mine, other in pairs]
    sides = (theirs, first, given.reference, expected), (ours, second, given.model, last.outputs)
    random = tuple(copy.who for copy, _, _, outputs in sides if not repeats(copy, example, outputs, tolerance))
    idle: list[list[str]] = [[], []]
    step = None
    if not random and all(each.relative <= tolerance for each in differences):
        idle = [
            idle_tensors(copy, example, outputs, known.to_examine(copy.state), trace.kernels, tolerance)
            for copy, trace, known, outputs in sides
        ]
        if training:
            steps = Step(theirs, example), Step(ours, example)
            step = compare_steps(*steps, given)
            idle = [
                [name for name in names if name not in each.seen(trace.kernels, tolerance)]
                for names, each, trace in zip(idle, steps, (first, second), strict=True)
            ]
    return Transplant(
        mapping=given.pairs,
        adapted=given.adapted,
        tolerance=tolerance,
        largest_difference=max(each.absolute for each in differences),
        largest_relative=max(each.relative for each in differences),
        output_shapes=tuple(tuple(other.shape) for _, other in pairs),
        divergence=last.divergence,
        by_order=tuple(best.by_order),
        unused_reference=given.reference.left(theirs.state),
        unused_model=given.model.left(ours.state),
        idle_reference=tuple(idle[0]),
        idle_model=tuple(idle[1]),
        random=random,
        training=step,
    )
