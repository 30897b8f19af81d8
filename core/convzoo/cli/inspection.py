"""What each stage of a model gives and costs, measured on the meta device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from convzoo.api import build
from convzoo.errors import OptionError, said
from convzoo.network.counting import count
from convzoo.spec.model import Model


@dataclass(frozen=True)
class StageCost:
    """``output`` is ``(channels, height, width)``, or ``(classes,)``; counts are for one image."""

    name: str
    output: tuple[int, ...]
    params: int
    macs: int


def inspect_stages(spec: Model) -> list[StageCost]:
    """The stem, each stage and the head of a model, at its own image size.

    Raises:
        OptionError: one of them cannot compute what the one before gives.
    """
    model = build(spec, device="meta").eval()
    shape: tuple[int, ...] = (spec.in_chans, spec.input_size, spec.input_size)
    named: list[tuple[str, nn.Module]] = [("stem", model.stem)]
    named += [(f"stage {number}", stage) for number, stage in enumerate(model.stages, start=1)]
    named.append(("head", model.head))
    costs = []
    for name, module in named:
        try:
            output = tuple(module(torch.empty(1, *shape, device="meta")).shape[1:])
            costs.append(StageCost(name, output, *count(module, shape)))
        except Exception as error:
            size = " x ".join(map(str, shape))
            raise OptionError(f"the {name} of {spec.name} fails on {size}: {said(error)}") from error
        shape = output
    return costs
