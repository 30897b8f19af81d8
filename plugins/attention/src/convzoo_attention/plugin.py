"""What the attention plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from convzoo.hookspecs import hookimpl
from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, KEYS, STEMS, cifar, cifar_depths, imagenet
from convzoo.specs import Component, Model, Options, Reference, ref

SE_PAPER = "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507"
ECA_PAPER = "Wang et al., ECA-Net: Efficient Channel Attention, CVPR 2020, arXiv:1910.03151"
CBAM_PAPER = "Woo et al., CBAM: Convolutional Block Attention Module, ECCV 2018, arXiv:1807.06521"
RS_PAPER = "Bello et al., Revisiting ResNets: Improved Training and Scaling Strategies, NeurIPS 2021, arXiv:2103.07579"

COMPONENTS = (
    Component("attention", "se", "convzoo_attention.se:SqueezeExcite", "squeeze-and-excitation"),
    Component("attention", "eca", "convzoo_attention.eca:EfficientChannelAttention", "efficient channel attention"),
    Component("attention", "cbam", "convzoo_attention.cbam:CBAM", "channel gate, then spatial gate"),
    Component("init", "cbam", "convzoo_attention.cbam:cbam_init", "the start of the CBAM authors"),
)

SE = ref("se", divisor=8)
"""timm's squeeze width, for the names that timm has too."""
GROUPED = BOTTLENECK.with_options(cardinality=32, base_width=4)
PLANES = (64, 128, 256, 512)

# name, block, layers per stage, letter of the stem, input size, parameters, MACs
SE_RESNET = (
    ("seresnet18", BASIC, (2, 2, 2, 2), "", 224, 11_779_624, 1_814_161_408),
    ("seresnet34", BASIC, (3, 4, 6, 3), "", 224, 21_960_416, 3_663_920_128),
    ("seresnet50", BOTTLENECK, DEPTHS[50], "", 224, 28_088_024, 4_091_699_200),
    ("seresnet50t", BOTTLENECK, DEPTHS[50], "t", 224, 28_104_720, 4_299_728_896),
    ("seresnet101", BOTTLENECK, DEPTHS[101], "", 224, 49_326_872, 7_806_148_608),
    ("seresnet152", BOTTLENECK, DEPTHS[152], "", 224, 66_821_848, 11_520_204_800),
    ("seresnet152d", BOTTLENECK, DEPTHS[152], "d", 256, 66_841_080, 15_357_157_376),
    ("seresnet200d", BOTTLENECK, DEPTHS[200], "d", 256, 71_855_096, 19_921_084_416),
    ("seresnet269d", BOTTLENECK, DEPTHS[269], "d", 256, 113_672_760, 26_485_366_784),
)
ECA_RESNET = (
    ("ecaresnet26t", BOTTLENECK, (2, 2, 2, 2), "t", 256, 16_011_916, 3_330_405_888),
    ("ecaresnet50d", BOTTLENECK, DEPTHS[50], "d", 224, 25_576_350, 4_328_912_640),
    ("ecaresnet50t", BOTTLENECK, DEPTHS[50], "t", 256, 25_573_814, 5_612_148_480),
    ("ecaresnet101d", BOTTLENECK, DEPTHS[101], "d", 224, 44_568_563, 8_041_220_864),
    ("ecaresnet200d", BOTTLENECK, DEPTHS[200], "d", 256, 64_693_400, 19_914_274_560),
    ("ecaresnet269d", BOTTLENECK, DEPTHS[269], "d", 320, 102_093_077, 41_364_716_288),
    ("ecaresnetlight", BOTTLENECK, (1, 1, 11, 3), "", 224, 30_162_046, 4_089_287_424),
)
RESNET_RS = (
    ("resnetrs50", BOTTLENECK, DEPTHS[50], "d", 160, 35_691_912, 2_278_629_376),
    ("resnetrs101", BOTTLENECK, DEPTHS[101], "d", 192, 63_618_696, 6_012_157_952),
    ("resnetrs152", BOTTLENECK, DEPTHS[152], "d", 256, 86_621_576, 15_527_886_848),
    ("resnetrs200", BOTTLENECK, DEPTHS[200], "d", 256, 93_209_992, 20_093_386_752),
    ("resnetrs270", BOTTLENECK, (4, 29, 53, 4), "d", 256, 129_861_448, 26_950_189_056),
    ("resnetrs350", BOTTLENECK, (4, 36, 72, 4), "d", 288, 163_956_168, 43_493_793_792),
    ("resnetrs420", BOTTLENECK, (4, 44, 87, 4), "d", 320, 191_891_656, 63_942_344_704),
)

# name, depth, parameters, MACs: the layout of the released weights, with the stride on the first 1x1 convolution
SE_RELEASED = (
    ("seresnet50_v1", 50, 28_088_024, 3_860_488_192),
    ("seresnet101_v1", 101, 49_326_872, 7_574_937_600),
    ("seresnet152_v1", 152, 66_821_848, 11_288_993_792),
)

# name, layers per stage, letter of the stem, cardinality, base width, parameters, MACs
SE_RESNEXT = (
    ("seresnext26d_32x4d", (2, 2, 2, 2), "d", 32, 4, 16_809_512, 2_711_740_416),
    ("seresnext26t_32x4d", (2, 2, 2, 2), "t", 32, 4, 16_806_976, 2_680_129_536),
    ("seresnext50_32x4d", DEPTHS[50], "", 32, 4, 27_559_896, 4_232_994_816),
    ("seresnext101_32x4d", DEPTHS[101], "", 32, 4, 48_955_416, 7_974_739_968),
    ("seresnext101_32x8d", DEPTHS[101], "", 32, 8, 93_569_048, 16_418_758_656),
    ("seresnext101_64x4d", DEPTHS[101], "", 64, 4, 88_232_984, 15_465_013_248),
    ("seresnext101d_32x8d", DEPTHS[101], "d", 32, 8, 93_588_280, 16_658_399_232),
)
ECA_RESNEXT = (
    ("ecaresnext26t_32x4d", (2, 2, 2, 2), "t", 32, 4, 15_406_220, 2_678_783_488),
    ("ecaresnext50t_32x4d", DEPTHS[50], "t", 32, 4, 25_045_686, 4_438_597_376),
)

# name, block, layers per stage, planes, timm's network without attention, parameters, MACs
CBAM = (
    ("cbam_resnet18", BASIC, (2, 2, 2, 2), PLANES, "resnet18", 11_779_392, 1_815_063_764),
    ("cbam_resnet34", BASIC, (3, 4, 6, 3), PLANES, "resnet34", 21_960_468, 3_665_434_742),
    ("cbam_resnet50", BOTTLENECK, DEPTHS[50], PLANES, "resnet50", 28_089_624, 4_095_573_110),
    ("cbam_resnet101", BOTTLENECK, DEPTHS[101], PLANES, "resnet101", 49_330_172, 7_812_577_278),
    ("cbam_resnet152", BOTTLENECK, DEPTHS[152], PLANES, "resnet152", 66_826_848, 11_529_025_510),
    ("cbam_resnext50_32x4d", GROUPED, DEPTHS[50], PLANES, "resnext50_32x4d", 27_561_496, 4_236_868_726),
    ("cbam_resnext101_32x4d", GROUPED, DEPTHS[101], PLANES, "resnext101_32x4d", 48_958_716, 7_981_168_638),
    ("cbam_wide_resnet18_1.5", BASIC, (2, 2, 2, 2), (96, 192, 384, 768), None, 26_075_516, 3_867_535_060),
    ("cbam_wide_resnet18_2.0", BASIC, (2, 2, 2, 2), (128, 256, 512, 1024), None, 45_971_256, 6_697_219_284),
)

# name, block, layers per stage, parameters, MACs
CBAM_CIFAR = (
    ("cbam_resnet18_cifar", BASIC, (2, 2, 2, 2), 11_263_842, 555_863_360),
    ("cbam_resnet34_cifar", BASIC, (3, 4, 6, 3), 21_444_918, 1_160_160_608),
    ("cbam_resnet50_cifar", BOTTLENECK, DEPTHS[50], 26_053_434, 1_303_303_520),
    ("cbam_resnet101_cifar", BOTTLENECK, DEPTHS[101], 47_293_982, 2_520_020_448),
)

# name, depth, parameters, MACs
SE_CIFAR = (
    ("seresnet20", 20, 274_847, 40_815_200),
    ("seresnet56", 56, 862_889, 125_753_888),
    ("seresnet110", 110, 1_744_952, 253_161_920),
    ("seresnet164bn", 164, 1_906_258, 247_840_256),
    ("seresnet272bn", 272, 3_153_826, 408_401_408),
)

CBAM_KEYS = (
    (r"\.attention\.spatial\.conv\.", ".attention.spatial.conv.conv."),
    (r"\.attention\.spatial\.norm\.", ".attention.spatial.conv.bn."),
    *KEYS,
)
LIKE_TIMM = Options({"mlp_bias": False, "order": "mean_max", "spatial_momentum": 0.1, "spatial_zero_init": False})
"""The options with which CBAM is timm's module."""


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    yield from _squeeze_and_excitation()
    yield from _efficient_channel_attention()
    yield from _cbam()


def _squeeze_and_excitation() -> Iterator[Model]:
    for name, block, depths, letter, size, params, macs in SE_RESNET:
        layer = block.with_options(attention=SE)
        fields = {"input_size": size, "paper": SE_PAPER, "params": params, "macs": macs}
        yield imagenet(name, "se_resnet", layer, depths, letter=letter, **fields)
    for name, depth, params, macs in SE_RELEASED:
        layer = BOTTLENECK.with_options(stride_on="1x1", attention=ref("se"))
        fields = {"paper": SE_PAPER, "params": params, "macs": macs}
        yield imagenet(name, "se_resnet", layer, DEPTHS[depth], timm=None, **fields)
    for name, depths, letter, cardinality, base_width, params, macs in SE_RESNEXT:
        layer = BOTTLENECK.with_options(cardinality=cardinality, base_width=base_width, attention=SE)
        fields = {"paper": SE_PAPER, "params": params, "macs": macs}
        yield imagenet(name, "se_resnext", layer, depths, letter=letter, **fields)
    yield imagenet(
        "senet154",
        "senet",
        BOTTLENECK.with_options(
            cardinality=64, base_width=4, reduce_first=2, shortcut=ref("conv", kernel_size=3), attention=SE
        ),
        DEPTHS[152],
        stem=ref("deep", width=64),
        paper=SE_PAPER,
        params=115_088_984,
        macs=20_688_363_520,
    )
    for name, block, depths, letter, size, params, macs in RESNET_RS:
        layer = block.with_options(attention=SE.with_options(reduction=4))
        stem = STEMS[letter].with_options(pool="conv")
        fields = {"stem": stem, "input_size": size, "paper": RS_PAPER, "params": params, "macs": macs}
        yield imagenet(name, "resnet_rs", layer, depths, letter=letter, **fields)
    for name, depth, params, macs in SE_CIFAR:
        block, convs = (BOTTLENECK, 3) if name.endswith("bn") else (BASIC, 2)
        layer = block.with_options(attention=ref("se"))
        fields = {"paper": SE_PAPER, "params": params, "macs": macs}
        yield cifar(name, "se_resnet_cifar", layer, cifar_depths(depth, convs), **fields)
    yield cifar(
        "seresnext29_8x64d",
        "se_resnext_cifar",
        BOTTLENECK.with_options(cardinality=8, attention=ref("se")),
        cifar_depths(29, 3),
        planes=(64, 128, 256),
        width=64,
        paper=SE_PAPER,
        params=34_948_506,
        macs=5_387_782_144,
    )


def _efficient_channel_attention() -> Iterator[Model]:
    for name, block, depths, letter, size, params, macs in ECA_RESNET:
        layer = block.with_options(attention=ref("eca"))
        if name == "ecaresnetlight":
            layer = layer.with_options(shortcut=ref("avg"))
        fields = {"input_size": size, "paper": ECA_PAPER, "params": params, "macs": macs}
        yield imagenet(name, "eca_resnet", layer, depths, letter=letter, **fields)
    for name, depths, letter, cardinality, base_width, params, macs in ECA_RESNEXT:
        layer = BOTTLENECK.with_options(cardinality=cardinality, base_width=base_width, attention=ref("eca"))
        fields = {"paper": ECA_PAPER, "params": params, "macs": macs}
        yield imagenet(name, "eca_resnext", layer, depths, letter=letter, **fields)


def _cbam() -> Iterator[Model]:
    shared = {"init": ref("cbam"), "keys": CBAM_KEYS, "paper": CBAM_PAPER}
    for name, block, depths, planes, timm, params, macs in CBAM:
        layer = block.with_options(attention=ref("cbam"))
        references = ()
        if timm:
            references = (Reference("timm", timm, Options({"block_args": {"attn_layer": "cbam"}}), LIKE_TIMM),)
        fields = {"references": references, "params": params, "macs": macs}
        yield imagenet(name, "cbam", layer, depths, planes=planes, timm=None, **shared, **fields)
    for name, block, depths, params, macs in CBAM_CIFAR:
        layer = block.with_options(attention=ref("cbam"))
        fields = {"params": params, "macs": macs}
        yield cifar(name, "cbam", layer, depths, planes=PLANES, width=64, **shared, **fields)
