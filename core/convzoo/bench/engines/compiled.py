"""``torch.compile`` with its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convzoo.bench.engines.eager import Eager
from convzoo.bench.settings import Settings
from convzoo.exporting.base import has_compiler

if TYPE_CHECKING:
    from torch import nn


class Compiled(Eager):
    """Compiles on the first call."""

    name = "compile"

    def refusal(self, settings: Settings) -> str:
        if not settings.on_cuda and not has_compiler():
            return "torch.compile needs a C++ compiler, and there is none here"
        return super().refusal(settings)

    def optimized(self, model: nn.Module) -> Any:
        import torch

        return torch.compile(model)
