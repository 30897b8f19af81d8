"""What the ResNeSt plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convzoo.hookspecs import hookimpl
from convzoo.layouts import BOTTLENECK, DEPTHS, KEYS, TIMM_INIT, imagenet
from convzoo.specs import Component, Model, Ref, Reference, ref

PAPER = "Zhang et al., ResNeSt: Split-Attention Networks, CVPR Workshops 2022, arXiv:2004.08955"

COMPONENTS = (
    Component("conv", "split_attention", "convzoo_resnest.split_attention:SplitAttention", "split attention"),
    Component(
        "block", "split_attention_basic", "convzoo_resnest.basic:SplitAttentionBasic", "3x3, then split attention"
    ),
)

# name, timm's name, layers per stage, width of the stem, input size, parameters, MACs
RESNEST = (
    ("resnest50", "resnest50d", DEPTHS[50], 32, 224, 27_483_240, 5_371_160_576),
    ("resnest101", "resnest101e", DEPTHS[101], 64, 256, 48_275_016, 13_321_472_000),
    ("resnest152", None, DEPTHS[152], 64, 224, 65_316_040, 13_914_163_200),
    ("resnest200", "resnest200e", DEPTHS[200], 64, 320, 70_201_544, 35_519_694_848),
    ("resnest269", "resnest269e", DEPTHS[269], 64, 416, 110_929_480, 77_348_702_208),
)

# name, layers per stage, parameters, MACs: timm's own
TIMM_ONLY = (
    ("resnest14d", (1, 1, 1, 1), 10_611_688, 2_749_405_184),
    ("resnest26d", (2, 2, 2, 2), 17_069_448, 3_623_391_232),
)

# name, radix, cardinality, base width, timm's name, parameters, MACs: the pool before the convolution
FAST = (
    ("resnest50_fast_1s1x64d", 1, 1, 64, None, 26_217_896, 4_329_459_712),
    ("resnest50_fast_2s1x64d", 2, 1, 64, None, 27_483_240, 4_330_711_040),
    ("resnest50_fast_4s1x64d", 4, 1, 64, None, 31_912_712, 4_335_112_192),
    ("resnest50_fast_1s2x40d", 1, 2, 40, None, 25_946_680, 4_364_642_816),
    ("resnest50_fast_2s2x40d", 2, 2, 40, None, 26_943_792, 4_365_622_336),
    ("resnest50_fast_4s2x40d", 4, 2, 40, "resnest50d_4s2x40d", 30_417_592, 4_369_060_736),
    ("resnest50_fast_1s4x24d", 1, 4, 24, "resnest50d_1s4x24d", 25_677_000, 4_399_827_456),
)

SPLIT_ATTENTION_KEYS = (
    (r"\.branch\.conv2\.conv\.", ".conv2.conv."),
    (r"\.branch\.conv2\.norm([01])\.", r".conv2.bn\1."),
    *KEYS,
)

TIMM = {"zero_init_last": True, "divisor": 8}
"""What timm does differently: the last norm of a branch starts at 0, hidden widths are rounded to multiples of 8."""


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    for name, timm, depths, width, size, params, macs in RESNEST:
        stem = ref("deep", width=width)
        yield _resnest(name, timm, depths, stem=stem, input_size=size, params=params, macs=macs)
    for name, depths, params, macs in TIMM_ONLY:
        layer = BOTTLENECK.with_options(
            conv=ref("split_attention", radix=2, avd=True, divisor=8), shortcut=ref("avg"), zero_init_last=True
        )
        yield _model(name, layer, depths, references=(Reference("timm", name),), params=params, macs=macs)
    for name, radix, cardinality, base_width, timm, params, macs in FAST:
        sizes = {"cardinality": cardinality, "base_width": base_width}
        yield _resnest(name, timm, DEPTHS[50], radix=radix, avd_first=True, sizes=sizes, params=params, macs=macs)
    basic = ref("split_attention_basic", shortcut=ref("avg"))
    params, macs = 12_763_784, 2_574_983_168
    yield _model("resnest18", basic, (2, 2, 2, 2), params=params, macs=macs)


def _resnest(
    name: str,
    timm: str | None,
    depths: tuple[int, ...],
    *,
    radix: int = 2,
    avd_first: bool = False,
    sizes: dict[str, int] | None = None,
    **fields: Any,
) -> Model:
    conv = ref("split_attention", radix=radix, avd=True, avd_first=avd_first)
    layer = BOTTLENECK.with_options(conv=conv, shortcut=ref("avg"), **(sizes or {}))
    if timm:
        fields |= {"references": (Reference("timm", timm),), "aliases": (ref(timm, **TIMM),)}
    return _model(name, layer, depths, **fields)


def _model(name: str, layer: Ref, depths: tuple[int, ...], **fields: Any) -> Model:
    shared = {"stem": ref("deep", width=32), "init": TIMM_INIT, "keys": SPLIT_ATTENTION_KEYS, "paper": PAPER}
    return imagenet(name, "resnest", layer, depths, timm=None, **{**shared, **fields})
