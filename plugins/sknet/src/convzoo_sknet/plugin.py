"""What the SKNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from convzoo.hookspecs import hookimpl
from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, KEYS, imagenet
from convzoo.specs import Component, Model, Stage, ref

PAPER = "Li et al., Selective Kernel Networks, CVPR 2019, arXiv:1903.06586"

COMPONENTS = (
    Component("conv", "selective_kernel", "convzoo_sknet.selective_kernel:SelectiveKernel", "selective kernel"),
)

GROUPED = BOTTLENECK.with_options(cardinality=32, base_width=4, conv=ref("selective_kernel"))
"""The paper's block."""
SPLIT = ref("selective_kernel", split_input=True, min_width=8, divisor=8)
SPLIT_BASIC = ref("selective_kernel", split_input=True, reduction=8, min_width=16, divisor=16)
"""timm's: each branch sees half of the input."""

# name, block, layers per stage, letter of the stem, parameters, MACs
IN_TIMM = (
    ("skresnet18", BASIC.with_options(conv=SPLIT_BASIC), (2, 2, 2, 2), "", 11_958_056, 1_814_337_536),
    ("skresnet34", BASIC.with_options(conv=SPLIT_BASIC), (3, 4, 6, 3), "", 22_282_376, 3_664_237_568),
    ("skresnet50", BOTTLENECK.with_options(conv=SPLIT), DEPTHS[50], "", 25_803_160, 4_089_422_336),
    ("skresnet50d", BOTTLENECK.with_options(conv=SPLIT), DEPTHS[50], "d", 25_822_392, 4_329_062_912),
    ("skresnext50_32x4d", GROUPED, DEPTHS[50], "", 27_479_784, 4_462_710_784),
)

# name, depth, parameters, MACs
DEEPER = (
    ("sknet101", 101, 48_736_040, 8_448_724_992),
    ("sknet152", 152, 66_295_656, 12_434_640_896),
)

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


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    shared: dict[str, Any] = {"keys": SELECTIVE_KEYS, "paper": PAPER}
    for name, block, depths, letter, params, macs in IN_TIMM:
        layer = block.with_options(zero_init_last=False)
        aliases = (ref("sknet50"),) if name == "skresnext50_32x4d" else ()
        fields = {"letter": letter, "aliases": aliases, "params": params, "macs": macs}
        yield imagenet(name, "sknet", layer, depths, **shared, **fields)
    for name, depth, params, macs in DEEPER:
        yield imagenet(name, "sknet", GROUPED, DEPTHS[depth], timm=None, params=params, macs=macs, **shared)
    yield _as_released(**shared)


def _as_released(**fields: Any) -> Model:
    """SKNet-101 as the authors' prototxt has it, with a hidden width of 16 in the second stage."""
    params, macs = 48_686_760, 8_448_675_840
    model = imagenet("sknet101_prototxt", "sknet", GROUPED, DEPTHS[101], timm=None, params=params, macs=macs, **fields)
    narrow = ref("selective_kernel", min_width=16)
    second = Stage(tuple(layer.with_options(conv=narrow) for layer in model.stages[1].layers), model.stages[1].stride)
    return dataclasses.replace(model, stages=(model.stages[0], second, *model.stages[2:]))
