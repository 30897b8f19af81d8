"""Loading weights: one loader, one key map per model, and a report of what was used, missing and left over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from convzoo.errors import WeightsError, first_of
from convzoo.network.backbone import FeatureNet
from convzoo.network.files import read
from convzoo.network.model import ConvNet
from convzoo.spec.model import Model

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


def key_map(model: ConvNet | FeatureNet) -> dict[str, str]:
    """From the keys of the model's state dict to those that timm and torchvision use for it.

    Raises:
        WeightsError: the model declares no key map, or it sends two keys to one.
    """
    network = _network(model)
    return _mapped(network.spec, network.state_dict())


def _mapped(spec: Model, keys: Iterable[str]) -> dict[str, str]:
    if not spec.keys:
        raise WeightsError(f"{spec.name} has no key map to another library's names")
    rules = [(re.compile(pattern), _replacement(replacement)) for pattern, replacement in spec.keys]
    mapped: dict[str, str] = {}
    for key in keys:
        name = key
        for pattern, replacement in rules:
            name = pattern.sub(replacement, name)
        mapped[key] = name
    if len(set(mapped.values())) < len(mapped):
        twice = sorted(name for name, count in Counter(mapped.values()).items() if count > 1)
        raise WeightsError(f"the key map of {spec.name} sends two keys to each of {twice[:8]}")
    return mapped


def _replacement(text: str) -> str | Callable[[re.Match[str]], str]:
    """A replacement for ``re.sub``; ``{1}`` is the first group, and ``{1+2}`` the number in it plus 2."""
    if not re.search(r"\{\d", text):
        return text

    def replace(match: re.Match[str]) -> str:
        def group(found: re.Match[str]) -> str:
            value = match[int(found[1])]
            return str(int(value) + int(found[2])) if found[2] else value

        return re.sub(r"\{(\d+)(?:\+(\d+))?\}", group, match.expand(text))

    return replace


def reference_state_dict(model: ConvNet | FeatureNet) -> dict[str, torch.Tensor]:
    """The model's state dict under the keys of timm and torchvision.

    Raises:
        WeightsError: the model declares no key map.
    """
    names = key_map(model)
    return {names[key]: tensor for key, tensor in _network(model).state_dict().items()}


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
    network = _network(model)
    found = _unwrapped(source if isinstance(source, Mapping) else read(source), source)
    wanted = network.state_dict()
    # Of a network that was cut, the rest may be in the state dict too; nothing else may.
    whole = [*wanted, *(model.left_out if isinstance(model, FeatureNet) else ())]
    dialects = {"its own": {key: key for key in whole}}
    if network.spec.keys:
        dialects["reference"] = _mapped(network.spec, whole)
    dialect, names = max(dialects.items(), key=lambda item: sum(name in found for name in item[1].values()))

    kept: set[str] = set()
    if not classifier or isinstance(model, FeatureNet):
        name = model.classifier if isinstance(model, FeatureNet) else network.get_classifier(name_only=True)
        kept = {f"{name}.{part}" for part in ("weight", "bias")}
        names |= _mapped(network.spec, kept) if dialect == "reference" else {key: key for key in kept}
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


def _network(model: ConvNet | FeatureNet) -> ConvNet:
    return model.body if isinstance(model, FeatureNet) else model


def _unwrapped(found: Any, source: object) -> dict[str, torch.Tensor]:
    name = "the mapping" if isinstance(source, Mapping) else str(source)
    for wrapper in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    items = found.items() if isinstance(found, Mapping) else ()
    state = {str(key).removeprefix("module."): value for key, value in items if isinstance(value, torch.Tensor)}
    if not state:
        raise WeightsError(
            f"{name} holds no tensors by name; expected a state dict, maybe under 'state_dict' or 'model'"
        )
    if empty := [key for key, value in state.items() if value.is_meta]:
        raise WeightsError(f"{len(empty)} tensors of {name}, {empty[0]} among them, are on the meta device: no values")
    return state
