"""What the CondenseNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from convzoo import Component, Dialect, Model, Ref, hookimpl, ref
from convzoo.layouts import FAN_OUT_ZERO_BIAS, dense_stages

PAPER = "Huang et al., CondenseNet: An Efficient DenseNet using Learned Group Convolutions, CVPR 2018, arXiv:1711.09224"

COMPONENTS = (
    Component("block", "condense", "convzoo_condensenet.layers:CondenseLayer", "appends features; learns its groups"),
    Component("block", "average_pool", "convzoo_condensenet.layers:AveragePool", "average pool, nothing else"),
)

CONVERT = "convzoo_condensenet.published:"
AUTHORS = (
    (r"^stem\.conv\.", "features.init_conv."),
    (r"^stages\.0\.(\d+)\.branch\.", "features.denseblock_1.denselayer_{1+1}."),
    (r"^stages\.(\d+)\.(\d+)\.branch\.", "features.denseblock_{1+1}.denselayer_{2}."),
    (r"^stages\.\d+\.\d+\.norm\.", "features.norm_last."),
    (r"\.norm(\d)\.", ".conv_{1}.norm."),
    (r"\.conv(\d)\.(?!kept)", ".conv_{1}.conv."),
    (r"^head\.fc\.", "classifier."),
)
MASK = (r"\.conv1\.kept$", ".conv_1._mask")
INDEX = (r"\.conv1\.kept$", ".conv_1.index")
LINEAR = (r"^classifier\.", "classifier.linear.")
PYTORCHCV = (
    (r"^stem\.conv\.", "features.init_block.conv."),
    (r"^stages\.0\.(\d+)\.branch\.", "features.stage1.unit{1+1}."),
    (r"^stages\.(\d+)\.(\d+)\.branch\.", "features.stage{1+1}.unit{2}."),
    (r"^stages\.\d+\.\d+\.norm\.", "features.post_activ.bn."),
    (r"\.norm(\d)\.", ".conv{1}.bn."),
    (r"\.conv1\.kept$", ".conv1.index"),
    (r"\.conv(\d)\.(?!bn\.|index)", ".conv{1}.conv."),
    (r"^head\.fc\.", "output.linear."),
)
DIALECTS = (
    Dialect("the CondenseNet authors", (*AUTHORS, MASK), f"{CONVERT}from_masks"),
    Dialect("the CondenseNet authors, converted", (*AUTHORS, INDEX, LINEAR), f"{CONVERT}from_indices"),
    Dialect("pytorchcv", PYTORCHCV, f"{CONVERT}from_indices"),
)
"""The authors' files of a network in training, and of one that they have converted, which is all that pytorchcv has."""


def condensenet(
    name: str, *, stem: Ref, depths: Sequence[int], growth_rates: Sequence[int], groups: int = 4, **fields: Any
) -> Model:
    """A network as it is trained. Its ``stem`` is twice as wide as what its first layer adds, unless it has a width."""
    layers = [
        ref("condense", growth_rate=growth_rate, groups_1x1=groups, groups_3x3=groups, condense_factor=groups)
        for growth_rate in growth_rates
    ]
    stem = ref(stem.name, **{"width": 2 * growth_rates[0], **stem.options}, norm=ref("none"), act=ref("none"))
    stages = dense_stages(layers, depths, transition=ref("average_pool"))
    return Model(name, "condensenet", stem, stages, init=FAN_OUT_ZERO_BIAS, dialects=DIALECTS, paper=PAPER, **fields)


imagenet = partial(
    condensenet,
    stem=ref("conv", kernel_size=3, pool="none"),
    depths=(4, 6, 8, 10, 8),
    growth_rates=(8, 16, 32, 64, 128),
)
cifar = partial(condensenet, stem=ref("cifar"), num_classes=10, input_size=32, dataset="cifar10")

MODELS = (
    imagenet("condensenet74_g4", groups=4, params=11_922_680, macs=1_267_904_128),
    imagenet("condensenet74_g8", groups=8, params=11_103_608, macs=1_137_847_936),
    cifar("condensenet50_cifar", depths=(8, 8, 8), growth_rates=(8, 16, 32), params=522_938, macs=64_934_432),
    cifar("condensenet74_cifar", depths=(12, 12, 12), growth_rates=(8, 16, 32), params=1_090_906, macs=131_783_392),
    cifar("condensenet86_cifar", depths=(14, 14, 14), growth_rates=(8, 16, 32), params=1_451_594, macs=173_858_624),
    cifar("condensenet98_cifar", depths=(16, 16, 16), growth_rates=(8, 16, 32), params=1_863_418, macs=221_701_024),
    cifar("condensenet110_cifar", depths=(18, 18, 18), growth_rates=(8, 16, 32), params=2_326_378, macs=275_310_592),
    cifar("condensenet122_cifar", depths=(20, 20, 20), growth_rates=(8, 16, 32), params=2_840_474, macs=334_687_328),
    cifar(
        "condensenet182_cifar", depths=(30, 30, 30), growth_rates=(12, 24, 48), params=13_792_906, macs=1_615_332_192
    ),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    yield from MODELS
