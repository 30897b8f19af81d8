"""What the Wide ResNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

from convzoo import Component, Dialect, Model, Pattern, Ref, SpecError, Stage, hookimpl, ref
from convzoo.dialects import PYTORCHCV_HEAD, PYTORCHCV_STEMS, PYTORCHCV_UNIT
from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, FAN_IN_ZERO_BIAS, cifar, imagenet

PAPER = "Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, arXiv:1605.07146"
SE_PAPER = "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507"

COMPONENTS = (
    Component(
        "block",
        "preactivation",
        "convzoo_wide_resnet.preactivation:Preactivation",
        "norm first, any kernels",
        example=({"planes": 64}, {"planes": 32, "kernel_sizes": (3, 1, 3), "dropout": 0.3}),
    ),
    Component("shortcut", "bare", "convzoo_wide_resnet.preactivation:bare_shortcut", "a 1x1 convolution alone"),
)

DIGITS = 4
"""Of the depth and of the width in a name."""
PREACTIVATION = ref("preactivation")

PYTORCHCV = Dialect(
    "pytorchcv",
    (
        *PYTORCHCV_STEMS["bare"],
        (r"^stages\.\d+\.\d+\.norm\.", "features.post_activ.bn."),
        PYTORCHCV_UNIT,
        (r"\.first\.norm\.", ".body.conv1.bn."),
        (r"\.branch\.norm(\d)\.", ".body.conv{1}.bn."),
        (r"\.branch\.conv(\d)\.", ".body.conv{1}.conv."),
        (r"\.shortcut\.", ".identity_conv."),
        PYTORCHCV_HEAD,
    ),
)


def wrn(name: str, *, depth: int, width: int, layer: Ref = PREACTIVATION, **fields: Any) -> Model:
    """WRN-``depth``-``width`` for images of 32 px.

    Args:
        name: of the model.
        depth, width: n and k of the paper.
        layer: the block with its options, without ``planes``.
        **fields: further fields of the model.

    Raises:
        SpecError: there is no network of this depth and width.
    """
    layers, rest = divmod(depth - 4, 6)
    if rest or layers < 1 or width < 1:
        raise SpecError(f"WRN-n-k has a depth of n = 6N + 4, N and k at least 1; there is no WRN-{depth}-{width}")
    defaults: dict[str, Any] = {
        "family": "wide_resnet_cifar",
        "stem": ref("cifar", width=16, norm=ref("none"), act=ref("none")),
        "init": FAN_IN_ZERO_BIAS,
        "dialects": (PYTORCHCV,),
        "paper": PAPER,
    }
    planes = (16 * width, 32 * width, 64 * width)
    model = cifar(name, layer=layer, depths=(layers,) * 3, planes=planes, **{**defaults, **fields})
    *first, last = model.stages
    last = Stage((*last.layers, ref("norm_act")), last.stride)
    return dataclasses.replace(model, stages=(*first, last))


def wrn_by_name(depth: str, width: str) -> Model:
    """The network that ``wrn{depth}_{width}`` stands for.

    Raises:
        SpecError: there is none.
    """
    if max(len(depth), len(width)) > DIGITS or any(number != str(int(number)) for number in (depth, width)):
        raise SpecError(
            f"the depth and the width of a WRN-n-k have {DIGITS} digits at most, and none of them leads with 0"
        )
    return wrn(f"wrn{depth}_{width}", depth=int(depth), width=int(width))


bottleneck = partial(
    imagenet, family="wide_resnet", layer=BOTTLENECK.with_options(base_width=128), torchvision=True, paper=PAPER
)
basic = partial(imagenet, family="wide_resnet", layer=BASIC, timm=None, init=FAN_IN_ZERO_BIAS, paper=PAPER)

MODELS = (
    wrn("wrn10_10", depth=10, width=10, params=7_435_354, macs=996_595_968),
    wrn("wrn16_1", depth=16, width=1, params=175_066, macs=26_657_408),
    wrn("wrn16_2", depth=16, width=2, params=691_674, macs=101_106_944),
    wrn("wrn16_4", depth=16, width=4, params=2_748_890, macs=392_612_352),
    wrn("wrn16_8", depth=16, width=8, params=10_961_370, macs=1_548_145_664),
    wrn("wrn16_10", depth=16, width=10, params=17_116_634, macs=2_412_173_568),
    wrn("wrn22_8", depth=22, width=8, params=17_158_106, macs=2_454_115_328),
    wrn("wrn22_10", depth=22, width=10, params=26_797_914, macs=3_827_751_168),
    wrn("wrn28_1", depth=28, width=1, params=369_498, macs=54_968_960),
    wrn("wrn28_2", depth=28, width=2, params=1_467_610, macs=214_353_152),
    wrn("wrn28_4", depth=28, width=4, params=5_849_050, macs=845_597_184),
    wrn("wrn28_8", depth=28, width=8, params=23_354_842, macs=3_360_084_992),
    wrn("wrn28_10", depth=28, width=10, params=36_479_194, macs=5_243_328_768),
    wrn("wrn28_12", depth=28, width=12, params=52_517_850, macs=7_543_905_792),
    wrn("wrn34_10", depth=34, width=10, params=46_160_474, macs=6_658_906_368),
    wrn("wrn40_1", depth=40, width=1, params=563_930, macs=83_280_512),
    wrn("wrn40_2", depth=40, width=2, params=2_243_546, macs=327_599_360),
    wrn("wrn40_4", depth=40, width=4, params=8_949_210, macs=1_298_582_016),
    wrn("wrn40_8", depth=40, width=8, params=35_748_314, macs=5_172_024_320),
    wrn("wrn40_10", depth=40, width=10, params=55_841_754, macs=8_074_483_968),
    wrn(
        "wrn28_10_dropout",
        depth=28,
        width=10,
        layer=PREACTIVATION.with_options(dropout=0.3),
        params=36_479_194,
        macs=5_243_328_768,
    ),
    wrn(
        "se_wrn16_8",
        depth=16,
        width=8,
        family="se_wide_resnet_cifar",
        layer=PREACTIVATION.with_options(attention=ref("se")),
        paper=SE_PAPER,
        params=11_049_290,
        macs=1_548_231_680,
    ),
    bottleneck("wide_resnet50_2", depths=DEPTHS[50], params=68_883_240, macs=11_398_021_120),
    bottleneck("wide_resnet101_2", depths=DEPTHS[101], params=126_886_696, macs=22_753_050_624),
    basic("wide_resnet18_1.5", depths=(2, 2, 2, 2), planes=(96, 192, 384, 768), params=25_875_816, macs=3_866_327_040),
    basic("wide_resnet34_1.5", depths=(3, 4, 6, 3), planes=(96, 192, 384, 768), params=48_613_608, macs=8_028_125_184),
    basic(
        "wide_resnet18_2.0", depths=(2, 2, 2, 2), planes=(128, 256, 512, 1024), params=45_618_216, macs=6_695_706_624
    ),
    basic(
        "wide_resnet34_2.0", depths=(3, 4, 6, 3), planes=(128, 256, 512, 1024), params=86_036_008, macs=14_094_458_880
    ),
)
PATTERN = Pattern("wrn{depth}_{width}", r"wrn(?P<depth>[0-9]+)_(?P<width>[0-9]+)", wrn_by_name)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model | Pattern]:
    yield from COMPONENTS
    yield from MODELS
    yield PATTERN
