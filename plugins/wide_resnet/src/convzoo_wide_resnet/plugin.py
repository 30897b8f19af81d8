"""What the Wide ResNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from convzoo.errors import SpecError
from convzoo.hookspecs import hookimpl
from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, cifar, imagenet
from convzoo.specs import Component, Model, Pattern, Ref, Stage, ref

PAPER = "Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, arXiv:1605.07146"

# name, layers per stage, parameters, MACs: bottlenecks whose inner width is doubled
BOTTLENECKS = (
    ("wide_resnet50_2", DEPTHS[50], 68_883_240, 11_398_021_120),
    ("wide_resnet101_2", DEPTHS[101], 126_886_696, 22_753_050_624),
)

# name, layers per stage, planes, parameters, MACs: basic blocks, widened as a whole
BASICS = (
    ("wide_resnet18_1.5", (2, 2, 2, 2), (96, 192, 384, 768), 25_875_816, 3_866_327_040),
    ("wide_resnet34_1.5", (3, 4, 6, 3), (96, 192, 384, 768), 48_613_608, 8_028_125_184),
    ("wide_resnet18_2.0", (2, 2, 2, 2), (128, 256, 512, 1024), 45_618_216, 6_695_706_624),
    ("wide_resnet34_2.0", (3, 4, 6, 3), (128, 256, 512, 1024), 86_036_008, 14_094_458_880),
)

# name, depth, width, parameters, MACs: for images of 32 px
CIFAR = (
    ("wrn10_10", 10, 10, 7_435_354, 996_595_968),
    ("wrn16_1", 16, 1, 175_066, 26_657_408),
    ("wrn16_2", 16, 2, 691_674, 101_106_944),
    ("wrn16_4", 16, 4, 2_748_890, 392_612_352),
    ("wrn16_8", 16, 8, 10_961_370, 1_548_145_664),
    ("wrn16_10", 16, 10, 17_116_634, 2_412_173_568),
    ("wrn22_8", 22, 8, 17_158_106, 2_454_115_328),
    ("wrn22_10", 22, 10, 26_797_914, 3_827_751_168),
    ("wrn28_1", 28, 1, 369_498, 54_968_960),
    ("wrn28_2", 28, 2, 1_467_610, 214_353_152),
    ("wrn28_4", 28, 4, 5_849_050, 845_597_184),
    ("wrn28_8", 28, 8, 23_354_842, 3_360_084_992),
    ("wrn28_10", 28, 10, 36_479_194, 5_243_328_768),
    ("wrn28_12", 28, 12, 52_517_850, 7_543_905_792),
    ("wrn34_10", 34, 10, 46_160_474, 6_658_906_368),
    ("wrn40_1", 40, 1, 563_930, 83_280_512),
    ("wrn40_2", 40, 2, 2_243_546, 327_599_360),
    ("wrn40_4", 40, 4, 8_949_210, 1_298_582_016),
    ("wrn40_8", 40, 8, 35_748_314, 5_172_024_320),
    ("wrn40_10", 40, 10, 55_841_754, 8_074_483_968),
)

COMPONENTS = (
    Component("block", "preactivation", "convzoo_wide_resnet.preactivation:Preactivation", "norm first, any kernels"),
    Component("shortcut", "bare", "convzoo_wide_resnet.preactivation:bare_shortcut", "a 1x1 convolution alone"),
)
SE_PAPER = "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507"
PREACTIVATION = ref("preactivation")
AUTHORS_INIT = ref("kaiming", mode="fan_in", linear_bias="zero")


def wrn(name: str, depth: int, width: int, layer: Ref = PREACTIVATION, **fields: Any) -> Model:
    """WRN-``depth``-``width`` for images of 32 px.

    Raises:
        SpecError: there is no network of this depth and width.
    """
    layers, rest = divmod(depth - 4, 6)
    if rest or layers < 1 or width < 1:
        raise SpecError(f"WRN-n-k has a depth of n = 6N + 4, N and k at least 1; there is no WRN-{depth}-{width}")
    defaults = {"family": "wide_resnet_cifar", "init": AUTHORS_INIT, "paper": PAPER, **fields}
    planes = (16 * width, 32 * width, 64 * width)
    model = cifar(name, layer=layer, depths=(layers,) * 3, planes=planes, **defaults)
    stem = model.stem.with_options(norm=ref("none"), act=ref("none"))
    last = Stage((*model.stages[-1].layers, ref("norm_act")), stride=2)
    return dataclasses.replace(model, stem=stem, stages=(*model.stages[:-1], last))


def wrn_by_name(depth: str, width: str) -> Model:
    """The network that ``wrn{depth}_{width}`` stands for."""
    return wrn(f"wrn{depth}_{width}", int(depth), int(width))


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model | Pattern]:
    yield from COMPONENTS
    yield from (wrn(name, depth, width, params=params, macs=macs) for name, depth, width, params, macs in CIFAR)
    yield wrn(
        "wrn28_10_dropout", 28, 10, PREACTIVATION.with_options(dropout=0.3), params=36_479_194, macs=5_243_328_768
    )
    attentive = {"family": "se_wide_resnet_cifar", "paper": SE_PAPER, "params": 11_049_290, "macs": 1_548_231_680}
    yield wrn("se_wrn16_8", 16, 8, PREACTIVATION.with_options(attention=ref("se")), **attentive)
    yield Pattern("wrn{depth}_{width}", r"wrn(?P<depth>\d+)_(?P<width>\d+)", wrn_by_name)
    for name, depths, params, macs in BOTTLENECKS:
        layer = BOTTLENECK.with_options(base_width=128)
        fields = {"paper": PAPER, "params": params, "macs": macs}
        yield imagenet(name, "wide_resnet", layer, depths, torchvision=True, **fields)
    for name, depths, planes, params, macs in BASICS:
        fields = {"init": AUTHORS_INIT, "paper": PAPER, "params": params, "macs": macs}
        yield imagenet(name, "wide_resnet", BASIC, depths, planes=planes, timm=None, **fields)
