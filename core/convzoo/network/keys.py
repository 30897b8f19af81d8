"""The names that other libraries have for a model's weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch
from torch import nn

from convzoo.errors import WeightsError
from convzoo.network.backbone import FeatureNet
from convzoo.network.model import ConvNet
from convzoo.spec.keys import rule
from convzoo.spec.model import Model

COUNTER = "num_batches_tracked"
"""Batch norm's own count, which nothing computes with and older files lack."""


def key_map(model: ConvNet | FeatureNet) -> dict[str, str]:
    """From the keys of the model's state dict to those that timm and torchvision use for it.

    Raises:
        WeightsError: the model declares no key map, or it sends two keys to one.
    """
    network = network_of(model)
    return mapped(network.spec, network.state_dict())


def mapped(spec: Model, keys: Iterable[str]) -> dict[str, str]:
    """``keys`` of the state dict of ``spec``'s model, and what each becomes.

    Raises:
        WeightsError: the spec declares no key map, or it sends two keys to one, or adds to what is no number.
    """
    if not spec.keys:
        raise WeightsError(f"{spec.name} has no key map to another library's names")
    return renamed(spec.name, spec.keys, keys)


def renamed(model: str, pairs: Iterable[tuple[str, str]], keys: Iterable[str]) -> dict[str, str]:
    """``keys`` and what each becomes by ``pairs``, which are as a model's ``keys``.

    Raises:
        WeightsError: two keys become one, or a pair adds to what is no number; it names the ``model``.
    """
    rules = [(pair, rule(*pair)) for pair in pairs]
    mapped: dict[str, str] = {}
    for key in keys:
        name = key
        for pair, (pattern, replacement) in rules:
            try:
                name = pattern.sub(replacement, name)
            except ValueError as error:
                raise WeightsError(f"the key map of {model} fails on {name!r}, by {pair}: {error}") from error
        mapped[key] = name
    if len(set(mapped.values())) < len(mapped):
        twice = sorted(name for name, count in Counter(mapped.values()).items() if count > 1)
        raise WeightsError(f"the key map of {model} sends two keys to each of {twice[:8]}")
    return mapped


def reference_state_dict(model: ConvNet | FeatureNet) -> dict[str, torch.Tensor]:
    """The model's state dict under the keys of timm and torchvision.

    Raises:
        WeightsError: the model declares no key map.
    """
    names = key_map(model)
    return {names[key]: tensor for key, tensor in network_of(model).state_dict().items()}


def network_of(model: ConvNet | FeatureNet) -> ConvNet:
    """The model itself, be it cut down to its feature levels, compiled, or in a wrapper.

    Raises:
        WeightsError: it is no network of convzoo.
    """
    model = bare(model)
    return model.body if isinstance(model, FeatureNet) else model


def bare(model: nn.Module) -> ConvNet | FeatureNet:
    """The network in ``model``, without what ``torch.compile``, data parallelism or averaging put around it.

    Raises:
        WeightsError: there is none of convzoo.
    """
    inner: nn.Module | None = model
    while isinstance(inner, nn.Module) and not isinstance(inner, (ConvNet, FeatureNet)):
        children = dict(inner.named_children())
        inner = children.get("_orig_mod", children.get("module"))
    if inner is None or not isinstance(inner, nn.Module):
        raise WeightsError(f"weights are loaded into a network of convzoo, not into a {type(model).__name__}")
    return inner
