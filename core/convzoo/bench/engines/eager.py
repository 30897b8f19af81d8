"""torch as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convzoo.bench.engines.base import Call, Engine
from convzoo.bench.settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import nn


class Eager(Engine):
    """Calls the network."""

    name = "eager"

    def prepare(self, model: nn.Module, images: torch.Tensor, settings: Settings) -> Call:
        import torch

        network = self.optimized(model)

        def call() -> Any:
            with torch.no_grad():
                return network(images)

        return call
