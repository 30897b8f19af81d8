"""What an engine is. This module imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convzoo.bench.settings import Settings
from convzoo.exporting.base import absent

if TYPE_CHECKING:
    import torch
    from torch import nn

Call = Callable[[], Any]
"""One batch: what it gives is a tensor, or an array of numpy's."""


class Engine:
    """Runs a network on a batch.

    Attributes:
        name: what it is asked for by.
        packages: modules that it needs beside torch.
        extra: of convzoo, which installs them.
        trains: whether it takes training steps.
        remark: what is to be said of every row that it gives, if anything.
    """

    name = ""
    packages: tuple[str, ...] = ()
    extra = ""
    trains = True
    remark = ""

    def missing(self) -> list[str]:
        """Its packages that are not installed."""
        return absent(self.packages)

    def refusal(self, settings: Settings) -> str:
        """Why it cannot run under these settings, or the empty string."""
        if settings.mode == "train" and not self.trains:
            return f"{self.name} runs inference, not training steps"
        return ""

    def prepare(self, model: nn.Module, images: torch.Tensor, settings: Settings) -> Call:
        """A call that runs ``model`` once on ``images``, which both are in the type and format of ``settings``.

        Whatever has to be done once, such as compiling, is done when this returns, or else on the first call.
        """
        raise NotImplementedError

    def optimized(self, model: nn.Module) -> Any:
        """What takes the place of ``model`` in a training step."""
        return model
