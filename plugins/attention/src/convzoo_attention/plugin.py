"""What the attention plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from convzoo import Component, Dialect, Model, Ref, Reference, hookimpl, ref
from convzoo.dialects import PYTORCHCV_OUTPUT, of_cifar, of_imagenet
from convzoo.layouts import BASIC, BOTTLENECK, DEPTHS, KEYS, STEMS, cifar, cifar_depths, imagenet

SE_PAPER = "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507"
ECA_PAPER = "Wang et al., ECA-Net: Efficient Channel Attention, CVPR 2020, arXiv:1910.03151"
CBAM_PAPER = "Woo et al., CBAM: Convolutional Block Attention Module, ECCV 2018, arXiv:1807.06521"
RS_PAPER = "Bello et al., Revisiting ResNets: Improved Training and Scaling Strategies, NeurIPS 2021, arXiv:2103.07579"

COMPONENTS = (
    Component("attention", "se", "convzoo_attention.se:SqueezeExcite", "squeeze-and-excitation"),
    Component("attention", "eca", "convzoo_attention.eca:EfficientChannelAttention", "efficient channel attention"),
    Component(
        "attention",
        "cbam",
        "convzoo_attention.cbam:CBAM",
        "channel gate, then spatial gate",
        example=({}, {"mlp_bias": False, "order": "mean_max", "spatial_zero_init": False}),
    ),
    Component("init", "cbam", "convzoo_attention.cbam:cbam_init", "the start of the CBAM authors"),
)

SE = ref("se", divisor=8)
"""timm's squeeze width, for the names that timm has too."""
GROUPED_32X4 = BOTTLENECK.with_options(cardinality=32, base_width=4)
GROUPED_32X8 = BOTTLENECK.with_options(cardinality=32, base_width=8)
GROUPED_64X4 = BOTTLENECK.with_options(cardinality=64, base_width=4)
SENET154 = GROUPED_64X4.with_options(reduce_first=2, shortcut=ref("conv", kernel_size=3))

LEGACY_KEYS = (
    (r"^stem\.conv\.", "layer0.conv1."),
    (r"^stem\.norm\.", "layer0.bn1."),
    (r"\.branch\.attention\.", ".se_module."),
    (r"^head\.fc\.", "last_linear."),
    *KEYS,
)
"""From this library's state-dict keys to those of the SE networks that timm calls legacy."""
LEGACY_DEEP_KEYS = (
    (r"^stem\.conv\.0\.", "layer0.conv1."),
    (r"^stem\.conv\.1\.", "layer0.bn1."),
    (r"^stem\.conv\.3\.", "layer0.conv2."),
    (r"^stem\.conv\.4\.", "layer0.bn2."),
    (r"^stem\.conv\.6\.", "layer0.conv3."),
    (r"^stem\.norm\.", "layer0.bn3."),
    *LEGACY_KEYS,
)
"""The same behind a deep stem."""
DROP_RATE = 0.2
"""Dropout before the classifier: SENet-154 was released with it, and all that timm calls legacy has it."""

CBAM_KEYS = (
    (r"\.attention\.spatial\.conv\.", ".attention.spatial.conv.conv."),
    (r"\.attention\.spatial\.norm\.", ".attention.spatial.conv.bn."),
    *KEYS,
)
CBAM_IN_PYTORCHCV = (
    (r"\.branch\.attention\.channel\.fc(\d)\.", ".cbam.ch_gate.mlp.fc{1}."),
    (r"\.branch\.attention\.spatial\.conv\.", ".cbam.sp_gate.conv.conv."),
    (r"\.branch\.attention\.spatial\.norm\.", ".cbam.sp_gate.conv.bn."),
)
CBAM_AUTHORS = Dialect(
    "the CBAM authors",
    (
        (r"\.branch\.attention\.channel\.fc1\.", ".cbam.ChannelGate.mlp.1."),
        (r"\.branch\.attention\.channel\.fc2\.", ".cbam.ChannelGate.mlp.3."),
        (r"\.branch\.attention\.spatial\.conv\.", ".cbam.SpatialGate.spatial.conv."),
        (r"\.branch\.attention\.spatial\.norm\.", ".cbam.SpatialGate.spatial.bn."),
        *KEYS,
    ),
)
ECA_AUTHORS_KEYS = ((r"\.branch\.attention\.", ".eca."), *KEYS)
"""The ECA authors' names, for ``load_weights(create_model("resnet50", attention="eca"), file, keys=...)``: their
networks have the plain stem, which none of the variants with ECA has."""
SENET_DIALECTS = of_imagenet(deep=True, average=False, before=(PYTORCHCV_OUTPUT,))
LIKE_TIMM = {"mlp_bias": False, "order": "mean_max", "spatial_momentum": 0.1, "spatial_zero_init": False}
"""The options with which CBAM is timm's module."""


def attentive(name: str, *, layout: Callable[..., Model], layer: Ref, attention: Ref, **fields: Any) -> Model:
    """A network of ``layout`` whose layers have ``attention``."""
    return layout(name, layer=layer.with_options(attention=attention), **fields)


def released(name: str, *, timm: str, drop_rate: float = 0.0, **fields: Any) -> Model:
    """A network as its authors released it for Caffe, which timm has as ``timm``, always with dropout."""
    no_dropout = {"drop_rate": 0.0}
    defaults: dict[str, Any] = {
        "stem": ref("conv", pool="max_ceil"),
        "head": ref("classifier", drop_rate=drop_rate),
        "keys": LEGACY_KEYS,
        "references": (Reference("timm", timm, no_dropout, no_dropout),),
        "aliases": (ref(timm, drop_rate=DROP_RATE),) if timm != name else (),
    }
    return se(name, layout=imagenet, attention=ref("se"), timm=None, **{**defaults, **fields})


def cbam_imagenet(name: str, *, timm: str | None = None, **fields: Any) -> Model:
    """A network that is timm's ``timm`` with timm's CBAM in it."""
    references = (Reference("timm", timm, {"block_args": {"attn_layer": "cbam"}}, LIKE_TIMM),) if timm else ()
    dialects = (CBAM_AUTHORS, *of_imagenet(deep=False, average=False, before=CBAM_IN_PYTORCHCV))
    return imagenet(name, timm=None, references=references, dialects=dialects, **fields)


se = partial(attentive, attention=SE, paper=SE_PAPER)
se_resnet = partial(se, layout=imagenet, family="se_resnet", layer=BOTTLENECK)
se_resnet_released = partial(released, family="se_resnet", layer=BOTTLENECK.with_options(stride_on="1x1"))
se_resnext_released = partial(released, family="se_resnext", layer=GROUPED_32X4)
se_resnext = partial(se, layout=imagenet, family="se_resnext")
se_cifar = partial(se, layout=cifar, attention=ref("se"))
cifar_basic = partial(se_cifar, family="se_resnet_cifar", layer=BASIC)
cifar_bottleneck = partial(se_cifar, family="se_resnet_cifar", layer=BOTTLENECK)
resnet_rs = partial(
    attentive,
    layout=imagenet,
    family="resnet_rs",
    layer=BOTTLENECK,
    attention=SE.with_options(reduction=4),
    letter="d",
    stem=STEMS["d"].with_options(pool="conv"),
    paper=RS_PAPER,
)
eca = partial(attentive, layout=imagenet, attention=ref("eca"), paper=ECA_PAPER)
eca_resnet = partial(eca, family="eca_resnet", layer=BOTTLENECK)
eca_resnext = partial(eca, family="eca_resnext", layer=GROUPED_32X4)
cbam = partial(attentive, family="cbam", attention=ref("cbam"), init=ref("cbam"), keys=CBAM_KEYS, paper=CBAM_PAPER)
cbam_basic = partial(cbam, layout=cbam_imagenet, layer=BASIC)
cbam_bottleneck = partial(cbam, layout=cbam_imagenet, layer=BOTTLENECK)
cbam_resnext = partial(cbam, layout=cbam_imagenet, layer=GROUPED_32X4)
cbam_cifar = partial(
    cbam,
    layout=cifar,
    planes=(64, 128, 256, 512),
    width=64,
    dialects=(CBAM_AUTHORS, *of_cifar(before=CBAM_IN_PYTORCHCV)),
)

MODELS = (
    se_resnet("seresnet18", layer=BASIC, depths=(2, 2, 2, 2), params=11_779_624, macs=1_814_161_408),
    se_resnet("seresnet34", layer=BASIC, depths=(3, 4, 6, 3), params=21_960_416, macs=3_663_920_128),
    se_resnet("seresnet50", depths=DEPTHS[50], params=28_088_024, macs=4_091_699_200),
    se_resnet("seresnet50t", depths=DEPTHS[50], letter="t", params=28_104_720, macs=4_299_728_896),
    se_resnet("seresnet101", depths=DEPTHS[101], params=49_326_872, macs=7_806_148_608),
    se_resnet("seresnet152", depths=DEPTHS[152], params=66_821_848, macs=11_520_204_800),
    se_resnet("seresnet152d", depths=DEPTHS[152], letter="d", input_size=256, params=66_841_080, macs=15_357_157_376),
    se_resnet("seresnet200d", depths=DEPTHS[200], letter="d", input_size=256, params=71_855_096, macs=19_921_084_416),
    se_resnet("seresnet269d", depths=DEPTHS[269], letter="d", input_size=256, params=113_672_760, macs=26_485_366_784),
    se_resnet_released(
        "seresnet50_v1", timm="legacy_seresnet50", depths=DEPTHS[50], params=28_088_024, macs=3_860_488_192
    ),
    se_resnet_released(
        "seresnet101_v1", timm="legacy_seresnet101", depths=DEPTHS[101], params=49_326_872, macs=7_574_937_600
    ),
    se_resnet_released(
        "seresnet152_v1", timm="legacy_seresnet152", depths=DEPTHS[152], params=66_821_848, macs=11_288_993_792
    ),
    se_resnext(
        "seresnext26d_32x4d", layer=GROUPED_32X4, depths=(2, 2, 2, 2), letter="d", params=16_809_512, macs=2_711_740_416
    ),
    se_resnext(
        "seresnext26t_32x4d", layer=GROUPED_32X4, depths=(2, 2, 2, 2), letter="t", params=16_806_976, macs=2_680_129_536
    ),
    se_resnext("seresnext50_32x4d", layer=GROUPED_32X4, depths=DEPTHS[50], params=27_559_896, macs=4_232_994_816),
    se_resnext("seresnext101_32x4d", layer=GROUPED_32X4, depths=DEPTHS[101], params=48_955_416, macs=7_974_739_968),
    se_resnext("seresnext101_32x8d", layer=GROUPED_32X8, depths=DEPTHS[101], params=93_569_048, macs=16_418_758_656),
    se_resnext("seresnext101_64x4d", layer=GROUPED_64X4, depths=DEPTHS[101], params=88_232_984, macs=15_465_013_248),
    se_resnext(
        "seresnext101d_32x8d",
        layer=GROUPED_32X8,
        depths=DEPTHS[101],
        letter="d",
        params=93_588_280,
        macs=16_658_399_232,
    ),
    se(
        "senet154",
        layout=imagenet,
        family="senet",
        layer=SENET154,
        depths=DEPTHS[152],
        stem=ref("deep", width=64),
        dialects=SENET_DIALECTS,
        params=115_088_984,
        macs=20_688_363_520,
    ),
    se_resnext_released(
        "seresnext50_32x4d_prototxt",
        timm="legacy_seresnext50_32x4d",
        depths=DEPTHS[50],
        params=27_559_896,
        macs=4_232_994_816,
    ),
    se_resnext_released(
        "seresnext101_32x4d_prototxt",
        timm="legacy_seresnext101_32x4d",
        depths=DEPTHS[101],
        params=48_955_416,
        macs=7_974_739_968,
    ),
    released(
        "senet154_prototxt",
        timm="legacy_senet154",
        family="senet",
        layer=SENET154,
        depths=DEPTHS[152],
        stem=ref("deep", width=64, pool="max_ceil"),
        drop_rate=DROP_RATE,
        keys=LEGACY_DEEP_KEYS,
        dialects=SENET_DIALECTS,
        params=115_088_984,
        macs=20_688_363_520,
    ),
    se_resnext_released(
        "legacy_seresnext26_32x4d",
        timm="legacy_seresnext26_32x4d",
        depths=(2, 2, 2, 2),
        drop_rate=DROP_RATE,
        params=16_790_280,
        macs=2_472_099_840,
    ),
    resnet_rs("resnetrs50", depths=DEPTHS[50], input_size=160, params=35_691_912, macs=2_278_629_376),
    resnet_rs("resnetrs101", depths=DEPTHS[101], input_size=192, params=63_618_696, macs=6_012_157_952),
    resnet_rs("resnetrs152", depths=DEPTHS[152], input_size=256, params=86_621_576, macs=15_527_886_848),
    resnet_rs("resnetrs200", depths=DEPTHS[200], input_size=256, params=93_209_992, macs=20_093_386_752),
    resnet_rs("resnetrs270", depths=(4, 29, 53, 4), input_size=256, params=129_861_448, macs=26_950_189_056),
    resnet_rs("resnetrs350", depths=(4, 36, 72, 4), input_size=288, params=163_956_168, macs=43_493_793_792),
    resnet_rs("resnetrs420", depths=(4, 44, 87, 4), input_size=320, params=191_891_656, macs=63_942_344_704),
    cifar_basic("seresnet20", depths=cifar_depths(20, convs_per_layer=2), params=274_847, macs=40_815_200),
    cifar_basic("seresnet56", depths=cifar_depths(56, convs_per_layer=2), params=862_889, macs=125_753_888),
    cifar_basic("seresnet110", depths=cifar_depths(110, convs_per_layer=2), params=1_744_952, macs=253_161_920),
    cifar_bottleneck("seresnet164bn", depths=cifar_depths(164, convs_per_layer=3), params=1_906_258, macs=247_840_256),
    cifar_bottleneck("seresnet272bn", depths=cifar_depths(272, convs_per_layer=3), params=3_153_826, macs=408_401_408),
    se_cifar(
        "seresnext29_8x64d",
        family="se_resnext_cifar",
        layer=BOTTLENECK.with_options(cardinality=8),
        depths=cifar_depths(29, convs_per_layer=3),
        planes=(64, 128, 256),
        width=64,
        params=34_948_506,
        macs=5_387_782_144,
    ),
    eca_resnet("ecaresnet26t", depths=(2, 2, 2, 2), letter="t", input_size=256, params=16_011_916, macs=3_330_405_888),
    eca_resnet("ecaresnet50d", depths=DEPTHS[50], letter="d", params=25_576_350, macs=4_328_912_640),
    eca_resnet("ecaresnet50t", depths=DEPTHS[50], letter="t", input_size=256, params=25_573_814, macs=5_612_148_480),
    eca_resnet("ecaresnet101d", depths=DEPTHS[101], letter="d", params=44_568_563, macs=8_041_220_864),
    eca_resnet("ecaresnet200d", depths=DEPTHS[200], letter="d", input_size=256, params=64_693_400, macs=19_914_274_560),
    eca_resnet(
        "ecaresnet269d", depths=DEPTHS[269], letter="d", input_size=320, params=102_093_077, macs=41_364_716_288
    ),
    eca_resnet(
        "ecaresnetlight",
        layer=BOTTLENECK.with_options(shortcut=ref("avg")),
        depths=(1, 1, 11, 3),
        params=30_162_046,
        macs=4_089_287_424,
    ),
    eca_resnext("ecaresnext26t_32x4d", depths=(2, 2, 2, 2), letter="t", params=15_406_220, macs=2_678_783_488),
    eca_resnext("ecaresnext50t_32x4d", depths=DEPTHS[50], letter="t", params=25_045_686, macs=4_438_597_376),
    cbam_basic("cbam_resnet18", depths=(2, 2, 2, 2), timm="resnet18", params=11_779_392, macs=1_815_063_764),
    cbam_basic("cbam_resnet34", depths=(3, 4, 6, 3), timm="resnet34", params=21_960_468, macs=3_665_434_742),
    cbam_bottleneck("cbam_resnet50", depths=DEPTHS[50], timm="resnet50", params=28_089_624, macs=4_095_573_110),
    cbam_bottleneck("cbam_resnet101", depths=DEPTHS[101], timm="resnet101", params=49_330_172, macs=7_812_577_278),
    cbam_bottleneck("cbam_resnet152", depths=DEPTHS[152], timm="resnet152", params=66_826_848, macs=11_529_025_510),
    cbam_resnext(
        "cbam_resnext50_32x4d", depths=DEPTHS[50], timm="resnext50_32x4d", params=27_561_496, macs=4_236_868_726
    ),
    cbam_resnext(
        "cbam_resnext101_32x4d", depths=DEPTHS[101], timm="resnext101_32x4d", params=48_958_716, macs=7_981_168_638
    ),
    cbam_basic(
        "cbam_wide_resnet18_1.5", depths=(2, 2, 2, 2), planes=(96, 192, 384, 768), params=26_075_516, macs=3_867_535_060
    ),
    cbam_basic(
        "cbam_wide_resnet18_2.0",
        depths=(2, 2, 2, 2),
        planes=(128, 256, 512, 1024),
        params=45_971_256,
        macs=6_697_219_284,
    ),
    cbam_cifar("cbam_resnet18_cifar", layer=BASIC, depths=(2, 2, 2, 2), params=11_263_842, macs=555_863_360),
    cbam_cifar("cbam_resnet34_cifar", layer=BASIC, depths=(3, 4, 6, 3), params=21_444_918, macs=1_160_160_608),
    cbam_cifar("cbam_resnet50_cifar", layer=BOTTLENECK, depths=DEPTHS[50], params=26_053_434, macs=1_303_303_520),
    cbam_cifar("cbam_resnet101_cifar", layer=BOTTLENECK, depths=DEPTHS[101], params=47_293_982, macs=2_520_020_448),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    yield from MODELS
