"""What the CondenseNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from convzoo.hookspecs import hookimpl
from convzoo.layouts import TORCH7_INIT
from convzoo.specs import Component, Model, Ref, Stage, ref

PAPER = "Huang et al., CondenseNet: An Efficient DenseNet using Learned Group Convolutions, CVPR 2018, arXiv:1711.09224"

COMPONENTS = (
    Component("block", "condense", "convzoo_condensenet.layers:CondenseLayer", "appends features; learns its groups"),
    Component("block", "average_pool", "convzoo_condensenet.layers:AveragePool", "average pool, nothing else"),
)

# name, groups, parameters, MACs; as trained
IMAGENET = (
    ("condensenet74_g4", 4, 11_922_680, 1_267_904_128),
    ("condensenet74_g8", 8, 11_103_608, 1_137_847_936),
)

# name, layers of each stage, growth rates, parameters, MACs; as trained
CIFAR = (
    ("condensenet50_cifar", 8, (8, 16, 32), 522_938, 64_934_432),
    ("condensenet74_cifar", 12, (8, 16, 32), 1_090_906, 131_783_392),
    ("condensenet86_cifar", 14, (8, 16, 32), 1_451_594, 173_858_624),
    ("condensenet98_cifar", 16, (8, 16, 32), 1_863_418, 221_701_024),
    ("condensenet110_cifar", 18, (8, 16, 32), 2_326_378, 275_310_592),
    ("condensenet122_cifar", 20, (8, 16, 32), 2_840_474, 334_687_328),
    ("condensenet182_cifar", 30, (12, 24, 48), 13_792_906, 1_615_332_192),
)


def _stages(depths: Sequence[int], growth_rates: Sequence[int], groups: int) -> tuple[Stage, ...]:
    stages = []
    for number, (depth, growth_rate) in enumerate(zip(depths, growth_rates, strict=True)):
        layer = ref("condense", growth_rate=growth_rate, groups_1x1=groups, groups_3x3=groups, condense_factor=groups)
        before = (ref("average_pool"),) if number else ()
        after = (ref("norm_act"),) if number == len(depths) - 1 else ()
        stages.append(Stage((*before, *(layer,) * depth, *after), stride=2 if number else 1))
    return tuple(stages)


def _model(name: str, stem: Ref, stages: tuple[Stage, ...], **fields: Any) -> Model:
    return Model(name, "condensenet", stem, stages, init=TORCH7_INIT, paper=PAPER, **fields)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    bare = {"norm": ref("none"), "act": ref("none")}
    for name, groups, params, macs in IMAGENET:
        stem = ref("conv", width=16, kernel_size=3, pool="none", **bare)
        stages = _stages((4, 6, 8, 10, 8), (8, 16, 32, 64, 128), groups)
        yield _model(name, stem, stages, params=params, macs=macs)
    small: dict[str, Any] = {"num_classes": 10, "input_size": 32, "dataset": "cifar10"}
    for name, depth, growth_rates, params, macs in CIFAR:
        stem = ref("cifar", width=2 * growth_rates[0], **bare)
        stages = _stages((depth,) * 3, growth_rates, 4)
        yield _model(name, stem, stages, params=params, macs=macs, **small)
