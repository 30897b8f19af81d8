"""What the Wide ResNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from convzoo.hookspecs import hookimpl
from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, imagenet
from convzoo.specs import Model, ref

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

AUTHORS_INIT = ref("kaiming", mode="fan_in", linear_bias="zero")


@hookimpl
def convzoo_contribute() -> Iterator[Model]:
    for name, depths, params, macs in BOTTLENECKS:
        layer = BOTTLENECK.with_options(base_width=128)
        fields = {"paper": PAPER, "params": params, "macs": macs}
        yield imagenet(name, "wide_resnet", layer, depths, torchvision=True, **fields)
    for name, depths, planes, params, macs in BASICS:
        fields = {"init": AUTHORS_INIT, "paper": PAPER, "params": params, "macs": macs}
        yield imagenet(name, "wide_resnet", BASIC, depths, planes=planes, timm=None, **fields)
