"""Running a part, and comparing what came out."""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from torch import nn

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]


def step(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """One forward and backward pass in training mode, behind a layer that learns too; gives the output, detached."""
    module.train()
    module.zero_grad(set_to_none=True)
    out = module(images.clone().requires_grad_() * 1)  # which an activation may overwrite
    if out.requires_grad:
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out.device)
        (out * weights.to(out.dtype)).sum().backward()
    return out.detach()


def descend(module: nn.Module, rate: float) -> None:
    """Move every parameter against its gradient, by no more than ``rate``."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.sub_(rate * parameter.grad / parameter.grad.norm().clamp(min=1))


def evaluated(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The output in eval mode, without gradients."""
    module.eval()
    with torch.no_grad():
        return module(images.clone())


def close(first: torch.Tensor, second: torch.Tensor, tolerance: float) -> bool:
    """Whether two outputs have one shape, are finite, and differ by no more than ``tolerance`` of the largest value."""
    if first.shape != second.shape or not (first.isfinite().all() and second.isfinite().all()):
        return False
    return difference(first, second) <= tolerance * max(float(second.abs().max()), 1e-3)


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest absolute difference; infinite where the shapes differ."""
    return float((first.double() - second.double()).abs().max()) if first.shape == second.shape else float("inf")


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the state dict."""
    return copy.deepcopy({key: value.detach() for key, value in module.state_dict().items()})


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> list[str]:
    """Names whose tensors are not equal."""
    return [key for key in before if key not in after or not torch.equal(before[key], after[key])]


class seeded:
    """Within, all random number generators stand where ``seed`` puts them; afterwards, as before."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> seeded:
        self._torch = torch.random.fork_rng(devices=[])
        self._torch.__enter__()
        torch.default_generator.manual_seed(self._seed)
        self._before = _others()
        random.seed(self._seed)
        if numpy is not None:
            numpy.random.seed(self._seed)
        self._start = _others()
        return self

    def changed(self) -> list[str]:
        """The generators, beside torch's, that something has been drawn from."""
        return [name for name, state in _others().items() if not _same(state, self._start[name])]

    def __exit__(self, *error: Any) -> None:
        self._torch.__exit__(*error)
        random.setstate(self._before["Python's random"])
        if numpy is not None:
            numpy.random.set_state(self._before["numpy.random"])


def _same(first: Any, second: Any) -> bool:
    """Whether two states of a generator are equal; numpy's are tuples with an array in them."""
    return all(
        a.tobytes() == b.tobytes() if hasattr(a, "tobytes") else a == b for a, b in zip(first, second, strict=True)
    )


def _others() -> dict[str, Any]:
    """The states of the generators that are not torch's."""
    return {"Python's random": random.getstate()} | ({"numpy.random": numpy.random.get_state()} if numpy else {})
