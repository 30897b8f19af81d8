"""What a transplant reports: the result, the first divergence, and how operations and shapes are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from convzoo.errors import ConvzooError, first_of
from convzoo.testing.transplant.trace import Op


class TransplantError(ConvzooError, RuntimeError):
    """Two networks whose layers do not correspond."""


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


@dataclass(frozen=True, repr=False)
class Transplant:
    """The result of :func:`transplant`; ``str`` gives a summary of a few lines.

    Args:
        mapping: from the reference's names to the model's; a tensor with several names goes by the first.
        largest_difference: of the outputs, absolute.
        largest_relative: of the outputs, each relative to the largest value of the reference's.
        output_shapes: of all outputs.
        divergence: the first place where the two differ, if they do.
        by_order: the model's tensors that were matched by shape and order only, since the inputs of their operations
            differ from the reference's.
        unused_reference, unused_model: state that no operation uses; it was not copied.
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
        remarks = {
            "matched by order only": self.by_order,
            "unused in the reference": self.unused_reference,
            "unused in the model": self.unused_model,
        }
        lines += [f"{title}, {len(names)}: {', '.join(first_of(names))}" for title, names in remarks.items() if names]
        return "\n".join(lines)

    __repr__ = __str__  # so that a failed assertion shows where the two differ


def label(op: Op) -> str:
    """An operation by its number, kind and state, such as ``operation 4: conv2d of layer1.0, weight (4, 4, 3, 3)``."""
    owners = {name.rpartition(".")[0] for name in op.names}
    owner = owners.pop() if len(owners) == 1 else ""
    state = ", ".join(
        f"{name[len(owner) :].lstrip('.')} {shape}" for name, shape in zip(op.names, op.shapes, strict=True)
    )
    return f"operation {op.index + 1}: {op.kind}" + (f" of {owner}, {state}" if owner else f" with {state}")


def shapes_of(tensors: Iterable[torch.Tensor]) -> str:
    """The shapes, comma-separated."""
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "no tensor"
