"""What plain residual networks contribute, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, FAN_OUT, cifar, cifar_depths, imagenet
from convzoo.plugins.hook import hookimpl
from convzoo.spec.contributions import Component
from convzoo.spec.model import Model
from convzoo.spec.refs import Ref, ref

COMPONENTS = (
    Component(
        "stem",
        "conv",
        "convzoo.resnet.stems:conv_stem",
        "one strided convolution, then a pool",
        example=({}, {"pool": "max_ceil"}),
    ),
    Component("stem", "deep", "convzoo.resnet.stems:deep_stem", "three 3x3 convolutions, then a pool"),
    Component("stem", "cifar", "convzoo.resnet.stems:cifar_stem", "one convolution of stride 1, no pool"),
    Component("block", "basic", "convzoo.resnet.blocks:Basic", "two 3x3 convolutions"),
    Component("block", "bottleneck", "convzoo.resnet.blocks:Bottleneck", "1x1, spatial, 1x1 convolution"),
    Component("block", "norm_act", "convzoo.resnet.blocks:NormAct", "a last norm and activation"),
    Component("conv", "plain", "convzoo.layers:ConvNormAct", "convolution, norm, activation"),
    Component("shortcut", "conv", "convzoo.resnet.shortcuts:conv_shortcut", "strided convolution (option B)"),
    Component(
        "shortcut",
        "avg",
        "convzoo.resnet.shortcuts:avg_shortcut",
        "average pool, then 1x1 convolution (ResNet-D)",
        example=({}, {"pool_dilated": False}),
    ),
    Component(
        "shortcut", "zero_pad", "convzoo.resnet.shortcuts:ZeroPadShortcut", "subsampling, zero channels (option A)"
    ),
    Component("head", "classifier", "convzoo.resnet.heads:Classifier", "global pool, dropout, linear layer"),
    Component("norm", "batch", "convzoo.resnet.norms:batch", "batch normalisation"),
    Component("norm", "group", "convzoo.resnet.norms:group", "group normalisation"),
    Component("norm", "instance", "convzoo.resnet.norms:instance", "instance normalisation"),
    Component("norm", "none", "convzoo.resnet.norms:none", "no normalisation"),
    Component("act", "relu", "convzoo.resnet.norms:relu", "ReLU, in place"),
    Component("act", "relu6", "torch.nn:ReLU6", "ReLU cut at 6"),
    Component("act", "leaky_relu", "torch.nn:LeakyReLU", "leaky ReLU"),
    Component("act", "elu", "torch.nn:ELU", "ELU"),
    Component("act", "gelu", "convzoo.resnet.norms:gelu", "GELU"),
    Component("act", "silu", "torch.nn:SiLU", "SiLU, or swish"),
    Component("act", "mish", "torch.nn:Mish", "Mish"),
    Component("act", "hardswish", "torch.nn:Hardswish", "hard swish"),
    Component("act", "none", "convzoo.resnet.norms:no_act", "no activation"),
    Component("act", "prelu", "convzoo.resnet.norms:prelu", "ReLU with a learned slope"),
    Component("init", "default", "convzoo.resnet.inits:default", "torch's own"),
    Component("init", "kaiming", "convzoo.resnet.inits:kaiming", "Kaiming normal or uniform, by fan"),
)

GROUP_NORM = "Wu and He, Group Normalization, ECCV 2018, arXiv:1803.08494"


def four_stages(name: str, *, layer: Ref, **fields: Any) -> Model:
    """The stages of an ImageNet network, and its start, behind the stem for images of 32 px."""
    layer = layer.with_options(zero_init_last=True)
    planes = (64, 128, 256, 512)
    return cifar(name, "resnet_cifar", layer, planes=planes, width=64, init=FAN_OUT, **fields)


basic = partial(imagenet, family="resnet", layer=BASIC)
bottleneck = partial(imagenet, family="resnet", layer=BOTTLENECK)
strided_first = partial(imagenet, family="resnet", layer=BOTTLENECK.with_options(stride_on="1x1"), timm=None)
"""The stride where the Caffe networks of the paper's authors have it; these also have ``pool="max_ceil"``."""
option_a = partial(cifar, family="resnet_cifar", layer=BASIC.with_options(shortcut=ref("zero_pad")))
option_b = partial(cifar, family="resnet_cifar", layer=BASIC)
cifar_bottleneck = partial(cifar, family="resnet_cifar", layer=BOTTLENECK)

MODELS = (
    basic("resnet10t", depths=(1, 1, 1, 1), letter="t", input_size=176, params=5_435_488, macs=698_688_000),
    bottleneck("resnet14t", depths=(1, 1, 1, 1), letter="t", input_size=176, params=10_081_632, macs=1_067_618_816),
    basic("resnet18", depths=(2, 2, 2, 2), torchvision=True, params=11_689_512, macs=1_814_073_344),
    basic("resnet18d", depths=(2, 2, 2, 2), letter="d", params=11_708_744, macs=2_053_713_920),
    bottleneck("resnet26", depths=(2, 2, 2, 2), params=15_995_176, macs=2_342_256_640),
    bottleneck("resnet26d", depths=(2, 2, 2, 2), letter="d", params=16_014_408, macs=2_581_897_216),
    bottleneck("resnet26t", depths=(2, 2, 2, 2), letter="t", input_size=256, params=16_011_872, macs=3_330_359_296),
    basic("resnet34", depths=(3, 4, 6, 3), torchvision=True, params=21_797_672, macs=3_663_761_408),
    basic("resnet34d", depths=(3, 4, 6, 3), letter="d", params=21_816_904, macs=3_903_401_984),
    bottleneck("resnet50", depths=DEPTHS[50], torchvision=True, params=25_557_032, macs=4_089_184_256),
    bottleneck("resnet50c", depths=DEPTHS[50], letter="c", params=25_576_264, macs=4_328_824_832),
    bottleneck("resnet50d", depths=DEPTHS[50], letter="d", params=25_576_264, macs=4_328_824_832),
    bottleneck("resnet50s", depths=DEPTHS[50], letter="s", params=25_680_808, macs=5_444_337_664),
    bottleneck("resnet50t", depths=DEPTHS[50], letter="t", params=25_573_728, macs=4_297_213_952),
    bottleneck("resnet101", depths=DEPTHS[101], torchvision=True, params=44_549_160, macs=7_801_405_440),
    bottleneck("resnet101c", depths=DEPTHS[101], letter="c", params=44_568_392, macs=8_041_046_016),
    bottleneck("resnet101d", depths=DEPTHS[101], letter="d", input_size=256, params=44_568_392, macs=10_501_963_776),
    bottleneck("resnet101s", depths=DEPTHS[101], letter="s", params=44_672_936, macs=9_156_558_848),
    bottleneck("resnet152", depths=DEPTHS[152], torchvision=True, params=60_192_808, macs=11_513_626_624),
    bottleneck("resnet152c", depths=DEPTHS[152], letter="c", params=60_212_040, macs=11_753_267_200),
    bottleneck("resnet152d", depths=DEPTHS[152], letter="d", input_size=256, params=60_212_040, macs=15_350_579_200),
    bottleneck("resnet152s", depths=DEPTHS[152], letter="s", params=60_316_584, macs=12_868_780_032),
    bottleneck("resnet200", depths=DEPTHS[200], params=64_673_832, macs=15_007_481_856),
    bottleneck("resnet200d", depths=DEPTHS[200], letter="d", input_size=256, params=64_693_064, macs=19_913_981_952),
    bottleneck(
        "resnet50_gn",
        depths=DEPTHS[50],
        norm=ref("group", groups=32),
        paper=GROUP_NORM,
        params=25_557_032,
        macs=4_089_184_256,
    ),
    strided_first("resnet50_v1", depths=DEPTHS[50], params=25_557_032, macs=3_857_973_248),
    strided_first("resnet101_v1", depths=DEPTHS[101], params=44_549_160, macs=7_570_194_432),
    strided_first("resnet152_v1", depths=DEPTHS[152], params=60_192_808, macs=11_282_415_616),
    strided_first("resnet200_v1", depths=DEPTHS[200], params=64_673_832, macs=14_776_270_848),
    option_a("resnet20", depths=cifar_depths(20, convs_per_layer=2), params=269_722, macs=40_551_040),
    option_b("resnet20_b", depths=cifar_depths(20, convs_per_layer=2), params=272_474, macs=40_813_184),
    option_a("resnet32", depths=cifar_depths(32, convs_per_layer=2), params=464_154, macs=68_862_592),
    option_b("resnet32_b", depths=cifar_depths(32, convs_per_layer=2), params=466_906, macs=69_124_736),
    option_a("resnet44", depths=cifar_depths(44, convs_per_layer=2), params=658_586, macs=97_174_144),
    option_b("resnet44_b", depths=cifar_depths(44, convs_per_layer=2), params=661_338, macs=97_436_288),
    option_a("resnet56", depths=cifar_depths(56, convs_per_layer=2), params=853_018, macs=125_485_696),
    option_b("resnet56_b", depths=cifar_depths(56, convs_per_layer=2), params=855_770, macs=125_747_840),
    option_a("resnet110", depths=cifar_depths(110, convs_per_layer=2), params=1_727_962, macs=252_887_680),
    option_b("resnet110_b", depths=cifar_depths(110, convs_per_layer=2), params=1_730_714, macs=253_149_824),
    option_a("resnet1202", depths=cifar_depths(1202, convs_per_layer=2), params=19_421_274, macs=2_829_238_912),
    option_b("resnet1202_b", depths=cifar_depths(1202, convs_per_layer=2), params=19_424_026, macs=2_829_501_056),
    cifar_bottleneck("resnet164bn", depths=cifar_depths(164, convs_per_layer=3), params=1_704_154, macs=247_646_720),
    cifar_bottleneck("resnet272bn", depths=cifar_depths(272, convs_per_layer=3), params=2_816_986, macs=408_078_848),
    cifar_bottleneck("resnet542bn", depths=cifar_depths(542, convs_per_layer=3), params=5_599_066, macs=809_159_168),
    cifar_bottleneck(
        "resnet1001bn", depths=cifar_depths(1001, convs_per_layer=3), params=10_328_602, macs=1_490_995_712
    ),
    four_stages("resnet18_cifar", layer=BASIC, depths=(2, 2, 2, 2), params=11_173_962, macs=555_422_720),
    four_stages("resnet34_cifar", layer=BASIC, depths=(3, 4, 6, 3), params=21_282_122, macs=1_159_402_496),
    four_stages("resnet50_cifar", layer=BOTTLENECK, depths=DEPTHS[50], params=23_520_842, macs=1_297_829_888),
    four_stages("resnet101_cifar", layer=BOTTLENECK, depths=DEPTHS[101], params=42_512_970, macs=2_509_983_744),
    four_stages("resnet152_cifar", layer=BOTTLENECK, depths=DEPTHS[152], params=58_156_618, macs=3_722_137_600),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    yield from MODELS
