"""Running a layer a second time for the backward pass, without counting its batch twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn


def contexts(
    layer: nn.Module,
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """What the first run of a checkpointed layer is in, and what the second one."""
    return contextlib.nullcontext(), _statistics_kept(layer)


@contextlib.contextmanager
def _statistics_kept(layer: nn.Module) -> Iterator[None]:
    """Norms that track statistics normalise as before and save what they saved before, but take no step."""
    tracking: list[Any] = [m for m in layer.modules() if getattr(m, "track_running_stats", False)]
    before = [(m, m.momentum, m.num_batches_tracked.clone()) for m in tracking]
    for module in tracking:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum, batches in before:
            module.momentum = momentum
            module.num_batches_tracked.copy_(batches)
