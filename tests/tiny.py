"""A tiny network for the tests of loading weights, and what they ask of it."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from convzoo import Model, WeightsError, create_model, ref
from convzoo.layouts import BASIC, KEYS, stages
from convzoo.network.model import ConvNet
from convzoo.network.weights import COUNTER, load_weights
from convzoo.testing.numerics import jitter_norms

State = dict[str, torch.Tensor]

TINY = Model(
    "tiny", "tiny", stem=ref("conv", width=8), stages=stages(BASIC, (1, 2, 1), (8, 16, 16)), keys=KEYS, num_classes=5
)


def tiny(**options: Any) -> Any:
    return create_model(TINY, **options)


def trained(**options: Any) -> ConvNet:
    """A network in which no tensor is as it starts, counters among them."""
    torch.manual_seed(1)
    model = tiny(**options)
    jitter_norms(model)
    for name, buffer in model.named_buffers():
        if name.endswith(COUNTER):
            buffer.fill_(3)
    return model


def trained_state() -> State:
    """The state dict of :func:`trained`, a copy of its own."""
    return copied(_trained_state())


@functools.cache
def _trained_state() -> State:
    return trained().state_dict()


def copied(state: State) -> State:
    return {key: tensor.clone() for key, tensor in state.items()}


def without(state: State, *keys: str) -> State:
    return {key: tensor for key, tensor in state.items() if key not in keys}


def assert_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def refused(model: nn.Module, source: Any, **options: Any) -> str:
    """The message with which ``source`` is refused, ``model`` being the same afterwards, bit by bit."""
    before = copied(model.state_dict())
    pointers = [tensor.data_ptr() for tensor in model.state_dict().values()]
    with pytest.raises(WeightsError) as caught:
        load_weights(model, source, **options)  # type: ignore[arg-type]
    assert_equal(model.state_dict(), before)
    assert [tensor.data_ptr() for tensor in model.state_dict().values()] == pointers
    return str(caught.value)
