"""timm's description of a network: the images that it takes, and its first and last layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from convzoo.published.rows import input_of
from convzoo.spec.model import DATASETS, Model


def input_cfg(spec: Model, told: Mapping[str, Any]) -> dict[str, Any]:
    """timm's fields of the images that a network takes.

    Args:
        spec: of the network.
        told: what is known of its weights. If that says their size, it says all that they differ in from the images
            of the dataset; without, they are timm's for its network of this name.
    """
    theirs = {} if "input_size" in told else input_of(spec.name)
    size = (spec.in_chans, spec.input_size, spec.input_size)
    return {"interpolation": "bilinear", **DATASETS[spec.dataset], **theirs, "input_size": size, **told}


def description(
    model: nn.Module, spec: Model, reduction: int, told: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """What a network has as its ``default_cfg``.

    Args:
        model: the network, whose ``head`` may be cut off.
        spec: of the network.
        reduction: stride of its last feature map.
        told: what is known of its weights.
        before: its former description, which has the classifier's name where the head is cut off.
    """
    first = next((name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)), None)
    known = input_cfg(spec, told)
    known["input_size"] = (spec.in_chans, *known["input_size"][1:])
    side = -(-known["input_size"][1] // reduction)
    classifier = getattr(model.head, "classifier_name", None)
    return {
        "architecture": spec.name,
        "num_classes": spec.num_classes,
        "pool_size": (side, side),
        "fixed_input_size": False,
        **known,
        "first_conv": first,
        "classifier": before["classifier"] if classifier is None else f"head.{classifier}",
    }
