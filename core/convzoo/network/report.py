"""What became of a state dict that was loaded."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

from convzoo.errors import WeightsWarning, first_of


@dataclass
class LoadReport:
    """What became of a state dict. All keys are the model's, but for ``unexpected``, whose are the state dict's.

    Attributes:
        dialect: whose keys it has: ``"its own"``, the model's; ``"reference"``, those of timm and torchvision; the name
            of one of the model's dialects, such as ``"pytorchcv"``; or ``"given"``, by ``keys``.
        entry: where in the checkpoint it was, ``"state_dict_ema"`` for example; empty if nothing was around it.
        used: what was loaded.
        adapted: what of it was for RGB images, and was made to fit the model's ``in_chans``.
        left_out: what the model has of its classifier, if that was left as it is.
        missing: what the model has, and the state dict has not.
        unexpected: what the state dict has, and the model has not.
        mismatched: what has another shape, with both, or is nothing that can be loaded, with what it is.
    """

    dialect: str
    entry: str = ""
    used: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether nothing is missing, left over or of another shape, but for what was left out."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        entry = f" in {self.entry!r}" if self.entry else ""
        lines = [f"{len(self.used)} tensors fit, read with {self.dialect} keys{entry}"]
        for title in ("adapted", "left_out", "missing", "unexpected", "mismatched"):
            if names := getattr(self, title):
                lines.append(f"{len(names)} {title.replace('_', ' ')}: {', '.join(first_of(names))}")
        return "; ".join(lines)


def warn(notes: Iterable[str]) -> None:
    """Warn of each, in the line that called convzoo."""
    frame, level = sys._getframe(), 1
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == "convzoo":
        frame, level = frame.f_back, level + 1
    for note in notes:
        warnings.warn(note, WeightsWarning, stacklevel=level)
