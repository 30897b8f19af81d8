"""Noticing that a network was trained, and never told how far the training is.

What a schedule needs cannot be seen in a forward pass, and looking there would cost every one of them. It is seen where
a training is interrupted to evaluate: some weights are others than when it began, no progress was told, and a layer
would still change if it were.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn

from convzoo.errors import LifecycleError, first_of, one_line
from convzoo.network.lifecycle import Deployable

_NUMBERS = 64
"""How many weights are compared; a step of an optimizer changes them all."""


class Sample(NamedTuple):
    """Some numbers of one parameter: enough to see that an optimizer was there."""

    name: str
    numbers: torch.Tensor


def sample(model: nn.Module) -> Sample | None:
    """A sample of the first layer with a schedule that learns; None where there is no such layer."""
    for path, module in _scheduled(model).items():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and type(parameter.detach()) is torch.Tensor and not parameter.is_meta:
                return Sample(f"{path}.{name}", _numbers(parameter))
    return None


def untold(model: nn.Module, before: Sample) -> str:
    """Which layers of ``model`` wait for a progress, and for what; empty if none does, or if nothing was learned.

    Args:
        model: the network.
        before: of it, when the training began.
    """
    parameter = dict(model.named_parameters()).get(before.name)
    if parameter is None or parameter.is_meta or parameter.dtype != before.numbers.dtype:
        return ""
    if torch.equal(_numbers(parameter).to(before.numbers.device), before.numbers):
        return ""
    waiting = {path: module for path, module in _scheduled(model).items() if _would_change(module)}
    if not waiting:
        return ""
    state = _state(next(iter(waiting.values())))
    return ", ".join(first_of(list(waiting), 2)) + (f" ({state})" if state else "")


def _scheduled(model: nn.Module) -> dict[str, nn.Module]:
    # By the class, which is quicker than asking each module for the protocol, since few have it.
    modules = model.named_modules()
    return {path: module for path, module in modules if hasattr(type(module), "set_progress")}


def _numbers(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.detach().reshape(-1)[:_NUMBERS].clone()


def _would_change(layer: nn.Module) -> bool:
    """Whether the end of the training would find the layer elsewhere on its schedule than it is."""
    try:
        other = copy.deepcopy(layer)
        other.set_progress(1.0)  # type: ignore[operator]
        before, after = layer.state_dict(), other.state_dict()
    except Exception:  # it cannot be told here, and an evaluation must not fail on it
        return False
    tensors = [key for key, value in before.items() if isinstance(value, torch.Tensor) and key in after]
    return not all(_same(before[key], after[key]) for key in tensors)


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Also where both are no number."""
    return first.shape == second.shape and bool(((first == second) | (first != first)).all())


def _state(layer: nn.Module) -> str:
    """What the layer itself says of it."""
    if isinstance(layer, Deployable):
        try:
            layer.deploy()
        except LifecycleError as error:
            return one_line(str(error))
    return ""
