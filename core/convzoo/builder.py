"""The builder: a fold over a spec. It knows stems, blocks, slots and heads, and no architecture."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from convzoo import parts
from convzoo.errors import OptionError
from convzoo.initialise import DeferredInit
from convzoo.layers import Position
from convzoo.model import ConvNet
from convzoo.registry import Registry
from convzoo.specs import Model, Ref


def build(
    spec: Model,
    registry: Registry,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ConvNet:
    """The network that ``spec`` describes, in training mode, with every tensor started once.

    The structure is built on the meta device first, so that whatever is wrong with it shows before anything is
    allocated. On ``device="meta"`` that is also the result, without storage.

    Raises:
        OptionError: a part refuses an option.
        UnknownNameError: a component does not exist.
    """
    with torch.device("meta"):
        model = _assemble(spec, registry)
    if device is not None and torch.device(device).type == "meta":
        return model.to(dtype) if dtype else model
    with torch.device(device or torch.get_default_device()), DeferredInit() as deferred:
        model = _assemble(spec, registry)
    deferred.finish(parts.Factory(registry, "init", spec.init, {})(model))
    return model.to(dtype) if dtype else model


def _assemble(spec: Model, registry: Registry) -> ConvNet:
    shared: dict[str, Any] = {}
    for kind in ("norm", "act"):
        shared[kind] = parts.Factory(registry, kind, getattr(spec, kind), {})

    def make(kind: str, ref: Ref, *given: Any, says: tuple[str, ...] = (), **keywords: Any) -> Any:
        offered = {**shared, **{name: keywords.pop(name) for name in parts.BUILDERS_OWN & set(keywords)}}
        factory = parts.Factory(registry, kind, ref, offered)
        module = factory(*given, **keywords)
        parts.require_sizes(factory.part, module, *says)
        return module

    stem = make("stem", spec.stem, spec.in_chans, says=("out_channels", "reduction"))
    channels, reduction = stem.out_channels, stem.reduction
    _check_output_stride(spec, reduction)

    every = [parts.find(registry, "block", layer) for stage in spec.stages for layer in stage.layers]
    total = len(every)
    # Depth, for stochastic depth, is counted in the layers that have it.
    droppable = [part.declares("drop_path_rate") for part in every]
    if spec.drop_path_rate and not any(droppable):
        names = ", ".join(dict.fromkeys(map(str, every)))
        raise OptionError(f"drop_path_rate={spec.drop_path_rate} is taken by no layer: {names}")
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
            module = make(
                "block",
                layer,
                channels,
                says=("out_channels",),
                stride=stride if place == 0 else 1,
                position=Position(number, place, index, total),
                dilation=dilation,
                first_dilation=first_dilation if place == 0 else dilation,
                drop_path_rate=spec.drop_path_rate * sum(droppable[:index]) / max(sum(droppable) - 1, 1),
            )
            layers.append(module)
            channels = module.out_channels
            index += 1
        stages.append(nn.Sequential(*layers))
        levels.append({"num_chs": channels, "reduction": reduction, "module": f"stages.{number}"})
    head = make("head", spec.head, channels, spec.num_classes)
    if not isinstance(getattr(head, "classifier_name", None), str) or not callable(getattr(head, "reset", None)):
        raise OptionError(f"head {spec.head.name!r} must have a classifier_name and reset(num_classes, global_pool)")
    return ConvNet(spec, stem, stages, levels, head)


def _check_output_stride(spec: Model, reduction: int) -> None:
    possible = [reduction]
    for stage in spec.stages:
        possible.append(possible[-1] * stage.stride)
    if spec.output_stride is not None and spec.output_stride not in possible:
        raise OptionError(
            f"output_stride={spec.output_stride}: {spec.name} can have {', '.join(map(str, sorted(set(possible))))}"
        )
