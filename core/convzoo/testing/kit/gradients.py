"""Checks of what comes back through a part: gradients that are those of what it computes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from convzoo.testing.kit.case import Case
from convzoo.testing.kit.cases import all_cases, some_cases
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, promise

STEP = 1e-6
"""Of finite differences in float64, relative to the size of what is moved."""
COARSE = 1e-3
"""The same, where the part computes in a shorter type in between, whose rounding would hide the small step."""
DRAWS = 16
"""Over how many seeds a random gradient is averaged."""
DIRECTIONS = 4
"""In which it is."""


@promise(*MODULES)
def differentiates_what_it_computes(probe: Probe) -> None:
    """Its gradients, of its input and of its weights, are those that finite differences show.

    In training mode a random part may have other gradients, but not on average.
    """
    both = some_cases(probe)
    for case in all_cases(probe):
        for training in (False, True) if case in both else (False,):
            # A kink, or a choice that flips, lies between two steps by chance, and not for both seeds.
            if (wrong := _wrong(case, training, 0)) and _wrong(case, training, 1):
                raise CheckFailed(
                    f"with {case.name}, in {'training' if training else 'eval'} mode, {wrong}",
                    means="the layers before it, or its own weights, are trained towards something else than the loss",
                    mend="take away detach(), .data, no_grad() and numpy from between input and output, at every"
                    " stride; of an autograd function of your own, correct backward",
                )


def _wrong(case: Case, training: bool, seed: int) -> str:
    """What the gradient is wrong of, and by how much; or nothing."""
    images = case.images(batch=3, size=(4, 3), seed=seed + 1).double()
    function = _Function(case.make(seed=seed).double().train(training), images, seed)
    groups: dict[str, list[torch.Tensor]] = {"its input": [function.images], "its weights": function.parameters}
    step, tolerance = (STEP, 1e-4) if function.is_double() else (COARSE, 3e-2)
    for what, tensors in groups.items():
        found, expected, scale = function.slopes(tensors, step) if tensors else (0.0, 0.0, 0.0)
        if abs(found - expected) <= tolerance * max(abs(expected), scale):
            continue
        if training and function.is_random() and _right_on_average(case, what == "its input", images, step):
            continue
        if what == "its weights":
            what = next((f"the weight {name}" for name in function.differing(step, tolerance)), what)
        return (
            f"the gradient of {what} says that the output grows by {found:.4g} in some direction; it grows by"
            f" {expected:.4g}"
        )
    return ""


def _right_on_average(case: Case, of_input: bool, images: torch.Tensor, step: float) -> bool:
    """Whether, over many draws, the errors of the slopes in several directions are about 0, as far as they scatter.

    Without activations, which would bend what is averaged.
    """
    plain = {"act": lambda **_: nn.Identity()} if case.probe.part.declares("act") else {}
    function = _Function(case.make(offers=plain).double().train(), images, 0)
    tensors: list[torch.Tensor] = [function.images] if of_input else function.parameters
    total = 0.0
    for _ in range(DIRECTIONS):
        directions = [function.direction(tensor) for tensor in tensors]
        errors = []
        for seed in range(DRAWS):
            function.seed = seed
            found, expected, _ = function.slopes(tensors, step, directions)
            errors.append(found - expected)
        mean, deviation = statistics.mean(errors), statistics.stdev(errors)
        total += mean**2 * DRAWS / max(deviation**2, 1e-300)
    # A sum of about squared normal numbers: as many as directions on average, and hardly ever five times as many.
    return total < 5 * DIRECTIONS


class _Function:
    """A weighted sum of a part's output, as a function of its input and weights; each call begins in one state."""

    def __init__(self, module: nn.Module, images: torch.Tensor, seed: int) -> None:
        self.module = module
        self.images = images.detach().clone().requires_grad_()
        self.parameters: list[torch.Tensor] = [
            p for p in module.parameters() if p.requires_grad and p.is_floating_point()
        ]
        self.seed = seed
        self._buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
        self._generator = torch.Generator().manual_seed(seed)
        self._weights: torch.Tensor | None = None

    def __call__(self) -> torch.Tensor:
        with torch.no_grad():
            for buffer, start in self._buffers:
                buffer.copy_(start)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            out = self.module(self.images * 1)  # which an activation may overwrite
        if self._weights is None:
            self._weights = torch.randn(out.shape, generator=self._generator, dtype=out.dtype)
        return (out * self._weights).sum()

    def is_double(self) -> bool:
        """Whether no operation on the way computes in a shorter type."""
        with torch.no_grad(), _Types() as types:
            self()
        return not types.short

    def is_random(self) -> bool:
        """Whether another seed gives another value."""
        with torch.no_grad():
            first, self.seed = self(), self.seed + 1
            second, self.seed = self(), self.seed - 1
        return not torch.equal(first, second)

    def slopes(
        self, tensors: list[torch.Tensor], step: float, directions: list[torch.Tensor] | None = None
    ) -> tuple[float, float, float]:
        """In one direction: the slope by the gradient, the one by finite differences, and how large each can be."""
        out = self()
        gradients: list[torch.Tensor | None] = [None] * len(tensors)
        if out.requires_grad:
            gradients = list(torch.autograd.grad(out, tensors, allow_unused=True))
        directions = directions or [self.direction(tensor) for tensor in tensors]
        found, scale = 0.0, 0.0
        for gradient, direction in zip(gradients, directions, strict=True):
            if gradient is not None:
                found += float((gradient * direction).sum())
                scale += float((gradient * direction).square().sum())
        with torch.no_grad():
            values = []
            for sign in (1, -2):
                for tensor, direction in zip(tensors, directions, strict=True):
                    tensor.add_(direction, alpha=sign * step)
                values.append(float(self()))
            for tensor, direction in zip(tensors, directions, strict=True):
                tensor.add_(direction, alpha=step)
        # Rounding of the sum hides slopes that are far smaller than its value.
        return found, (values[0] - values[1]) / (2 * step), max(math.sqrt(scale), 1e-5 * abs(values[0]))

    def differing(self, step: float, tolerance: float) -> Iterator[str]:
        """Names of the weights whose gradients are wrong."""
        for name, parameter in self.module.named_parameters():
            found, expected, scale = self.slopes([parameter], step)
            if abs(found - expected) > tolerance * max(abs(expected), scale):
                yield name

    def direction(self, tensor: torch.Tensor) -> torch.Tensor:
        """A random one, of the tensor's size."""
        size = tensor.detach().square().mean().sqrt() + 1e-3
        return torch.randn(tensor.shape, generator=self._generator, dtype=tensor.dtype) * size


class _Types(TorchDispatchMode):
    """Sees whether an operation gives numbers of a type that is shorter than float64."""

    def __init__(self) -> None:
        super().__init__()
        self.short = False

    def __torch_dispatch__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.dtype != torch.float64:
                self.short = True
        return out
