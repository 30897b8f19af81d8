"""What the suite compares: one variant of each family, ours and others'."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torch
import torchvision
from families import FAMILIES
from torch import nn

import convzoo
from convzoo.plugins.host import registry
from convzoo.testing.numerics import jitter_norms


def makers() -> dict[str, Callable[[], nn.Module]]:
    """``variant/library`` to what makes the network, for one variant of each family."""
    found: dict[str, Callable[[], nn.Module]] = {}
    for variant in FAMILIES.values():
        found[f"{variant}/convzoo"] = lambda name=variant: convzoo.create_model(name)
        for library, make in (("timm", timm.create_model), ("torchvision", torchvision.models.get_model)):
            reference = registry().model(variant).spec.reference(library)
            if reference and not reference.options:
                found[f"{variant}/{library}"] = lambda make=make, name=reference.name: make(name)
    return found


MAKERS = makers()


def network(make: Callable[[], nn.Module]) -> nn.Module:
    """A network whose norms are jittered, so that nothing runs on zeros."""
    torch.manual_seed(0)
    model = make()
    jitter_norms(model)
    return model
