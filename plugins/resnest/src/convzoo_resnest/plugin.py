"""What the ResNeSt plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from convzoo import Component, Model, Ref, Reference, hookimpl, ref
from convzoo.dialects import PYTORCHCV_OUTPUT, of_imagenet
from convzoo.layouts import BOTTLENECK, DEPTHS, KEYS, imagenet

PAPER = "Zhang et al., ResNeSt: Split-Attention Networks, CVPR Workshops 2022, arXiv:2004.08955"

COMPONENTS = (
    Component(
        "conv",
        "split_attention",
        "convzoo_resnest.split_attention:SplitAttention",
        "split attention",
        example=({}, {"radix": 1, "avd": True}),
    ),
    Component(
        "block", "split_attention_basic", "convzoo_resnest.basic:SplitAttentionBasic", "3x3, then split attention"
    ),
)

SPLIT_ATTENTION_KEYS = (
    (r"\.branch\.conv2\.conv\.", ".conv2.conv."),
    (r"\.branch\.conv2\.norm([01])\.", r".conv2.bn\1."),
    *KEYS,
)

IN_PYTORCHCV = (
    (r"\.branch\.conv2\.conv\.", ".body.conv2.conv.conv."),
    (r"\.branch\.conv2\.norm0\.", ".body.conv2.conv.bn."),
    (r"\.branch\.conv2\.fc(\d)\.", ".body.conv2.att.conv{1}."),
    (r"\.branch\.conv2\.norm1\.", ".body.conv2.att.bn."),
    PYTORCHCV_OUTPUT,
)
"""pytorchcv's names of split attention. The authors' own names are timm's."""
DIALECTS = of_imagenet(deep=True, average=True, before=IN_PYTORCHCV)

TIMM = {"zero_init_last": True, "divisor": 8, "avd_dilated": False, "pool_dilated": True}
"""What timm does differently: the last norm of a branch starts at 0, hidden widths are rounded to multiples of 8, and
in dilated stages it is the shortcut that has a pool, and not the branch."""

SHORTCUT = ref("avg", pool_dilated=False)
"""Without a pool in dilated stages, as in the authors' code."""


def bottleneck(*, radix: int = 2, avd_first: bool = False, **options: Any) -> Ref:
    """A bottleneck with split attention, which pools before its convolution if ``avd_first``, else after it."""
    conv = ref("split_attention", radix=radix, avd=True, avd_first=avd_first)
    return BOTTLENECK.with_options(conv=conv, shortcut=SHORTCUT, **options)


def resnest(name: str, *, layer: Ref, timm: str | None = None, **fields: Any) -> Model:
    """A ResNeSt, which timm, if it has it, has under the name of ``timm``."""
    defaults: dict[str, Any] = {"stem": ref("deep", width=32), "keys": SPLIT_ATTENTION_KEYS, "paper": PAPER}
    defaults["dialects"] = DIALECTS
    if timm:
        defaults |= {"references": (Reference("timm", timm),), "aliases": (ref(timm, **TIMM),)}
    return imagenet(name, "resnest", layer, timm=None, **{**defaults, **fields})


def fast(name: str, *, radix: int, cardinality: int, base_width: int, **fields: Any) -> Model:
    """A ResNeSt-50 that pools before it convolves."""
    layer = bottleneck(radix=radix, avd_first=True, cardinality=cardinality, base_width=base_width)
    return resnest(name, layer=layer, depths=DEPTHS[50], **fields)


def timms_own(name: str, **fields: Any) -> Model:
    """A network that only timm has, and so with what timm does differently."""
    conv = ref("split_attention", radix=2, avd=True, avd_dilated=TIMM["avd_dilated"], divisor=TIMM["divisor"])
    shortcut = ref("avg", pool_dilated=TIMM["pool_dilated"])
    layer = BOTTLENECK.with_options(conv=conv, shortcut=shortcut, zero_init_last=TIMM["zero_init_last"])
    return resnest(name, layer=layer, references=(Reference("timm", name),), **fields)


basic = partial(resnest, layer=ref("split_attention_basic", shortcut=SHORTCUT))
small = partial(resnest, layer=bottleneck())
large = partial(resnest, layer=bottleneck(), stem=ref("deep", width=64))

MODELS = (
    timms_own("resnest14d", depths=(1, 1, 1, 1), params=10_611_688, macs=2_749_405_184),
    timms_own("resnest26d", depths=(2, 2, 2, 2), params=17_069_448, macs=3_623_391_232),
    basic("resnest18", depths=(2, 2, 2, 2), params=12_763_784, macs=2_574_983_168),
    small("resnest50", depths=DEPTHS[50], timm="resnest50d", params=27_483_240, macs=5_371_160_576),
    large("resnest101", depths=DEPTHS[101], input_size=256, timm="resnest101e", params=48_275_016, macs=13_321_472_000),
    large("resnest152", depths=DEPTHS[152], params=65_316_040, macs=13_914_163_200),
    large("resnest200", depths=DEPTHS[200], input_size=320, timm="resnest200e", params=70_201_544, macs=35_519_694_848),
    large(
        "resnest269", depths=DEPTHS[269], input_size=416, timm="resnest269e", params=110_929_480, macs=77_348_702_208
    ),
    fast("resnest50_fast_1s1x64d", radix=1, cardinality=1, base_width=64, params=26_217_896, macs=4_329_459_712),
    fast("resnest50_fast_2s1x64d", radix=2, cardinality=1, base_width=64, params=27_483_240, macs=4_330_711_040),
    fast("resnest50_fast_4s1x64d", radix=4, cardinality=1, base_width=64, params=31_912_712, macs=4_335_112_192),
    fast("resnest50_fast_1s2x40d", radix=1, cardinality=2, base_width=40, params=25_946_680, macs=4_364_642_816),
    fast("resnest50_fast_2s2x40d", radix=2, cardinality=2, base_width=40, params=26_943_792, macs=4_365_622_336),
    fast(
        "resnest50_fast_4s2x40d",
        radix=4,
        cardinality=2,
        base_width=40,
        timm="resnest50d_4s2x40d",
        params=30_417_592,
        macs=4_369_060_736,
    ),
    fast(
        "resnest50_fast_1s4x24d",
        radix=1,
        cardinality=4,
        base_width=24,
        timm="resnest50d_1s4x24d",
        params=25_677_000,
        macs=4_399_827_456,
    ),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    yield from MODELS
