"""Finding tensors that an output does not depend on: an error in them could not be seen.

The gradient of a random sum of the outputs shows for all tensors at once which of them matter. Only what it does not
show is changed by itself, and the network run again: integers and masks, what acts through a step, and what is idle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import nn

from convzoo.testing.norms import Differentiable
from convzoo.testing.transplant.comparing import difference
from convzoo.testing.transplant.copies import Copy, Example
from convzoo.testing.transplant.report import TransplantError

Outputs = Mapping[str, torch.Tensor]


def idle_tensors(
    network: Copy,
    example: Example,
    outputs: Outputs,
    names: Collection[str],
    kernels: Collection[str],
    tolerance: float,
) -> list[str]:
    """Those of the tensors ``names`` that do not matter in eval mode.

    Args:
        network: its state is as it was afterwards.
        example: what it is called with.
        outputs: what it gives.
        names: of the tensors that are examined.
        kernels: names of tensors that are moved over the image; each position of their window must matter.
        tolerance: the least relative change that counts.
    """
    gradients = _gradients(network, example, outputs)
    found = []
    for name in names:
        tensor = network.state[name].detach()
        unseen = ~seen(tensor, gradients.get(name), name in kernels, tolerance)
        if unseen.any() and not any(
            _changes(network, example, outputs, tensor, other, tolerance) for other in _others(tensor, unseen)
        ):
            found.append(name)
    return found


def seen(tensor: torch.Tensor, gradient: torch.Tensor | None, kernel: bool, tolerance: float) -> torch.Tensor:
    """Whether a gradient of normalised outputs shows that a tensor matters; for a kernel, which of its positions do.

    What a change of the tensor's own size would do must stand out from rounding: that a bias before a norm
    cancels out, for instance, is seen only up to that.
    """
    if gradient is None:
        return torch.zeros((), dtype=torch.bool)
    effect = gradient.abs() * tensor.abs().max()
    return (effect.amax((0, 1)) if kernel else effect.max()) > tolerance  # not if it is NaN


def random_sum(outputs: Sequence[torch.Tensor], references: Sequence[torch.Tensor]) -> torch.Tensor:
    """A random sum of all outputs that can be differentiated, each divided by the largest value of its reference."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros((), dtype=torch.float64)
    for output, reference in zip(outputs, references, strict=True):
        weights = torch.randn(reference.shape, generator=generator, dtype=torch.float64)
        if output.requires_grad:
            real = torch.view_as_real(output).sum(-1) if output.is_complex() else output
            total = total + (real * weights).sum() / (float(reference.abs().max()) or 1.0)
    return total


def _gradients(network: Copy, example: Example, outputs: Outputs) -> dict[str, torch.Tensor]:
    """By each tensor; those are missing that cannot be had, or only together with others that cannot."""
    everything = {name: t for name, t in network.state.items() if t.is_floating_point() or t.is_complex()}
    parameters = {name: tensor for name, tensor in everything.items() if isinstance(tensor, nn.Parameter)}
    for leaves in (everything, parameters):
        try:
            for tensor in leaves.values():
                tensor.requires_grad_(True)
            with Differentiable():
                found = network.run(example.map(torch.clone))
            total = random_sum([*found.values()], [*outputs.values()])
            if total.requires_grad:
                gradients = torch.autograd.grad(total, [*leaves.values()], allow_unused=True)
                return {name: g for name, g in zip(leaves, gradients, strict=True) if g is not None}
        except (RuntimeError, ValueError):  # something in it has no derivative
            continue
        finally:
            for tensor in leaves.values():
                tensor.requires_grad_(False)
    return {}


def _others(tensor: torch.Tensor, unseen: torch.Tensor) -> Iterator[torch.Tensor]:
    """Values that a tensor may have as well: variances stay positive, and indices remain within the same range."""
    if tensor.dtype == torch.bool:
        yield ~tensor
    elif tensor.is_floating_point() or tensor.is_complex():
        sizes = tensor.abs()
        size = float(torch.where(sizes.isfinite(), sizes, 0).max()) or 1.0
        # A step may not notice the first change.
        yield from [torch.where(unseen, tensor + n * size * torch.rand_like(tensor), tensor) for n in (1, 100, 100)]
    else:
        yield tensor.flip([*range(tensor.dim())])  # indices stay within their range
        yield tensor + 1


def _changes(
    network: Copy, example: Example, outputs: Outputs, tensor: torch.Tensor, other: torch.Tensor, tolerance: float
) -> bool:
    """Whether another value of a tensor of the network changes an output, or leaves none."""
    if torch.equal(tensor, other):
        return False
    saved = tensor.clone()
    with torch.no_grad():
        try:
            tensor.copy_(other)
            return not same(network.run(example.map(torch.clone)), outputs, tolerance)
        except TransplantError:
            return True
        finally:
            tensor.copy_(saved)


def repeats(network: Copy, example: Example, outputs: Outputs, tolerance: float) -> bool:
    """Whether a network gives the same outputs when it runs again, and draws no random numbers."""
    with torch.no_grad():
        again = network.run(example.map(torch.clone))
    return same(again, outputs, tolerance) and not network.draws


def same(outputs: Outputs, others: Outputs, tolerance: float) -> bool:
    """Whether two runs of one network gave the same; here NaN is the same as NaN."""
    pairs = [*outputs.values()], [*others.values()]
    return difference(*pairs, finite=False).relative <= tolerance
