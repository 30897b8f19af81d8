"""What plain residual networks contribute, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from convzoo.hookspecs import hookimpl
from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, TIMM_INIT, cifar, cifar_depths, imagenet
from convzoo.specs import Component, Model, ref

COMPONENTS = (
    Component("stem", "conv", "convzoo.builtin.stems:conv_stem", "one strided convolution, then a pool"),
    Component("stem", "deep", "convzoo.builtin.stems:deep_stem", "three 3x3 convolutions, then a pool"),
    Component("stem", "cifar", "convzoo.builtin.stems:cifar_stem", "one convolution of stride 1, no pool"),
    Component("block", "basic", "convzoo.builtin.blocks:Basic", "two 3x3 convolutions"),
    Component("block", "bottleneck", "convzoo.builtin.blocks:Bottleneck", "1x1, spatial, 1x1 convolution"),
    Component("block", "norm_act", "convzoo.builtin.blocks:NormAct", "a last norm and activation"),
    Component("conv", "plain", "convzoo.layers:ConvNormAct", "convolution, norm, activation"),
    Component("shortcut", "conv", "convzoo.builtin.shortcuts:conv_shortcut", "strided convolution (option B)"),
    Component(
        "shortcut", "avg", "convzoo.builtin.shortcuts:avg_shortcut", "average pool, then 1x1 convolution (ResNet-D)"
    ),
    Component(
        "shortcut", "zero_pad", "convzoo.builtin.shortcuts:ZeroPadShortcut", "subsampling, zero channels (option A)"
    ),
    Component("head", "classifier", "convzoo.builtin.heads:Classifier", "global pool, dropout, linear layer"),
    Component("norm", "batch", "convzoo.builtin.norms:batch", "batch normalisation"),
    Component("norm", "group", "convzoo.builtin.norms:group", "group normalisation"),
    Component("norm", "instance", "convzoo.builtin.norms:instance", "instance normalisation"),
    Component("norm", "none", "convzoo.builtin.norms:none", "no normalisation"),
    Component("act", "relu", "convzoo.builtin.norms:relu", "ReLU, in place"),
    Component("act", "relu6", "torch.nn:ReLU6", "ReLU cut at 6"),
    Component("act", "leaky_relu", "torch.nn:LeakyReLU", "leaky ReLU"),
    Component("act", "elu", "torch.nn:ELU", "ELU"),
    Component("act", "gelu", "torch.nn:GELU", "GELU"),
    Component("act", "silu", "torch.nn:SiLU", "SiLU, or swish"),
    Component("act", "mish", "torch.nn:Mish", "Mish"),
    Component("act", "hardswish", "torch.nn:Hardswish", "hard swish"),
    Component("act", "none", "convzoo.builtin.norms:no_act", "no activation"),
    Component("act", "prelu", "convzoo.builtin.norms:prelu", "ReLU with a learned slope"),
    Component("init", "default", "convzoo.builtin.inits:default", "torch's own"),
    Component("init", "kaiming", "convzoo.builtin.inits:kaiming", "Kaiming normal or uniform, by fan"),
)

# name, block, layers per stage, letter of the stem, input size, parameters, MACs
IMAGENET = (
    ("resnet10t", BASIC, (1, 1, 1, 1), "t", 176, 5_435_488, 698_688_000),
    ("resnet14t", BOTTLENECK, (1, 1, 1, 1), "t", 176, 10_081_632, 1_067_618_816),
    ("resnet18", BASIC, (2, 2, 2, 2), "", 224, 11_689_512, 1_814_073_344),
    ("resnet18d", BASIC, (2, 2, 2, 2), "d", 224, 11_708_744, 2_053_713_920),
    ("resnet26", BOTTLENECK, (2, 2, 2, 2), "", 224, 15_995_176, 2_342_256_640),
    ("resnet26d", BOTTLENECK, (2, 2, 2, 2), "d", 224, 16_014_408, 2_581_897_216),
    ("resnet26t", BOTTLENECK, (2, 2, 2, 2), "t", 256, 16_011_872, 3_330_359_296),
    ("resnet34", BASIC, (3, 4, 6, 3), "", 224, 21_797_672, 3_663_761_408),
    ("resnet34d", BASIC, (3, 4, 6, 3), "d", 224, 21_816_904, 3_903_401_984),
    ("resnet50", BOTTLENECK, DEPTHS[50], "", 224, 25_557_032, 4_089_184_256),
    ("resnet50c", BOTTLENECK, DEPTHS[50], "c", 224, 25_576_264, 4_328_824_832),
    ("resnet50d", BOTTLENECK, DEPTHS[50], "d", 224, 25_576_264, 4_328_824_832),
    ("resnet50s", BOTTLENECK, DEPTHS[50], "s", 224, 25_680_808, 5_444_337_664),
    ("resnet50t", BOTTLENECK, DEPTHS[50], "t", 224, 25_573_728, 4_297_213_952),
    ("resnet101", BOTTLENECK, DEPTHS[101], "", 224, 44_549_160, 7_801_405_440),
    ("resnet101c", BOTTLENECK, DEPTHS[101], "c", 224, 44_568_392, 8_041_046_016),
    ("resnet101d", BOTTLENECK, DEPTHS[101], "d", 256, 44_568_392, 10_501_963_776),
    ("resnet101s", BOTTLENECK, DEPTHS[101], "s", 224, 44_672_936, 9_156_558_848),
    ("resnet152", BOTTLENECK, DEPTHS[152], "", 224, 60_192_808, 11_513_626_624),
    ("resnet152c", BOTTLENECK, DEPTHS[152], "c", 224, 60_212_040, 11_753_267_200),
    ("resnet152d", BOTTLENECK, DEPTHS[152], "d", 256, 60_212_040, 15_350_579_200),
    ("resnet152s", BOTTLENECK, DEPTHS[152], "s", 224, 60_316_584, 12_868_780_032),
    ("resnet200", BOTTLENECK, DEPTHS[200], "", 224, 64_673_832, 15_007_481_856),
    ("resnet200d", BOTTLENECK, DEPTHS[200], "d", 256, 64_693_064, 19_913_981_952),
)

# name, depth, parameters, MACs
CIFAR = (
    ("resnet20", 20, 269_722, 40_551_040),
    ("resnet20_b", 20, 272_474, 40_813_184),
    ("resnet32", 32, 464_154, 68_862_592),
    ("resnet32_b", 32, 466_906, 69_124_736),
    ("resnet44", 44, 658_586, 97_174_144),
    ("resnet44_b", 44, 661_338, 97_436_288),
    ("resnet56", 56, 853_018, 125_485_696),
    ("resnet56_b", 56, 855_770, 125_747_840),
    ("resnet110", 110, 1_727_962, 252_887_680),
    ("resnet110_b", 110, 1_730_714, 253_149_824),
    ("resnet1202", 1202, 19_421_274, 2_829_238_912),
    ("resnet1202_b", 1202, 19_424_026, 2_829_501_056),
    ("resnet164bn", 164, 1_704_154, 247_646_720),
    ("resnet272bn", 272, 2_816_986, 408_078_848),
    ("resnet542bn", 542, 5_599_066, 809_159_168),
    ("resnet1001bn", 1001, 10_328_602, 1_490_995_712),
)

# name, block, layers per stage, parameters, MACs
CIFAR_FOUR_STAGES = (
    ("resnet18_cifar", BASIC, (2, 2, 2, 2), 11_173_962, 555_422_720),
    ("resnet34_cifar", BASIC, (3, 4, 6, 3), 21_282_122, 1_159_402_496),
    ("resnet50_cifar", BOTTLENECK, DEPTHS[50], 23_520_842, 1_297_829_888),
    ("resnet101_cifar", BOTTLENECK, DEPTHS[101], 42_512_970, 2_509_983_744),
    ("resnet152_cifar", BOTTLENECK, DEPTHS[152], 58_156_618, 3_722_137_600),
)

# name, depth, parameters, MACs: the stride on the first 1x1 convolution, as first published
FIRST_PUBLISHED = (
    ("resnet50_v1", 50, 25_557_032, 3_857_973_248),
    ("resnet101_v1", 101, 44_549_160, 7_570_194_432),
    ("resnet152_v1", 152, 60_192_808, 11_282_415_616),
    ("resnet200_v1", 200, 64_673_832, 14_776_270_848),
)

IN_TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    for name, block, depths, letter, size, params, macs in IMAGENET:
        yield imagenet(
            name,
            "resnet",
            block,
            depths,
            letter=letter,
            torchvision=name in IN_TORCHVISION,
            input_size=size,
            params=params,
            macs=macs,
        )
    yield imagenet(
        "resnet50_gn",
        "resnet",
        BOTTLENECK,
        DEPTHS[50],
        norm=ref("group", groups=32),
        paper="Wu and He, Group Normalization, ECCV 2018, arXiv:1803.08494",
        params=25_557_032,
        macs=4_089_184_256,
    )
    for name, depth, params, macs in FIRST_PUBLISHED:
        layer = BOTTLENECK.with_options(stride_on="1x1")
        yield imagenet(name, "resnet", layer, DEPTHS[depth], timm=None, params=params, macs=macs)
    for name, depth, params, macs in CIFAR:
        narrow = BASIC if name.endswith("_b") else BASIC.with_options(shortcut=ref("zero_pad"))
        layer, convs = (BOTTLENECK, 3) if name.endswith("bn") else (narrow, 2)
        yield cifar(name, "resnet_cifar", layer, cifar_depths(depth, convs), params=params, macs=macs)
    for name, block, depths, params, macs in CIFAR_FOUR_STAGES:
        yield cifar(
            name,
            "resnet_cifar",
            block.with_options(zero_init_last=True),
            depths,
            planes=(64, 128, 256, 512),
            width=64,
            init=TIMM_INIT,
            params=params,
            macs=macs,
        )
