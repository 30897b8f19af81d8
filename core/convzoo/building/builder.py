"""The builder: a fold over a spec. It knows stems, blocks, slots and heads, and no architecture."""

from __future__ import annotations

import contextlib
import gc
import itertools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from convzoo.building.factory import Factory
from convzoo.building.initialise import Deferred
from convzoo.building.parts import find
from convzoo.errors import OptionError
from convzoo.network.model import ConvNet
from convzoo.network.place import device_of, dtype_of
from convzoo.plugins.registry import Registry
from convzoo.spec.kinds import SHARED, Position
from convzoo.spec.model import Model
from convzoo.spec.refs import Ref


def build(
    spec: Model,
    registry: Registry,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    prepare: Callable[[ConvNet], object] | None = None,
) -> ConvNet:
    """The network that ``spec`` describes, in training mode, with every tensor started once.

    It is assembled without storage, so that whatever is wrong with it shows before a weight is allocated; then every
    weight is given storage and filled. On ``device="meta"`` it stays without. ``spec`` is whole and checked, as
    :func:`~convzoo.building.compose.compose` gives it.

    ``prepare`` is called with the network while it is without storage, and may refuse it. Weights that it puts there
    are the network's; only those that it leaves are started.

    Within ``torch.inference_mode`` it is the same network, which can be trained outside of it.

    Raises:
        OptionError: a part refuses an option, or there is no such device or dtype.
        UnknownNameError: a component does not exist.
    """
    device, dtype = device_of(device), dtype_of(dtype)
    with _collector_paused(), torch.inference_mode(False):
        same = device == torch.get_default_device()
        with contextlib.nullcontext() if same else device, Deferred(device) as deferred:
            model = _assemble(spec, registry)
        if prepare:
            prepare(model)
        if device.type != "meta":
            deferred.finish(model, Factory(registry, "init", spec.init, {}))
            if prepare and device.type != "cpu":  # where weights are read
                model.to(device)
        return model.to(dtype) if dtype else model


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Assembling makes many objects and no garbage; collecting in between is up to half of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _assemble(spec: Model, registry: Registry) -> ConvNet:
    shared = {kind: Factory(registry, kind, getattr(spec, kind), {}) for kind in SHARED}

    def make(kind: str, ref: Ref, *arguments: Any, offered: dict[str, Any] | None = None, **keywords: Any) -> Any:
        factory = Factory(registry, kind, ref, {**shared, **(offered or {})})
        module = factory(*arguments, **keywords)
        factory.part.require_sizes(module)
        return module

    stem = make("stem", spec.stem, spec.in_chans)
    channels, reduction = int(stem.out_channels), int(stem.reduction)
    _check_output_stride(spec, reduction)
    rates = _drop_path_rates(spec, registry)
    stages, levels = [], []
    index, dilation = 0, 1
    for number, stage in enumerate(spec.stages):
        stride, first_dilation = stage.stride, dilation
        if spec.output_stride is not None and reduction * stride > spec.output_stride:
            dilation *= stride
            stride = 1
        reduction *= stride
        layers = []
        for place, layer in enumerate(stage.layers):
            offered = {
                "position": Position(number, place, index, len(rates)),
                "first_dilation": first_dilation if place == 0 else dilation,
                "drop_path_rate": rates[index],
            }
            strides = stride if place == 0 else 1
            layers.append(make("block", layer, channels, offered=offered, stride=strides, dilation=dilation))
            channels = int(layers[-1].out_channels)
            index += 1
        stages.append(nn.Sequential(*layers))
        levels.append({"num_chs": channels, "reduction": reduction, "module": f"stages.{number}"})
    head = make("head", spec.head, channels, spec.num_classes)
    if not isinstance(getattr(head, "classifier_name", None), str) or not callable(getattr(head, "reset", None)):
        raise OptionError(f"head {spec.head.name!r} must have a classifier_name and reset(num_classes, global_pool)")
    return ConvNet(spec, stem, stages, levels, head)


def _drop_path_rates(spec: Model, registry: Registry) -> list[float]:
    """The rate of each layer: linear from 0 to the model's, over the layers that have stochastic depth.

    Raises:
        OptionError: none has it, and the model asks for it.
    """
    layers = [find(registry, "block", layer) for stage in spec.stages for layer in stage.layers]
    droppable = [part.declares("drop_path_rate") for part in layers]
    if spec.drop_path_rate and not any(droppable):
        names = ", ".join(dict.fromkeys(map(str, layers)))
        raise OptionError(f"drop_path_rate={spec.drop_path_rate} is taken by no layer: {names}")
    return [spec.drop_path_rate * sum(droppable[:i]) / max(sum(droppable) - 1, 1) for i in range(len(layers))]


def _check_output_stride(spec: Model, reduction: int) -> None:
    possible = sorted(
        set(itertools.accumulate((stage.stride for stage in spec.stages), operator.mul, initial=reduction))
    )
    if spec.output_stride is not None and spec.output_stride not in possible:
        raise OptionError(f"output_stride={spec.output_stride}: {spec.name} can have {', '.join(map(str, possible))}")
