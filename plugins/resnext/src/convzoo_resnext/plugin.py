"""What the ResNeXt plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from convzoo.hookspecs import hookimpl
from convzoo.layouts import BOTTLENECK, DEPTHS, cifar, cifar_depths, imagenet
from convzoo.specs import Model

PAPER = "Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017, arXiv:1611.05431"

# name, layers per stage, letter of the stem, cardinality, base width, parameters, MACs
IMAGENET = (
    ("resnext50_32x4d", DEPTHS[50], "", 32, 4, 25_028_904, 4_230_479_872),
    ("resnext50d_32x4d", DEPTHS[50], "d", 32, 4, 25_048_136, 4_470_120_448),
    ("resnext101_32x4d", DEPTHS[101], "", 32, 4, 44_177_704, 7_969_996_800),
    ("resnext101_32x8d", DEPTHS[101], "", 32, 8, 88_791_336, 16_414_015_488),
    ("resnext101_32x16d", DEPTHS[101], "", 32, 16, 194_026_792, 36_163_289_088),
    ("resnext101_32x32d", DEPTHS[101], "", 32, 32, 468_530_472, 87_106_781_184),
    ("resnext101_64x4d", DEPTHS[101], "", 64, 4, 83_455_272, 15_460_270_080),
)

# name, cardinality, base width, parameters, MACs
CIFAR = (
    ("resnext29_1x64d", 1, 64, 4_914_250, 748_365_824),
    ("resnext29_2x64d", 2, 64, 9_130_314, 1_411_065_856),
    ("resnext29_4x64d", 4, 64, 17_562_442, 2_736_465_920),
    ("resnext29_8x64d", 8, 64, 34_426_698, 5_387_266_048),
    ("resnext29_16x64d", 16, 64, 68_155_210, 10_688_866_304),
    ("resnext29_32x4d", 32, 4, 4_775_754, 774_055_936),
    ("resnext29_16x32d", 16, 32, 25_136_970, 4_028_311_552),
    ("resnext29_4x24d", 4, 24, 4_845_002, 761_210_880),
)

IN_TORCHVISION = ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")


@hookimpl
def convzoo_contribute() -> Iterator[Model]:
    for name, depths, letter, cardinality, base_width, params, macs in IMAGENET:
        layer = BOTTLENECK.with_options(cardinality=cardinality, base_width=base_width)
        fields = {"torchvision": name in IN_TORCHVISION, "paper": PAPER, "params": params, "macs": macs}
        yield imagenet(name, "resnext", layer, depths, letter=letter, **fields)
    for name, cardinality, base_width, params, macs in CIFAR:
        layer = BOTTLENECK.with_options(cardinality=cardinality, base_width=base_width)
        fields = {"paper": PAPER, "params": params, "macs": macs}
        yield cifar(name, "resnext_cifar", layer, cifar_depths(29, 3), planes=(64, 128, 256), width=64, **fields)
