"""Parts of every kind, small networks of them, and what is asked of these."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, Model, Ref, Stage, ref
from convzoo.building import parts
from convzoo.building.compose import compose
from convzoo.network.model import ConvNet
from convzoo.plugins.host import plugins, registry
from convzoo.testing.numerics import jitter_norms


def names(kind: str) -> list[str]:
    return [component.name for component, _ in registry().components(kind)]


def part(kind: str, name: str) -> parts.Part:
    return parts.find(registry(), kind, ref(name))


def by_hand(kind: str, name: str, *args: Any, **options: Any) -> nn.Module:
    """A part made by its own class, without the builder."""
    return registry().component(kind, name)[0].load()(*args, **options)


def blocks_with(option: str) -> list[str]:
    return [name for name in names("block") if part("block", name).declares(option)]


def some(values: Iterable[Any], every: int = 3) -> list[Any]:
    """Values to parametrize with, of which one in three is tried in every run, and all by `make test-all`."""
    marks = (() if number % every == 0 else (pytest.mark.large,) for number in itertools.count())
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=m) for v, m in zip(values, marks, strict=False)]


SMALL = {"planes": 8}
NARROW_STEM = ref("cifar", width=8)


def parts_of(spec: Model) -> set[tuple[str, str]]:
    """Kind and name of every part of a whole spec, but for its norms and activations."""

    def inside(kind: str, ref: Ref) -> Iterator[tuple[str, str]]:
        yield kind, ref.name
        for slot, value in ref.options.items():
            if isinstance(value, Ref):
                yield from inside(slot, value)

    layers = {layer for stage in spec.stages for layer in stage.layers}
    named = [("stem", spec.stem), ("head", spec.head), *(("block", each) for each in layers)]
    return {found for kind, ref in named for found in inside(kind, ref)}


def with_every_part() -> list[str]:
    """The smallest variants that between them have every part that any has."""
    seen: set[tuple[str, str]] = set()
    chosen = []
    for name, entry in sorted(registry().models().items(), key=lambda item: item[1].spec.params or 0):
        if new := parts_of(compose(entry.spec, registry())) - seen:
            chosen.append(name)
            seen |= new
    return chosen


VARIANTS = with_every_part()


def layer(block: str, **options: Any) -> Ref:
    """A narrow layer: with the options that the block cannot do without, taken from a variant that has the block."""
    known = part("block", block)
    required = [name for name in known.options if (p := known.signature.parameters[name]).default is p.empty]
    layers = [each for entry in registry().models().values() for stage in entry.spec.stages for each in stage.layers]
    variant = next((each.options for each in layers if each.name == block), {})
    if known.declares("compression"):
        options = {"compression": 1.0, **options}  # six of them in a row would leave nothing of a narrow stem
    return ref(block, **{name: SMALL.get(name, variant.get(name)) for name in required}).with_options(**options)


def spec(block: str, *, stem: str | Ref = NARROW_STEM, depth: int = 2, **options: Any) -> Model:
    """Three small stages of one block; ``options`` go to its layers, and ``planes`` double from stage to stage."""
    first = layer(block, **options)
    planes = first.options.get("planes")
    layers = [first.with_options(planes=planes << n) if planes else first for n in range(3)]
    later = 2 if part("block", block).declares("stride") else 1
    stages = tuple(Stage((each,) * depth, stride=later if n else 1) for n, each in enumerate(layers))
    return Model("small", "small", stem=stem, stages=stages, num_classes=5, input_size=32)


def layers_of(model: ConvNet) -> list[nn.Module]:
    return [layer for stage in model.stages for layer in stage]


def params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def attentions_params(model: ConvNet, attention: str | Ref | None) -> int:
    """Of one such attention in each layer of ``model``, as wide as the layer asks for."""
    if attention is None:
        return 0
    name, options = (attention, {}) if isinstance(attention, str) else (attention.name, attention.options)
    widths: list[int] = []

    def probe(channels: int) -> nn.Module:
        widths.append(channels)
        return nn.Identity()

    convzoo.register(Component("attention", "probe", probe), plugin="probe")
    try:
        convzoo.create_model(model.spec, attention="probe", device="meta")
    finally:
        plugins().remove("probe")
    assert len(widths) == len(layers_of(model))
    return sum(params(by_hand("attention", name, channels, **options)) for channels in widths)


def assert_it_learns(model: nn.Module, size: int = 32) -> None:
    """Finite outputs, and a finite gradient for every parameter, none of which is left out."""
    torch.manual_seed(0)
    jitter_norms(model)
    output = model.train()(torch.randn(2, 3, size, size))
    output.square().mean().backward()
    assert output.isfinite().all()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def count_of(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(type(m) is kind for m in model.modules())


def on_meta(variant: str | Model, **options: Any) -> ConvNet:
    return convzoo.create_model(variant, device="meta", **options)
