"""What a transplant reports: the result with all that speaks against equality, and how shapes are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from convzoo.errors import ConvzooError, first_of
from convzoo.testing.numerics import Difference


class TransplantError(ConvzooError, RuntimeError):
    """Two networks that cannot be compared, or an argument that does not fit them; both are as they were."""


@dataclass(frozen=True)
class Divergence:
    """The first place where two networks compute different values; all operations before it agree.

    Args:
        where: ``"input"`` or ``"output"`` of the operation.
        op: its kind, such as ``"conv2d"``; empty for the network as a whole.
        reference, model: a tensor that it uses, by its name in either network.
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


@dataclass(frozen=True)
class TrainingStep:
    """How two networks differ in one step in training mode.

    Args:
        outputs: the largest difference of the outputs.
        gradients: of the gradients of a random sum of the outputs, by the example and by every parameter that was
            carried over. One that is smaller than 1e-4 of the largest is measured by that.
        statistics: of the carried state after the step, such as the running statistics of norms.
        draws: whether either draws random numbers in training mode.
    """

    outputs: Difference
    gradients: Difference
    statistics: Difference
    draws: bool


@dataclass(frozen=True, repr=False)
class Transplant:
    """The result of :func:`transplant`.

    ``equal`` is True only if the outputs agree up to the tolerance, nothing differs on the way, neither network is
    random, every tensor of both was carried over and seen to matter, and training mode agrees too where it was asked
    for. The model then holds the reference's weights. Otherwise it is unchanged, and ``str`` gives all the reasons.

    Args:
        mapping: from the reference's names to the model's; a tensor with several names goes by the first.
        adapted: for each tensor of the model that ``adapt`` gave, the reference's that it was computed from.
        tolerance: the relative difference up to which two values in float64 count as equal.
        largest_difference: of the outputs, absolute.
        largest_relative: of the outputs, each relative to the largest value of the reference's.
        output_shapes: of all outputs.
        divergence: the first place where the two differ, if they do.
        by_order: the model's tensors that were matched by shape and order only, since the inputs of their operations
            differ from the reference's.
        unused_reference, unused_model: state that was not carried over, since no operation uses it.
        idle_reference, idle_model: state that was carried over, but a change of it, or of a part of its convolution's
            window, changes no output. An error in it cannot be seen.
        random: which of the two give other outputs when they run again, or draw random numbers in eval mode.
        training: how the two differ in training mode, if that was asked for.

    What is idle and how the two train is found out only where they agree in eval mode.
    """

    mapping: Mapping[str, str]
    adapted: Mapping[str, tuple[str, ...]]
    tolerance: float
    largest_difference: float
    largest_relative: float
    output_shapes: tuple[tuple[int, ...], ...]
    divergence: Divergence | None
    by_order: tuple[str, ...]
    unused_reference: tuple[str, ...]
    unused_model: tuple[str, ...]
    idle_reference: tuple[str, ...]
    idle_model: tuple[str, ...]
    random: tuple[str, ...]
    training: TrainingStep | None

    @property
    def equal(self) -> bool:
        """Whether the two were seen to be equal, and so whether the model holds the reference's weights now."""
        return not self._reasons()

    def _reasons(self) -> list[str]:
        """All that speaks against equality."""
        reasons = []
        if not self.largest_relative <= self.tolerance:
            infinite = "" if math.isfinite(self.largest_difference) else ", or are not finite"
            reasons.append(f"the outputs differ by more than the tolerance, {self.tolerance:.3g} relative{infinite}")
        if not any(all(shape) for shape in self.output_shapes):
            reasons.append("the outputs have no elements to compare")
        if self.divergence:
            reasons.append(f"first difference: {self.divergence}")
        reasons += [
            f"{who} draws random numbers in eval mode, or gives others when it runs again" for who in self.random
        ]
        reasons += _listed("unused in the reference", self.unused_reference)
        reasons += _listed("unused in the model", self.unused_model)
        reasons += _listed("idle in the reference", self.idle_reference)
        reasons += _listed("idle in the model", self.idle_model)
        for what in ("outputs", "gradients", "statistics") if self.training else ():
            found: Difference = getattr(self.training, what)
            if not found.relative <= self.tolerance:
                size = f"{found.absolute:.3g} (relative {found.relative:.3g})"
                reasons.append(f"in training mode: {what} differ by {size}, most at {found.where}")
        return reasons

    def __str__(self) -> str:
        reasons, carried = self._reasons(), len(self.mapping) + len(self.adapted)
        lines = [
            ("not equal, and the model is unchanged; " if reasons else f"equal, and {carried} tensors copied; ")
            + f"outputs {', '.join(map(str, self.output_shapes))} differ by at most {self.largest_difference:.3g}"
            f" (relative {self.largest_relative:.3g})",
            *reasons,
            *_listed("matched by order only", self.by_order),
        ]
        if self.unused_reference or self.unused_model:
            lines.append(
                "unused: not carried over, since no operation uses it; give it in pairs, or its name to ignore"
            )
        if self.idle_reference or self.idle_model:
            lines.append(
                "idle: a change, of all or of some places of a convolution's window, shows in no output; take larger or"
                " more images, or give the name to ignore"
            )
        if self.training and self.training.draws and reasons:
            lines.append("random numbers are drawn in training mode: set the rates of dropout and drop path to 0")
        return "\n".join(lines)

    __repr__ = __str__  # so that a failed assertion shows why the two are not equal


def _listed(title: str, names: tuple[str, ...]) -> list[str]:
    return [f"{title}, {len(names)}: {', '.join(first_of(names))}"] if names else []


def shapes_of(tensors: Iterable[torch.Tensor]) -> str:
    """The shapes, comma-separated."""
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "no tensor"
