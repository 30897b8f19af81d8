"""A checkpoint's values by the keys of a network, under whichever names they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from convzoo.network.checkpoints import Checkpoint, hits
from convzoo.network.keys import mapped
from convzoo.spec.model import Model


@dataclass(frozen=True)
class Reading:
    """What a checkpoint has for a network.

    Attributes:
        dialect: whose names it has: ``"its own"``, the network's, or ``"reference"``, those of timm and torchvision.
        found: values by the network's keys.
        rest: the checkpoint's keys of other tensors.
        classifier: those of them that belong to a classifier.
    """

    dialect: str
    found: dict[str, Any]
    rest: list[str]
    classifier: list[str]


def read_under(spec: Model, checkpoint: Checkpoint, keys: Iterable[str], classifier: str) -> Reading:
    """Read ``checkpoint`` under the names that most of its keys have.

    Args:
        spec: of the network.
        checkpoint: the values.
        keys: all that the network's state dict may have.
        classifier: name of the network's classifier, which may have no tensors.
    """
    weight = f"{classifier}.weight"
    known = list(dict.fromkeys((*keys, weight)))
    dialects = {"its own": {key: key for key in known}}
    if spec.keys:
        dialects["reference"] = mapped(spec, known)
    named = {dialect: checkpoint.named(set(names.values())) for dialect, names in dialects.items()}
    dialect = max(dialects, key=lambda name: hits(named[name], dialects[name].values()))
    names, values = dialects[dialect], checkpoint.values

    # A key that is the very name comes before one that a wrapper made longer; the other one is left over.
    holder: dict[str, str] = {}
    for key, name in sorted(named[dialect].items(), key=lambda item: item[0] != item[1]):
        holder.setdefault(name, key)
    found = {key: values[holder[name]] for key, name in names.items() if name in holder}
    read = {holder[name] for name in names.values() if name in holder}
    rest = {
        key: name for key, name in named[dialect].items() if key not in read and isinstance(values[key], torch.Tensor)
    }
    prefix = names[weight].removesuffix("weight")
    return Reading(dialect, found, sorted(rest), [key for key, name in rest.items() if name.startswith(prefix)])
