"""What the SKNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial

from convzoo import Component, Model, Stage, hookimpl, ref
from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, KEYS, imagenet

PAPER = "Li et al., Selective Kernel Networks, CVPR 2019, arXiv:1903.06586"

COMPONENTS = (
    Component(
        "conv",
        "selective_kernel",
        "convzoo_sknet.selective_kernel:SelectiveKernel",
        "selective kernel",
        example=({}, {"split_input": True}),
    ),
)

GROUPED = BOTTLENECK.with_options(cardinality=32, base_width=4, conv=ref("selective_kernel"))
"""The paper's block."""
SPLIT_BASIC = BASIC.with_options(
    conv=ref("selective_kernel", split_input=True, reduction=8, min_width=16, divisor=16), zero_init_last=False
)
SPLIT_BOTTLENECK = BOTTLENECK.with_options(
    conv=ref("selective_kernel", split_input=True, min_width=8, divisor=8), zero_init_last=False
)
"""timm's, as the one before: each branch sees half of the input."""

# timm wraps each convolution and its norm, and calls the selective part of the unit "attn".
SELECTIVE_KEYS = (
    (r"\.branch\.(conv\d)\.paths\.(\d+)\.norm\.", r".\1.paths.\2.bn."),
    (r"\.branch\.(conv\d)\.paths\.", r".\1.paths."),
    (r"\.branch\.(conv\d)\.reduce\.", r".\1.attn.fc_reduce."),
    (r"\.branch\.(conv\d)\.select\.", r".\1.attn.fc_select."),
    (r"\.branch\.(conv\d)\.norm\.", r".\1.attn.bn."),
    (r"\.branch\.(conv\d)\.weight", r".\1.conv.weight"),
    (r"\.branch\.norm(\d)\.", r".conv\1.bn."),
    *KEYS,
)


def with_narrow_second_stage(model: Model) -> Model:
    """``model`` with a hidden width of 16 in the second stage, as the authors' prototxt has it."""
    narrow = ref("selective_kernel", min_width=16)
    first, second, *later = model.stages
    second = Stage(tuple(layer.with_options(conv=narrow) for layer in second.layers), second.stride)
    return dataclasses.replace(model, stages=(first, second, *later))


sknet = partial(imagenet, family="sknet", keys=SELECTIVE_KEYS, paper=PAPER)
released = partial(sknet, layer=GROUPED, stem=ref("conv", pool="max_ceil"), timm=None)
"""As the authors' prototxts have it: the stem's pool is that of Caffe."""

MODELS = (
    sknet("skresnet18", layer=SPLIT_BASIC, depths=(2, 2, 2, 2), params=11_958_056, macs=1_814_337_536),
    sknet("skresnet34", layer=SPLIT_BASIC, depths=(3, 4, 6, 3), params=22_282_376, macs=3_664_237_568),
    sknet("skresnet50", layer=SPLIT_BOTTLENECK, depths=DEPTHS[50], params=25_803_160, macs=4_089_422_336),
    sknet("skresnet50d", layer=SPLIT_BOTTLENECK, depths=DEPTHS[50], letter="d", params=25_822_392, macs=4_329_062_912),
    sknet(
        "skresnext50_32x4d",
        layer=GROUPED.with_options(zero_init_last=False),
        depths=DEPTHS[50],
        aliases=(ref("sknet50"),),
        params=27_479_784,
        macs=4_462_710_784,
    ),
    sknet("sknet101", layer=GROUPED, depths=DEPTHS[101], timm=None, params=48_736_040, macs=8_448_724_992),
    sknet("sknet152", layer=GROUPED, depths=DEPTHS[152], timm=None, params=66_295_656, macs=12_434_640_896),
    released("sknet50_prototxt", depths=DEPTHS[50], params=27_479_784, macs=4_462_710_784),
    with_narrow_second_stage(released("sknet101_prototxt", depths=DEPTHS[101], params=48_686_760, macs=8_448_675_840)),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    yield from MODELS
