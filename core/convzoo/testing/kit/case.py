"""A part in one geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from convzoo.errors import OptionError
from convzoo.testing.kit.probe import Probe

PLAIN = {"loudness": 1.0, "mean": 0.0}
"""Images that are not loud, and have no mean."""


@dataclass(frozen=True)
class Case:
    """A part in one geometry, and the images that it gets.

    ``make()`` builds it; :meth:`construct` does, and leaves its weights as they start.
    """

    name: str
    probe: Probe
    geometry: Mapping[str, Any]
    look: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stride(self) -> int:
        """The stride that it is made with."""
        return self.geometry.get("stride", 1)

    @property
    def channels(self) -> int | None:
        """Channels of its input, where they are not the usual ones."""
        return next(iter(self.geometry.get("widths", ())), None)

    def is_possible(self) -> bool:
        """Whether the part does not refuse it."""
        try:
            with torch.device("meta"):
                self.construct()
        except OptionError:
            return False
        except Exception:  # of other widths, a check of their own tells
            return "widths" not in self.geometry
        return True

    def images(self, **more: Any) -> torch.Tensor:
        """See :meth:`Probe.images`."""
        return self.probe.images(**{"channels": self.channels, **self.look, **more})

    def make(self, *, seed: int = 0, **more: Any) -> Any:
        """See :meth:`Probe.make`."""
        return self.probe.make(seed=seed, **{**self.geometry, **more})

    def make_random(self) -> Any:
        """As :meth:`make`, with stochastic depth, if it is a block."""
        return self.make(drop_path_rate=0.5) if self.probe.kind == "block" else self.make()

    def construct(self) -> Any:
        """See :meth:`Probe.construct`."""
        return self.probe.construct(**self.geometry)
