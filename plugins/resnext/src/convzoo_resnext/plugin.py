"""What the ResNeXt plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from convzoo import Model, hookimpl
from convzoo.layouts import BOTTLENECK, DEPTHS, cifar, cifar_depths, imagenet

PAPER = "Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017, arXiv:1611.05431"


def grouped(name: str, *, layout: Callable[..., Model], cardinality: int, base_width: int, **fields: Any) -> Model:
    """A network of ``layout`` whose bottlenecks have ``cardinality`` groups of ``base_width`` channels."""
    layer = BOTTLENECK.with_options(cardinality=cardinality, base_width=base_width)
    return layout(name, layer=layer, paper=PAPER, **fields)


resnext50 = partial(grouped, layout=imagenet, family="resnext", depths=DEPTHS[50])
resnext101 = partial(grouped, layout=imagenet, family="resnext", depths=DEPTHS[101])
resnext29 = partial(
    grouped,
    layout=cifar,
    family="resnext_cifar",
    depths=cifar_depths(29, convs_per_layer=3),
    planes=(64, 128, 256),
    width=64,
)

MODELS = (
    resnext50("resnext50_32x4d", cardinality=32, base_width=4, torchvision=True, params=25_028_904, macs=4_230_479_872),
    resnext50("resnext50d_32x4d", letter="d", cardinality=32, base_width=4, params=25_048_136, macs=4_470_120_448),
    resnext101("resnext101_32x4d", cardinality=32, base_width=4, params=44_177_704, macs=7_969_996_800),
    resnext101(
        "resnext101_32x8d", cardinality=32, base_width=8, torchvision=True, params=88_791_336, macs=16_414_015_488
    ),
    resnext101("resnext101_32x16d", cardinality=32, base_width=16, params=194_026_792, macs=36_163_289_088),
    resnext101("resnext101_32x32d", cardinality=32, base_width=32, params=468_530_472, macs=87_106_781_184),
    resnext101(
        "resnext101_64x4d", cardinality=64, base_width=4, torchvision=True, params=83_455_272, macs=15_460_270_080
    ),
    resnext29("resnext29_1x64d", cardinality=1, base_width=64, params=4_914_250, macs=748_365_824),
    resnext29("resnext29_2x64d", cardinality=2, base_width=64, params=9_130_314, macs=1_411_065_856),
    resnext29("resnext29_4x64d", cardinality=4, base_width=64, params=17_562_442, macs=2_736_465_920),
    resnext29("resnext29_8x64d", cardinality=8, base_width=64, params=34_426_698, macs=5_387_266_048),
    resnext29("resnext29_16x64d", cardinality=16, base_width=64, params=68_155_210, macs=10_688_866_304),
    resnext29("resnext29_32x4d", cardinality=32, base_width=4, params=4_775_754, macs=774_055_936),
    resnext29("resnext29_16x32d", cardinality=16, base_width=32, params=25_136_970, macs=4_028_311_552),
    resnext29("resnext29_4x24d", cardinality=4, base_width=24, params=4_845_002, macs=761_210_880),
)


@hookimpl
def convzoo_contribute() -> Iterator[Model]:
    yield from MODELS
