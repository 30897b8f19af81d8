"""Running networks without a trace: random numbers, modes of torch, and what modules keep in their attributes."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Gradients and device inside do not depend on those outside; random numbers outside are as they were."""
    numbers, numpy = random.getstate(), _numpy()
    others = numpy.get_state() if numpy else None
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),  # gradients are on then too
        torch.device("cpu"),
    ):
        try:
            seeded()
            yield
        finally:
            random.setstate(numbers)
            if numpy:
                numpy.set_state(others)


@contextlib.contextmanager
def as_before(model: nn.Module) -> Iterator[None]:
    """Attributes of all modules, and what is in their lists and dicts, are afterwards as they were.

    A weight that is computed once and kept would otherwise not follow the weights that it comes from.
    """
    saved = [
        (
            vars(module),
            dict(vars(module)),
            {k: v.copy() for k, v in vars(module).items() if isinstance(v, (dict, list))},
        )
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield
    finally:
        for own, attributes, contents in saved:
            own.clear()
            own.update(attributes)
            for name, content in contents.items():
                attributes[name].clear()
                (attributes[name].update if isinstance(content, dict) else attributes[name].extend)(content)


def _numpy() -> Any:
    """numpy's random numbers, if it is there."""
    numpy = sys.modules.get("numpy")
    return numpy.random if numpy else None


def seeded() -> tuple[object, ...]:
    """Start all random numbers anew; their state then."""
    torch.default_generator.manual_seed(0)
    random.seed(0)
    if numpy := _numpy():
        numpy.seed(0)
    return random_state()


def random_state() -> tuple[object, ...]:
    numpy = _numpy()
    others = [part.tolist() if hasattr(part, "tolist") else part for part in numpy.get_state()] if numpy else []
    return torch.default_generator.get_state().tolist(), random.getstate(), others
