"""A checkpoint's values by the keys of a network, under whichever names they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from convzoo.network.checkpoints import Checkpoint, hits, unwrapped
from convzoo.network.keys import COUNTER
from convzoo.network.worlds import Keys, World, worlds
from convzoo.spec.model import Model


@dataclass(frozen=True)
class Reading:
    """What a checkpoint has for a network.

    Attributes:
        dialect: whose names it has: ``"its own"``, the network's, ``"reference"``, those of timm and torchvision, the
            name of another dialect, or ``"given"``.
        found: values by the network's keys.
        rest: the checkpoint's keys of other tensors.
        classifier: those of them that belong to a classifier.
    """

    dialect: str
    found: dict[str, Any]
    rest: list[str]
    classifier: list[str]


def read_under(
    spec: Model,
    checkpoint: Checkpoint,
    state: Mapping[str, Any],
    left_out: Iterable[str],
    classifier: str,
    keys: Keys | None,
) -> Reading:
    """Read ``checkpoint`` under the names that most of its keys have.

    Args:
        spec: of the network.
        checkpoint: the values.
        state: the network's state dict.
        left_out: further keys that the values may be for.
        classifier: name of the network's classifier, which may have no tensors.
        keys: under these names alone; None for whichever fit best.

    Raises:
        WeightsError: ``keys`` are none, or the values cannot be converted.
    """
    weight = f"{classifier}.weight"
    known = list(dict.fromkeys((*state, *left_out, weight)))
    world, named = _best(checkpoint, worlds(spec, known, keys))
    names, values = world.names, checkpoint.values
    if world.convert:
        values = world.convert({named.get(key, key): value for key, value in values.items()}, names, state)
        named = {name: name for name in values}

    # A key that is the very name comes before one that a wrapper made longer; the other one is left over.
    holder: dict[str, str] = {}
    for key, name in sorted(named.items(), key=lambda item: item[0] != item[1]):
        holder.setdefault(name, key)
    found = {key: values[holder[name]] for key, name in names.items() if name in holder}
    read = {holder[name] for name in names.values() if name in holder}
    rest = {key: name for key, name in named.items() if key not in read and isinstance(values[key], torch.Tensor)}
    prefix = names[weight].removesuffix("weight")
    return Reading(world.name, found, sorted(rest), [key for key, name in rest.items() if name.startswith(prefix)])


def _best(checkpoint: Checkpoint, candidates: Iterable[World]) -> tuple[World, dict[str, str]]:
    """The first of ``candidates`` that has all of the network's weights, else the one with most, and its names."""
    tried = []
    for world in candidates:
        wanted = {name for key, name in world.names.items() if not key.endswith(COUNTER)}
        if wanted <= checkpoint.values.keys():  # most often, and then what wrappers add need not be looked for
            names = set(world.names.values())
            return world, {key: key if key in names else unwrapped(key) for key in checkpoint.values}
        tried.append((world, wanted))
    best: tuple[World, dict[str, str]] | None = None
    most = -1
    for world, wanted in tried:
        named = checkpoint.named(set(world.names.values()))
        there = hits(named, wanted)
        if there > most:
            best, most = (world, named), there
        if there >= len(wanted):
            break
    assert best is not None, "a network has names of its own"
    return best
