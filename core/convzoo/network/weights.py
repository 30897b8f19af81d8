"""Loading weights: one loader, one key map per model, and a report of what was used, missing and left over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from convzoo.errors import WeightsError, first_of
from convzoo.network.backbone import FeatureNet
from convzoo.network.files import state_dict
from convzoo.network.keys import mapped, network_of
from convzoo.network.model import ConvNet

COUNTER = "num_batches_tracked"
"""Batch norm's own count, which nothing computes with and older files lack."""


@dataclass
class LoadReport:
    """What became of a state dict. All keys are the model's, but for ``unexpected``, whose are the state dict's.

    Attributes:
        dialect: whose keys it has: ``"its own"``, the model's, or ``"reference"``, those of timm and torchvision.
        used: what was loaded.
        missing: what the model has, and the state dict has not.
        unexpected: what the state dict has, and the model has not.
        mismatched: what has another shape, with both.
    """

    dialect: str
    used: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether nothing is missing, left over or of another shape."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lines = [f"{len(self.used)} tensors fit, read with {self.dialect} keys"]
        for title in ("missing", "unexpected", "mismatched"):
            if names := getattr(self, title):
                lines.append(f"{len(names)} {title}: {', '.join(first_of(names))}")
        return "; ".join(lines)


def load_weights(
    model: ConvNet | FeatureNet,
    source: str | Path | Mapping[str, Any],
    *,
    strict: bool = True,
    classifier: bool = True,
) -> LoadReport:
    """Put weights into ``model``, under its own keys or under those of timm and torchvision, whichever fit better.

    A model on the meta device takes the tensors themselves, instead of copies, and what they do not fill stays there.
    Batch norm's counters may be missing. A :class:`FeatureNet` does not mind weights of the head and of the stages
    that it leaves out.

    Args:
        model: what to load into.
        source: a state dict; a ``.safetensors`` file (needs safetensors) or one that ``torch.load`` reads without
            running code; or a URL of either, kept in torch.hub's folder, and checked if the file's name ends in
            ``-<sha256 prefix>``.
        strict: raise unless everything fits; else load what fits.
        classifier: False leaves the classifier as it is.

    Raises:
        WeightsError: there is no such file, it holds no state dict, or it does not fit; the model is unchanged then.
    """
    network = network_of(model)
    found = state_dict(source)
    wanted = network.state_dict()
    # Of a network that was cut, the rest may be in the state dict too; nothing else may.
    whole = [*wanted, *(model.left_out if isinstance(model, FeatureNet) else ())]
    dialects = {"its own": {key: key for key in whole}}
    if network.spec.keys:
        dialects["reference"] = mapped(network.spec, whole)
    dialect, names = max(dialects.items(), key=lambda item: sum(name in found for name in item[1].values()))

    kept: set[str] = set()
    if not classifier or isinstance(model, FeatureNet):
        name = model.classifier if isinstance(model, FeatureNet) else network.get_classifier(name_only=True)
        kept = {f"{name}.{part}" for part in ("weight", "bias")}
        names |= mapped(network.spec, kept) if dialect == "reference" else {key: key for key in kept}
    report = LoadReport(dialect, unexpected=sorted(set(found) - set(names.values())))
    chosen: dict[str, torch.Tensor] = {}
    for key, tensor in wanted.items():
        given = found.get(names[key])
        if key in kept:
            continue
        if given is None:
            if not key.endswith(COUNTER):
                report.missing.append(key)
        elif given.shape != tensor.shape:
            report.mismatched.append(f"{key} ({tuple(given.shape)} instead of {tuple(tensor.shape)})")
        else:
            report.used.append(key)
            chosen[key] = given.to(tensor.dtype) if tensor.is_meta else given
    if strict and not report.fits:
        raise WeightsError(f"The weights do not fit {network.spec.name}: {report}. The model is unchanged.")
    meta = any(tensor.is_meta for tensor in wanted.values())
    network.load_state_dict(chosen, strict=False, assign=meta)
    return report
