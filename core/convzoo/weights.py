"""Loading weights: one loader, one key map per model, and a report of what was used, missing and left over."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from convzoo.builder import build
from convzoo.errors import WeightsError
from convzoo.features import FeatureNet
from convzoo.model import ConvNet
from convzoo.plugins import registry
from convzoo.specs import Model

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
    return _mapped(network.spec, network.state_dict())


def _mapped(spec: Model, keys: Iterable[str]) -> dict[str, str]:
    if not spec.keys:
        raise WeightsError(f"{spec.name} has no key map to another library's names")
    mapped: dict[str, str] = {}
    for key in keys:
        name = key
        for pattern, replacement in spec.keys:
            name = re.sub(pattern, replacement, name)
        mapped[key] = name
    if len(set(mapped.values())) < len(mapped):
        twice = sorted(name for name, count in Counter(mapped.values()).items() if count > 1)
        raise WeightsError(f"the key map of {spec.name} sends two keys to each of {twice[:8]}")
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
    uncut = build(network.spec, registry(), device="meta") if isinstance(model, FeatureNet) else network
    whole = list(uncut.state_dict())
    dialects = {"its own": {key: key for key in whole}}
    if network.spec.keys:
        dialects["reference"] = _mapped(network.spec, whole)
    dialect, names = max(dialects.items(), key=lambda item: sum(name in found for name in item[1].values()))

    kept: set[str] = set()
    if not classifier or isinstance(model, FeatureNet):
        kept = {f"{uncut.get_classifier(name_only=True)}.{part}" for part in ("weight", "bias")}
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


def read(source: str | Path) -> Any:
    """What a weights file, or the file at a URL, holds.

    Raises:
        WeightsError: it cannot be found, fetched or read.
    """
    if not isinstance(source, (str, Path)):
        raise WeightsError(f"weights are a state dict, a file or a URL, not {source!r}")
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
    return loaded


def _fetched(url: str) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    # Two URLs may end alike.
    name = Path(urlparse(url).path).name
    path = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    if not path.exists():
        digest = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", name)
        try:
            torch.hub.download_url_to_file(url, str(path), digest[1] if digest else None, progress=False)
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"cannot fetch {url}: {error}") from error
    return path
