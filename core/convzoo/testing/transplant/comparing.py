"""Comparing what two networks give: outputs, and what goes into and comes out of their operations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from convzoo.errors import listed
from convzoo.testing.numerics import Difference, largest_difference
from convzoo.testing.transplant.report import TransplantError, shapes_of
from convzoo.testing.transplant.trace import PRODUCTS


def output_pairs(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Outputs of both by their keys, or else by their order; none if number, shapes or kinds of numbers differ."""
    if len(ours) != len(theirs):
        return []
    if ours.keys() != theirs.keys():
        theirs = dict(zip(ours, theirs.values(), strict=True))
    pairs = [(ours[key], theirs[key]) for key in ours]
    return pairs if all(a.shape == b.shape and _kind(a) == _kind(b) for a, b in pairs) else []


def require_outputs(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], before: str = "") -> None:
    """Raise if the outputs have no pairs, or there are none.

    Raises:
        TransplantError: the message has their shapes, after what came before.
    """
    if not output_pairs(ours, theirs):
        raise TransplantError(
            f"the outputs cannot be compared: the reference gives {_described(theirs)}, the model {_described(ours)}."
            f"{before} Let both return the same tensors. The model is unchanged."
        )


def _described(outputs: Mapping[str, torch.Tensor]) -> str:
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in outputs.values()}
    return f"{shapes_of(outputs.values())}{f' of {listed(kinds)}' if kinds else ''}"


def _kind(tensor: torch.Tensor) -> tuple[bool, bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype == torch.bool


def difference(
    ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], kind: str = "", other: str = "", finite: bool = True
) -> Difference:
    """The largest between tensors, such as the inputs or outputs of operations of these kinds.

    Args:
        ours, theirs: the tensors; if the shapes differ, ``where`` of the result has them.
        kind, other: of the operations that they belong to.
        finite: whether a value that is not finite differs from itself.
    """
    a, b = [_laid_out(kind, tensor) for tensor in ours], [_laid_out(other, tensor) for tensor in theirs]
    if [tensor.shape for tensor in a] == [tensor.shape for tensor in b]:
        pairs = [*zip(a, b, strict=True)] if finite else [*map(_finite, a, b)]
        worst = largest_difference({str(i): pair for i, pair in enumerate(pairs)})
        return Difference(worst.absolute, worst.relative)
    return Difference(math.inf, math.inf, f"shape {shapes_of(ours)}, the reference's {shapes_of(theirs)}")


def _finite(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both with 0 where both are infinite with one sign, or no number."""
    infinite = ~ours.isfinite() & ((ours == theirs) | (ours.isnan() & theirs.isnan()))
    return (ours.masked_fill(infinite, 0), theirs.masked_fill(infinite, 0)) if infinite.any() else (ours, theirs)


def _laid_out(kind: str, tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` without dimensions of size 1; those of products as ``(N, C, positions)``."""
    if kind in PRODUCTS and tensor.dim() > 2:
        tensor = (tensor.movedim(-1, 1) if kind == "linear" else tensor).flatten(2)
    return tensor.squeeze()
