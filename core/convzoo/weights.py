"""Loading weights: one loader, one key map per model, and a report of what was used, missing and left over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from convzoo.errors import WeightsError
from convzoo.features import FeatureNet
from convzoo.model import ConvNet

COUNTER = "num_batches_tracked"
"""Batch norm's own count, which nothing computes with and older files lack."""


@dataclass
class LoadReport:
    """What became of a state dict. All keys are the model's, but for ``unexpected``, whose are the state dict's."""

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
                more = f", … ({len(names) - 8} more)" if len(names) > 8 else ""
                lines.append(f"{len(names)} {title}: {', '.join(names[:8])}{more}")
        return "; ".join(lines)


def key_map(model: ConvNet | FeatureNet) -> dict[str, str]:
    """From the keys of the model's state dict to those that timm and torchvision use for it.

    Raises:
        WeightsError: the model declares no key map, or it sends two keys to one.
    """
    network = _network(model)
    if not network.spec.keys:
        raise WeightsError(f"{network.spec.name} has no key map to another library's names")
    mapped: dict[str, str] = {}
    for key in network.state_dict():
        name = key
        for pattern, replacement in network.spec.keys:
            name = re.sub(pattern, replacement, name)
        mapped[key] = name
    if len(set(mapped.values())) < len(mapped):
        twice = sorted(name for name in set(mapped.values()) if list(mapped.values()).count(name) > 1)
        raise WeightsError(f"the key map of {network.spec.name} sends two keys to each of {twice[:8]}")
    return mapped


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

    A model on the meta device takes the tensors themselves instead of copies. Batch norm's counters may be missing. A
    :class:`FeatureNet` does not mind weights of the head and of the stages that it leaves out.

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
    dialects = {"its own": {key: key for key in wanted}}
    if network.spec.keys:
        dialects["reference"] = key_map(network)
    dialect, names = max(dialects.items(), key=lambda item: sum(name in found for name in item[1].values()))

    head = "" if isinstance(network.head, nn.Identity) else str(network.get_classifier(name_only=True))
    kept = [] if classifier or not head else [key for key in wanted if key.startswith(head + ".")]
    report = LoadReport(dialect)
    chosen: dict[str, torch.Tensor] = {}
    for key, tensor in wanted.items():
        if key in kept:
            continue
        if names[key] not in found:
            if not key.endswith(COUNTER):
                report.missing.append(key)
        elif found[names[key]].shape != tensor.shape:
            shapes = f"{tuple(found[names[key]].shape)} instead of {tuple(tensor.shape)}"
            report.mismatched.append(f"{key} ({shapes})")
        else:
            report.used.append(key)
            chosen[key] = found[names[key]]
    left_over = set(found) - set(names.values())
    if not head:  # only the head and the last stages can be left over from a network that was cut
        left_over = {name for name in left_over if not _beyond(name, names)}
    report.unexpected = sorted(left_over)
    if strict and not report.fits:
        raise WeightsError(f"The weights do not fit {network.spec.name}: {report}. The model is unchanged.")
    meta = any(tensor.is_meta for tensor in wanted.values())
    network.load_state_dict(chosen, strict=False, assign=meta)
    return report


def _network(model: ConvNet | FeatureNet) -> ConvNet:
    return model.body if isinstance(model, FeatureNet) else model


def _beyond(name: str, names: Mapping[str, str]) -> bool:
    """Whether a key belongs to a top-level part, or a numbered stage, of which the cut network has nothing."""

    def part(key: str) -> str:
        return ".".join(key.split(".")[: 2 if key.startswith("stages.") else 1])

    return part(name) not in {part(known) for known in names.values()}


def _unwrapped(found: Mapping[str, Any], source: object) -> dict[str, torch.Tensor]:
    for wrapper in ("state_dict", "model"):
        if isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    state = {key.removeprefix("module."): value for key, value in found.items() if isinstance(value, torch.Tensor)}
    if not state:
        kind = "the mapping" if isinstance(source, Mapping) else str(source)
        raise WeightsError(
            f"{kind} holds no tensors by name; expected a state dict, or one under 'state_dict' or 'model'"
        )
    return state


def read(source: str | Path) -> Mapping[str, Any]:
    """What a weights file, or the file at a URL, holds.

    Raises:
        WeightsError: it cannot be found, fetched or read.
    """
    path = _fetched(str(source)) if urlparse(str(source)).scheme in ("http", "https", "file") else Path(source)
    if not path.is_file():
        raise WeightsError(f"there is no weights file {str(source)!r}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise WeightsError(f"{path.name} needs safetensors: pip install 'convzoo[safetensors]'") from error
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from error
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, not a state dict")
    return loaded


def _fetched(url: str) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(urlparse(url).path).name
    if not path.exists():
        digest = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", path.name)
        try:
            torch.hub.download_url_to_file(url, str(path), digest[1] if digest else None, progress=False)
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"cannot fetch {url}: {error}") from error
    return path
